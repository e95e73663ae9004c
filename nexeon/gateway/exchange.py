"""One request under way, from its key to its charge."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nexeon.config import Model, Price, Target
from nexeon.mapping.format import Format
from nexeon.store import Account, ApiKey, Reservation


@dataclass(slots=True)
class Exchange:
    """What is known of a request; each step of the way fills in its part.

    `dropped` names request fields that did not reach the target; `usage` is canonical; `produced` counts the bytes of
    text that the model has given so far, for a call that never tells its usage.
    """

    id: str
    format: Format
    path: Mapping[str, str]
    key: ApiKey
    account: Account
    body: dict[str, Any]
    size: int
    stream: bool
    array: bool = False
    started: float = field(default_factory=time.monotonic)
    model: Model | None = None
    input_tokens: int = 0
    reservation: Reservation | None = None
    target: Target | None = None
    provider: str = ""
    dropped: list[str] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    complete: bool = False
    produced: int = 0
    closed: bool = False

    @property
    def price(self) -> Price:
        if self.target is not None:
            return self.target.price
        assert self.model is not None
        return self.model.price

    def drop(self, names: list[str]) -> None:
        """Notes request fields that were lost, each once."""
        for name in names:
            if name not in self.dropped:
                self.dropped.append(name)
