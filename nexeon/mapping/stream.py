"""Where a stream's state is kept: pieces as the mappings give them in, clean pieces out.

Blocks are opened, closed and numbered here, usage is merged, the finish held back, the answer folded; the mappings stay
pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nexeon.errors import MappingFailure
from nexeon.mapping.beyond import beyond
from nexeon.mapping.blocks import STREAMED, OpenBlock, grown, in_characters, rest
from nexeon.mapping.format import Format
from nexeon.mapping.missing import MISSING
from nexeon.mapping.names import answer, called, named, placed
from nexeon.mapping.opaque import OpaqueText, holds_opaque
from nexeon.mapping.reshape import place
from nexeon.mapping.usage import merged
from nexeon.wire.json import dumps

Piece = dict[str, Any]
Context = dict[str, Any]

_PAYLOADS: Final = ("text", "arguments", "place", "seal", "citation", "logprobs", "data")
CUT_SHORT: Final = "the provider's stream ended before its answer was complete"


class Steady:
    """A delta whose text is all that changes from one event to the next: `piece` is what comes of it, `slot` the text
    in it."""

    __slots__ = ("_block", "_decoder", "_head", "_key", "_texts", "piece", "slot")

    def __init__(
        self, decoder: StreamDecoder, block: OpenBlock, key: str | int | None, slot: str, texts: list[str], piece: Piece
    ) -> None:
        self._decoder = decoder
        self._block = block
        self._head = block.head
        self._key = key
        self._texts = texts
        self.slot = slot
        self.piece = piece

    @property
    def holds(self) -> bool:
        """Whether what came between has changed nothing of it."""
        decoder, block = self._decoder, self._block
        if not block.is_open or block.head is not self._head or decoder.finished or decoder.failed is not None:
            return False
        current = decoder._running if self._key is None else decoder._by_key.get(self._key)
        return current is block and (self.piece.get("summary_part", -1) in (-1, len(block.summary) - 1))

    def add(self, text: str) -> None:
        """The text of one or more such events."""
        self._texts.append(text)
        self._decoder.produced += len(text)


class StreamDecoder:
    """A provider's events to clean pieces, and the folded answer."""

    def __init__(self, format: Format, ctx: Context, patch: Callable[[Any, Context], Any] | None = None) -> None:
        """`patch` is the dialect's for events, applied before decoding."""
        self._decode = format.decode_event
        self._patch = patch
        self._ctx = ctx
        self._blocks: list[OpenBlock] = []
        self._by_key: dict[str | int, OpenBlock] = {}
        self._ids: dict[str | int, Any] = {}
        self._running: OpenBlock | None = None
        self._ordinals: dict[str, int] = {}
        self._facts: dict[str, Any] = {}
        self._finish: Piece | None = None
        self._out: list[Piece] = []
        self.usage: dict[str, Any] = {}
        self.produced = 0
        """Characters of answer so far, for an estimate where no usage comes."""
        self.started = False
        self.finished = False
        self.failed: dict[str, Any] | None = None
        """The canonical error that ended the stream."""

    def feed(self, event: Any) -> list[Piece]:
        """The clean pieces of one event. Raises MappingFailure."""
        if self.finished or self.failed is not None:
            return []
        if self._patch is not None:
            event = self._patch(event, self._ctx)
        out: list[Piece] = []
        self._out = out
        for piece in self._decode(event, self._ctx):
            handler = _DECODERS.get(piece.get("type"))
            if handler is None:
                raise MappingFailure(f"stream.decode gave an unknown piece `{piece.get('type')}`")
            try:
                handler(self, piece)
            except (KeyError, TypeError) as error:  # the provider has an object, say, for a number, or nothing
                raise MappingFailure(f"a `{piece['type']}` piece is not of its form: {error}") from error
            if self.failed is not None:
                break
        return out

    def end(self) -> list[Piece]:
        """What is left when the provider's stream ends: the finish that was held back, or an error where none came."""
        if self.finished or self.failed is not None:
            return []
        self._out = []
        if self._finish is not None:
            self._flush()
        else:
            self._fail({"type": "error", "error": {"kind": "upstream", "message": CUT_SHORT}})
        return self._out

    @property
    def response(self) -> dict[str, Any]:
        """The answer so far, folded."""
        folded = dict(self._facts)
        folded["blocks"] = [block.folded() for block in self._blocks]
        if self._finish is not None:
            folded["finish"] = {
                key: value for key, value in self._finish.items() if key not in ("type", "usage", "response")
            }
        if self.usage:
            folded["usage"] = self.usage
        return folded

    @property
    def open_calls(self) -> set[str]:
        """The ids of calls whose arguments are not whole yet."""
        return {block.head["call_id"] for block in self._blocks if block.is_open and block.type == "tool_call"}

    def steady(self, pieces: list[Piece]) -> Steady | None:
        """Where decoded pieces only add text to a block under way, what `feed` would give for them; else None.

        The same pieces with other text then give the same but for the text, until another event comes between.
        """
        delta: Piece | None = None
        for piece in pieces:
            kind = piece.get("type")
            if kind == "delta" and delta is None:
                delta = piece
            elif kind not in ("start", "usage") or holds_opaque(piece):
                return None
        if delta is None or not self.started or self.finished or self.failed is not None:
            return None
        names = delta.keys() - {"type", "key", "id", "block", "part"}
        key, head = delta.get("key"), delta.get("block")
        if len(names) != 1 or "id" in delta or holds_opaque(key) or holds_opaque(head):
            return None
        block = self._by_key.get(key) if key is not None else self._running
        if block is None or not block.is_open or (key is None and block.type != (head or {}).get("type")):
            return None
        (name,) = names
        texts, payload = self._grows(block, name, delta)
        if texts is None:
            return None
        out = {"type": "delta", "index": block.index, "ordinal": block.ordinal, "block": block.head, **payload}
        return Steady(self, block, key, delta[name], texts, out)

    def _grows(self, block: OpenBlock, name: str, delta: Piece) -> tuple[list[str] | None, Piece]:
        """The list that text of this name is added to, where that begins nothing."""
        value = delta[name]
        if type(value) is not OpaqueText:
            return None, {}
        if name == "text" and block.text and "part" not in delta:
            return block.text, {"text": value}
        if name == "arguments" and block.arguments and "part" not in delta:
            return block.arguments, {"arguments": value}
        if name == "summary" and block.summary:
            part = delta.get("part")
            number = part if part is not None else len(block.summary) - 1
            if type(number) is int and number == len(block.summary) - 1:
                return block.summary[number], {"summary": value, "summary_part": number}
        return None, {}

    # pieces in

    def _start(self, piece: Piece) -> None:
        piece = answer(piece, self._ctx)
        for name in ("id", "model", "created", "extra"):
            value = piece.get(name)
            if value is not None and (not self.started or (name in ("model", "extra") and name not in self._facts)):
                self._facts[name] = value
        if usage := piece.get("usage"):
            self.usage = merged(self.usage, usage)
        self._begin()

    def _begin(self) -> None:
        if not self.started:
            self.started = True
            self._out.append({"type": "start", "response": self.response})

    def _open(self, piece: Piece) -> None:
        known = self._by_key.get(piece["key"])
        if known is not None:
            known.head = {**named(piece["block"]), **known.head}
            return
        self._close_running()
        self._whole_or_head(piece["block"], piece["key"])

    def _whole_or_head(self, content: dict[str, Any], key: str | int | None) -> OpenBlock:
        """Opens a block; what its head already says of streamed fields comes as deltas."""
        streamed = () if content.get("redacted") else STREAMED.get(content.get("type", ""), ())
        head = {name: value for name, value in content.items() if name not in streamed}
        block = self._new(head, key)
        self._fill(block, content)
        return block

    def _new(self, head: dict[str, Any], key: str | int | None) -> OpenBlock:
        self._begin()
        head = called(head, self._ctx, len(self._blocks))
        kind = head.get("type", "")
        ordinal = self._ordinals.get(kind, 0)
        self._ordinals[kind] = ordinal + 1
        block = OpenBlock(head, len(self._blocks), ordinal)
        self._blocks.append(block)
        if key is not None:
            self._by_key[key] = block
        self._out.append({"type": "open", "index": block.index, "ordinal": ordinal, "block": head})
        return block

    def _delta(self, piece: Piece) -> None:
        cited = self._cited_late(piece) if "citation" in piece else None
        block = cited or self._target(piece)
        if block is None:
            return
        if "summary" in piece:
            self._summary(block, piece["summary"], piece.get("part"))
        if "citation" in piece:
            text = "".join(block.text) if piece.get("bytes") else None
            piece = {**piece, "citation": in_characters(placed(piece["citation"]), text)}
        if cited is not None:
            cited.citations.append(piece["citation"])
            return
        for name in _PAYLOADS:
            if name in piece:
                self._give(block, name, piece[name])

    def _cited_late(self, piece: Piece) -> OpenBlock | None:
        """The block that a citation without a key is about, where it has ended: only the whole answer tells it then."""
        kind = piece.get("block", {}).get("type")
        if "key" in piece or (self._running is not None and self._running.is_open and self._running.type == kind):
            return None
        return next((block for block in reversed(self._blocks) if block.type == kind), None)

    def _target(self, piece: Piece) -> OpenBlock | None:
        """The block that a delta goes to, opened if need be; None where it comes after its block's end."""
        key, head = piece.get("key"), piece.get("block")
        if key is not None:
            block = self._by_key.get(key)
            own = piece.get("id")
            if own is not None and self._ids.setdefault(key, own) != own:
                self._ids[key] = own
                if block is not None:
                    self._end(block)
                block = None
            if block is None:
                if head is None:
                    raise MappingFailure(f"a delta for block `{key}`, which never opened")
                self._close_running()
                block = self._new(head, key)
            return block if block.is_open else None
        if head is None:
            raise MappingFailure("a delta needs a `key` or a `block`")
        running = self._running
        if running is None or not running.is_open or running.type != head.get("type"):
            self._close_running()
            running = self._running = self._new(head, None)
        return running

    def _summary(self, block: OpenBlock, text: Any, part: int | None) -> None:
        if type(text) is not str:
            raise MappingFailure("a summary must be text")
        number = part if part is not None else max(len(block.summary) - 1, 0)
        if not 0 <= number < len(block.summary) + 64:  # no number of a part
            number = max(len(block.summary) - 1, 0)
        payload: dict[str, Any] = {"summary": text, "summary_part": number}
        if len(block.summary) <= number:
            payload["begins"] = True
            if block.summary:
                payload["before"] = "".join(block.summary[-1])
        while len(block.summary) <= number:
            block.summary.append([])
        block.summary[number].append(text)
        self.produced += len(text)
        self._say(block, payload)

    def _give(self, block: OpenBlock, name: str, value: Any) -> None:
        if value is None or value == "":
            return
        if type(value) is not str and name in ("text", "arguments"):
            raise MappingFailure(f"`{name}` of a block must be text")
        if name == "text":
            begins = not block.text
            block.text.append(value)
            self.produced += len(value)
            if begins:
                self._say(block, {"text": value, "begins": True})
                return
        elif name == "arguments":
            block.arguments.append(value)
            self.produced += len(value)
        elif name == "place":
            try:
                block.placed = place(block.placed, value.get("path"), value.get("value"))
            except ValueError as error:
                raise MappingFailure(str(error)) from None
            return
        elif name == "citation":
            block.citations.append(value)
            self._say(block, {"citation": value, "citation_index": len(block.citations) - 1})
            return
        elif name == "logprobs":
            block.logprobs.extend(value)
        elif name == "seal":
            block.seal = value
        else:
            block.head = grown(block.head, value)
        self._say(block, {name: value})

    def _say(self, block: OpenBlock, payload: dict[str, Any]) -> None:
        self._out.append(
            {"type": "delta", "index": block.index, "ordinal": block.ordinal, "block": block.head, **payload}
        )

    def _fill(self, block: OpenBlock, content: dict[str, Any]) -> None:
        """Gives what the content has and no delta brought."""
        if content.get("redacted"):
            return
        streamed = STREAMED.get(block.type, ())
        for name, parts in (("text", block.text), ("arguments", block.arguments)):
            if name in streamed:
                self._give(block, name, rest(parts, content.get(name)))
        if "summary" in streamed and not block.summary:
            for number, text in enumerate(content.get("summary") or ()):
                self._summary(block, text, number)
        if "citations" in streamed and not block.citations:
            for citation in content.get("citations") or ():
                self._give(block, "citation", placed(citation))
        if "logprobs" in streamed and not block.logprobs and content.get("logprobs"):
            self._give(block, "logprobs", content["logprobs"])
        if "seal" in streamed and block.seal is None:
            self._give(block, "seal", content.get("seal"))

    def _close(self, piece: Piece) -> None:
        if "key" not in piece:
            self._close_running()
            return
        block = self._by_key.get(piece["key"])
        content = piece.get("block")
        if block is None:
            if content:
                self._close_running()
                self._end(self._whole_or_head(content, piece["key"]))
            return
        if block.is_open:
            if content:
                self._fill(block, content)
                block.learn(content)
            self._end(block)

    def _block(self, piece: Piece) -> None:
        self._close_running()
        self._end(self._whole_or_head(piece["block"], piece.get("key")))

    def _answer(self, piece: Piece) -> None:
        for block, content in beyond(self._blocks, piece["blocks"]):
            if block is None:
                self._close_running()
                self._end(self._whole_or_head(content, None))
            elif block.is_open:
                self._fill(block, content)
                block.learn(content)
            elif not block.citations:
                block.citations = [placed(citation) for citation in content.get("citations") or ()]

    def _close_running(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            self._end(running)

    def _end(self, block: OpenBlock) -> None:
        if not block.is_open:
            return
        if block.placed is not MISSING and not block.arguments:
            self._give(block, "arguments", dumps(block.placed).decode())
        if block.type == "tool_call" and not block.arguments and block.head.get("kind") != "custom":
            self._give(block, "arguments", "{}")
        block.is_open = False
        self._out.append({"type": "close", "index": block.index, "ordinal": block.ordinal, "block": block.folded()})

    def _usage(self, piece: Piece) -> None:
        self.usage = merged(self.usage, piece["usage"])

    def _hold(self, piece: Piece) -> None:
        self._begin()
        before = self._finish or {}
        self._finish = {**before, **{name: value for name, value in piece.items() if value is not None}}

    def _ended(self, piece: Piece) -> None:
        if self._finish is not None:
            self._flush()

    def _flush(self) -> None:
        self._running = None
        for block in self._blocks:
            self._end(block)
        assert self._finish is not None
        if self._finish["reason"] == "stop":
            kinds = {block.type for block in self._blocks}
            if "tool_call" in kinds:
                self._finish["reason"] = "tool_calls"
            elif "refusal" in kinds and "text" not in kinds:
                self._finish["reason"] = "refusal"
        self.finished = True
        self._out.append({**self._finish, "usage": self.usage, "response": self.response})

    def _fail(self, piece: Piece) -> None:
        self.failed = piece["error"]
        self._out.append({"type": "error", "error": piece["error"], "response": self.response})

    def _ping(self, piece: Piece) -> None:
        self._out.append({"type": "ping"})


_DECODERS: Final[dict[Any, Callable[[StreamDecoder, Piece], None]]] = {
    "start": StreamDecoder._start,
    "open": StreamDecoder._open,
    "delta": StreamDecoder._delta,
    "close": StreamDecoder._close,
    "block": StreamDecoder._block,
    "answer": StreamDecoder._answer,
    "usage": StreamDecoder._usage,
    "finish": StreamDecoder._hold,
    "end": StreamDecoder._ended,
    "error": StreamDecoder._fail,
    "ping": StreamDecoder._ping,
}


def fold(pieces: list[Piece]) -> Any:
    """The response that a finished stream of clean pieces amounts to; MISSING where it never finished."""
    for piece in reversed(pieces):
        if piece["type"] == "finish":
            return piece["response"]
    return MISSING
