"""One block of a streamed answer: its head, and what has come of it so far."""

from __future__ import annotations

from typing import Any, Final

from nexeon.mapping.missing import MISSING
from nexeon.mapping.names import named
from nexeon.mapping.reshape import char_offset

STREAMED: Final[dict[str, tuple[str, ...]]] = {
    "text": ("text", "citations", "logprobs", "seal"),
    "refusal": ("text", "seal"),
    "reasoning": ("text", "summary", "seal"),
    "tool_call": ("arguments", "seal"),
    "server_tool_call": ("arguments",),
}
"""Fields that come as deltas, per block type; every other block comes whole when it opens."""


class OpenBlock:
    """A block under way, or done."""

    __slots__ = (
        "arguments",
        "citations",
        "head",
        "index",
        "is_open",
        "logprobs",
        "ordinal",
        "placed",
        "seal",
        "summary",
        "text",
        "type",
    )

    def __init__(self, head: dict[str, Any], index: int, ordinal: int) -> None:
        self.head = head
        self.type: str = head.get("type", "")
        self.index = index
        self.ordinal = ordinal
        self.is_open = True
        self.text: list[str] = []
        self.arguments: list[str] = []
        self.summary: list[list[str]] = []
        self.citations: list[Any] = []
        self.logprobs: list[Any] = []
        self.seal: Any = None
        self.placed: Any = MISSING
        """Arguments that come path by path, so far."""

    def learn(self, content: dict[str, Any]) -> None:
        """Takes from the whole what the head has not and no delta brings."""
        streamed = STREAMED.get(self.type, ())
        facts = named(content).items()
        late = {name: value for name, value in facts if name not in streamed and name not in self.head}
        if late:
            self.head = {**self.head, **late}

    def folded(self) -> dict[str, Any]:
        """The whole block, as a response has it."""
        block = dict(self.head)
        if self.text or (self.type in ("text", "refusal") and "text" not in block):
            block["text"] = "".join(self.text)
        if self.summary:
            block["summary"] = ["".join(part) for part in self.summary]
        if self.arguments or self.type == "tool_call":
            block["arguments"] = "".join(self.arguments)
        if self.citations:
            block["citations"] = self.citations
        if self.logprobs:
            block["logprobs"] = self.logprobs
        if self.seal is not None:
            block["seal"] = self.seal
        return block


def rest(parts: list[str], whole: Any) -> Any:
    """What a whole text says after the parts that have come; None where it says another thing."""
    if not parts:
        return whole
    come = "".join(parts)
    return whole[len(come) :] if type(whole) is str and whole.startswith(come) else None


def in_characters(citation: dict[str, Any], text: str | None) -> dict[str, Any]:
    """A citation whose places in `text` were told in another unit (None: in characters)."""
    if text is None:
        return citation
    places = {name: char_offset(text, citation[name]) for name in ("start", "end") if name in citation}
    return {**citation, **{name: place for name, place in places.items() if place is not MISSING}}


def grown(head: dict[str, Any], data: Any) -> dict[str, Any]:
    """A block whose bytes come in pieces: base64 text is put together under its source."""
    if type(data) is not str:
        return {**head, "data": data}
    source = head.get("source") or {"kind": "base64", "data": ""}
    return {**head, "source": {**source, "data": source.get("data", "") + data}}
