"""What was answered, in whatever format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """An answer's facts, read from a body or folded from a stream."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    finish: str | None = None
    refusal: str = ""
    seal: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    error: Any = None
    events: list[tuple[str | None, Any]] = field(default_factory=list)
    id: str = ""
