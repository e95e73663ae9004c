"""One request under way, from its key to its charge."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nexeon.config import Model, Price, Target
from nexeon.errors import RequestError
from nexeon.mapping.format import Format
from nexeon.store import Account, ApiKey, Reservation

if TYPE_CHECKING:
    from nexeon.gateway.answers.turns import Turn
    from nexeon.gateway.observe.tracing import Trace
    from nexeon.gateway.repeats.keeping import Keeping

Closer = Callable[[Mapping[str, Any]], Awaitable[None] | None]
"""Called once at the end of a call with the canonical usage that it is charged for, {} where it costs nothing."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One call to a provider: `model` is its own name of the model, `key` the id of the provider key, `outcome` "ok" or
    whose fault the failure was, `status` that of the provider's answer (0: none), `seconds` until it was decided."""

    provider: str
    model: str
    key: str
    outcome: str
    status: int
    seconds: float


@dataclass(slots=True)
class Bodies:
    """What went over the wire, for the log of requests: `asked` and `told` by and to the client, `sent` and `heard` to
    and from the provider, of the last attempt."""

    asked: bytes
    told: bytearray = field(default_factory=bytearray)
    sent: bytes = b""
    heard: bytearray = field(default_factory=bytearray)

    def attempt(self, body: bytes) -> None:
        """A provider is asked."""
        self.sent = body
        self.heard.clear()


@dataclass(slots=True)
class Exchange:
    """What is known of a request; each step of the way fills in its part.

    `dropped` names request fields that did not reach the target; `usage` is canonical; `produced` counts the bytes of
    text that the model has given so far, for a call that never tells its usage. `strict` refuses to drop anything.
    `conversation` tells requests that continue each other, where that is known. `served` is the model whose target
    answers, where a fall-back took over; `cost` is the charge in nano-USD once it is made; `closing` is called when
    the call's money is settled, with what it used. `steps` are moments by step; `answered`, once a stream has begun;
    `failure` is what the client was told in the end; `kept` are the bodies, where the log of requests wants them.
    `turn` is there where the answer is kept or continues one, `maker` is the context of the target asked last.
    `trace` is its place in a trace, where it is
    traced. `unknown` counts events that were given through without being understood.
    `tell_cost`: the client wants to know the charge. `keeping` is there where the answer is kept under an idempotency
    key.
    `doubts` are counts of the provider's usage that cannot be.
    `headers` are those of the client's own that its format's mapping reads. `renewed` is when its credit was kept on.
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
    strict: bool = False
    started: float = field(default_factory=time.monotonic)
    model: Model | None = None
    input_tokens: int = 0
    reservation: Reservation | None = None
    target: Target | None = None
    provider: str = ""
    dropped: list[str] = field(default_factory=list)
    losses: list[list[str]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    complete: bool = False
    produced: int = 0
    closed: bool = False
    output_tokens: int = 0
    conversation: str = ""
    served: Model | None = None
    attempts: list[Tried] = field(default_factory=list)
    cost: int | None = None
    closing: list[Closer] = field(default_factory=list)
    limit_headers: dict[str, str] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    answered: bool = False
    failure: RequestError | None = None
    kept: Bodies | None = None
    turn: Turn | None = None
    maker: Mapping[str, Any] | None = None
    unknown: int = 0
    trace: Trace | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    tell_cost: bool = False
    keeping: Keeping | None = None
    renewed: float = 0.0

    @property
    def price(self) -> Price:
        if self.target is not None:
            return self.target.price
        assert self.model is not None
        return self.model.price

    def spoke(self) -> None:
        """Notes when the answer's first words came; once."""
        self.steps.setdefault("spoke", time.monotonic())

    def step(self, name: str) -> None:
        """Notes when a step of the way was done."""
        self.steps[name] = time.monotonic()

    def keep(self, out: bytes) -> None:
        """Notes what the client is sent, where bodies are kept."""
        if self.kept is not None:
            self.kept.told.extend(out)

    def lost(self) -> list[str]:
        """What of the answer could not be said to the client."""
        return [name for names in self.losses for name in names]

    def drop(self, names: list[str]) -> None:
        """Notes request fields that were lost, each once."""
        for name in names:
            if name not in self.dropped:
                self.dropped.append(name)
