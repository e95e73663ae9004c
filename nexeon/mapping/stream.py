"""The one place that keeps a stream's state: pieces as the mappings give them in, clean pieces out.

The decoder opens, closes and numbers blocks, merges usage, holds the finish back and folds the answer; the encoder
orders blocks for formats that cannot overlap them and groups them into items. The mappings on both sides stay pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nexeon.errors import MappingFailure
from nexeon.mapping.format import Format
from nexeon.mapping.missing import MISSING

Piece = dict[str, Any]
Context = dict[str, Any]

STREAMED: Final[dict[str, tuple[str, ...]]] = {
    "text": ("text", "citations", "logprobs", "seal"),
    "refusal": ("text", "seal"),
    "reasoning": ("text", "summary", "seal"),
    "tool_call": ("arguments", "seal"),
    "server_tool_call": ("arguments", "seal"),
}
"""Fields that come as deltas, per block type; every other block comes whole when it opens."""

_PAYLOADS: Final = ("text", "arguments", "seal", "citation", "logprobs", "data")
CUT_SHORT: Final = "the provider's stream ended before its answer was complete"


class OpenBlock:
    """A block under way, or done."""

    __slots__ = ("arguments", "citations", "head", "index", "is_open", "logprobs", "ordinal", "seal", "summary", "text", "type")

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


class StreamDecoder:
    """A provider's events to clean pieces, and the folded answer."""

    def __init__(self, format: Format, ctx: Context, patch: Callable[[Any, Context], Any] | None = None) -> None:
        """`patch` is the dialect's for events, applied before decoding."""
        self._decode = format.decode_event
        self._patch = patch
        self._ctx = ctx
        self._blocks: list[OpenBlock] = []
        self._by_key: dict[str | int, OpenBlock] = {}
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
        self._out = out = []
        for piece in self._decode(event, self._ctx):
            handler = _DECODERS.get(piece.get("type"))
            if handler is None:
                raise MappingFailure(f"stream.decode gave an unknown piece `{piece.get('type')}`")
            handler(self, piece)
            if self.failed is not None:
                break
        return out

    def end(self) -> list[Piece]:
        """What is left when the provider's stream ends: the finish that was held back, or an error where none came."""
        if self.finished or self.failed is not None:
            return []
        self._out = out = []
        if self._finish is not None:
            self._flush()
        else:
            self._fail({"type": "error", "error": {"kind": "upstream", "message": CUT_SHORT}})
        return out

    @property
    def response(self) -> dict[str, Any]:
        """The answer so far, folded."""
        folded = dict(self._facts)
        folded["blocks"] = [block.folded() for block in self._blocks]
        if self._finish is not None:
            folded["finish"] = {key: value for key, value in self._finish.items() if key not in ("type", "usage", "response")}
        if self.usage:
            folded["usage"] = self.usage
        return folded

    # pieces in

    def _start(self, piece: Piece) -> None:
        for name in ("id", "model", "created", "extra"):
            value = piece.get(name)
            if value is not None and (name not in self._facts or not self.started):
                self._facts[name] = value
        if usage := piece.get("usage"):
            self._merge_usage(usage)
        self._begin()

    def _begin(self) -> None:
        if not self.started:
            self.started = True
            self._out.append({"type": "start", "response": self.response})

    def _open(self, piece: Piece) -> None:
        known = self._by_key.get(piece["key"])
        if known is not None:
            known.head = {**piece["block"], **known.head}
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
        block = self._target(piece)
        if block is None:
            return
        if "summary" in piece:
            self._summary(block, piece["summary"], piece.get("part"))
        for name in _PAYLOADS:
            if name in piece:
                self._give(block, name, piece[name])

    def _target(self, piece: Piece) -> OpenBlock | None:
        """The block that a delta goes to, opened if need be; None where it comes after its block's end."""
        key, head = piece.get("key"), piece.get("block")
        if key is not None:
            block = self._by_key.get(key)
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

    def _summary(self, block: OpenBlock, text: str, part: int | None) -> None:
        number = part if part is not None else max(len(block.summary) - 1, 0)
        while len(block.summary) <= number:
            block.summary.append([])
        block.summary[number].append(text)
        self.produced += len(text)
        self._say(block, {"summary": text, "summary_part": number})

    def _give(self, block: OpenBlock, name: str, value: Any) -> None:
        if value is None or value == "":
            return
        if name == "text":
            block.text.append(value)
            self.produced += len(value)
        elif name == "arguments":
            block.arguments.append(value)
            self.produced += len(value)
        elif name == "citation":
            block.citations.append(value)
            self._say(block, {"citation": value, "citation_index": len(block.citations) - 1})
            return
        elif name == "logprobs":
            block.logprobs.extend(value)
        elif name == "seal":
            block.seal = value
        else:
            block.head = _grown(block.head, value)
        self._say(block, {name: value})

    def _say(self, block: OpenBlock, payload: dict[str, Any]) -> None:
        self._out.append({"type": "delta", "index": block.index, "ordinal": block.ordinal, "block": block.head, **payload})

    def _fill(self, block: OpenBlock, content: dict[str, Any]) -> None:
        """Gives what the content has and no delta brought."""
        if content.get("redacted"):
            return
        streamed = STREAMED.get(block.type, ())
        if "text" in streamed and not block.text:
            self._give(block, "text", content.get("text"))
        if "summary" in streamed and not block.summary:
            for number, text in enumerate(content.get("summary") or ()):
                self._summary(block, text, number)
        if "arguments" in streamed and not block.arguments:
            self._give(block, "arguments", content.get("arguments"))
        if "citations" in streamed and not block.citations:
            for citation in content.get("citations") or ():
                self._give(block, "citation", citation)
        if "logprobs" in streamed and not block.logprobs and content.get("logprobs"):
            self._give(block, "logprobs", content["logprobs"])
        if "seal" in streamed and block.seal is None:
            self._give(block, "seal", content.get("seal"))

    def _close(self, piece: Piece) -> None:
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
                streamed = STREAMED.get(block.type, ())
                late = {name: value for name, value in content.items() if name not in streamed and name not in block.head}
                if late:
                    block.head = {**block.head, **late}
            self._end(block)

    def _block(self, piece: Piece) -> None:
        self._close_running()
        self._end(self._whole_or_head(piece["block"], piece.get("key")))

    def _close_running(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            self._end(running)

    def _end(self, block: OpenBlock) -> None:
        if not block.is_open:
            return
        if block.type == "tool_call" and not block.arguments and block.head.get("kind") != "custom":
            self._give(block, "arguments", "{}")
        block.is_open = False
        self._out.append({"type": "close", "index": block.index, "ordinal": block.ordinal, "block": block.folded()})

    def _usage(self, piece: Piece) -> None:
        self._merge_usage(piece["usage"])

    def _merge_usage(self, usage: dict[str, Any]) -> None:
        self.usage = {**self.usage, **{name: value for name, value in usage.items() if value is not None}}

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
        called = any(block.type == "tool_call" for block in self._blocks)
        if called and self._finish["reason"] == "stop":
            self._finish["reason"] = "tool_calls"
        self.finished = True
        self._out.append({**self._finish, "usage": self.usage, "response": self.response})

    def _fail(self, piece: Piece) -> None:
        self.failed = piece["error"]
        self._out.append({"type": "error", "error": piece["error"], "response": self.response})

    def _ping(self, piece: Piece) -> None:
        self._out.append({"type": "ping"})


def _grown(head: dict[str, Any], data: Any) -> dict[str, Any]:
    """A block whose bytes come in pieces: base64 text is put together under its source."""
    if type(data) is not str:
        return {**head, "data": data}
    source = head.get("source") or {"kind": "base64", "data": ""}
    return {**head, "source": {**source, "data": source.get("data", "") + data}}


_DECODERS: Final[dict[Any, Callable[[StreamDecoder, Piece], None]]] = {
    "start": StreamDecoder._start,
    "open": StreamDecoder._open,
    "delta": StreamDecoder._delta,
    "close": StreamDecoder._close,
    "block": StreamDecoder._block,
    "usage": StreamDecoder._usage,
    "finish": StreamDecoder._hold,
    "end": StreamDecoder._ended,
    "error": StreamDecoder._fail,
    "ping": StreamDecoder._ping,
}


class StreamEncoder:
    """Clean pieces to a client's events."""

    def __init__(self, format: Format, ctx: Context) -> None:
        facts = format.wire.stream
        self._encode = format.encode_piece
        self._ctx = ctx
        self._serial = facts.serial
        self._group = facts.group
        self._number = facts.number
        self._count = 0
        self._current: int | None = None
        self._waiting: dict[int, list[Piece]] = {}
        self._items = 0
        self._places: dict[int, tuple[int, int]] = {}
        self._item: _Item | None = None
        self._closing: list[_Item] = []

    def encode(self, pieces: list[Piece]) -> list[Any]:
        """The events of some clean pieces. Raises MappingFailure."""
        events: list[Any] = []
        for piece in pieces:
            for ordered in self._ordered(piece) if self._serial else (piece,):
                for placed in self._placed(ordered) if self._group else (self._alone(ordered),):
                    events += self._encode(placed, self._ctx)
        if self._number is not None:
            for event in events:
                event[self._number] = self._count
                self._count += 1
        return events

    # one block after another

    def _ordered(self, piece: Piece) -> list[Piece]:
        kind = piece["type"]
        if kind not in ("open", "delta", "close"):
            return [piece]
        index: int = piece["index"]
        if self._current is None and kind == "open" and not self._waiting:
            self._current = index
            return [piece]
        if index != self._current:
            self._waiting.setdefault(index, []).append(piece)
            return []
        if kind != "close":
            return [piece]
        ready = [piece]
        self._current = None
        while self._waiting:
            following = min(self._waiting)
            queued = self._waiting.pop(following)
            ready += queued
            if queued[-1]["type"] != "close":
                self._current = following
                break
        return ready

    # neighbours in one item

    def _alone(self, piece: Piece) -> Piece:
        if "index" in piece:
            return {**piece, "item": piece["index"], "part": 0}
        return piece

    def _placed(self, piece: Piece) -> list[Piece]:
        kind = piece["type"]
        if kind == "open":
            return self._place(piece)
        if kind == "delta":
            return [self._with_place(piece)]
        if kind == "close":
            placed = [self._with_place(piece)]
            for item in [self._item, *self._closing]:
                if item is not None and item.number == placed[0]["item"]:
                    item.running -= 1
                    item.blocks[placed[0]["part"]] = piece["block"]
            return placed + self._close_done()
        if kind in ("finish", "error"):
            return [*self._leave(), piece]
        return [piece]

    def _with_place(self, piece: Piece) -> Piece:
        item, part = self._places[piece["index"]]
        return {**piece, "item": item, "part": part}

    def _place(self, piece: Piece) -> list[Piece]:
        out: list[Piece] = []
        if piece["block"].get("type") not in self._group:
            out += self._leave()
            self._places[piece["index"]] = (self._items, 0)
            self._items += 1
        else:
            if self._item is None:
                self._item = _Item(self._items)
                self._items += 1
                out.append({"type": "item_open", "item": self._item.number, "block": piece["block"]})
            self._places[piece["index"]] = (self._item.number, len(self._item.blocks))
            self._item.blocks.append(piece["block"])
            self._item.running += 1
        return [*out, self._with_place(piece)]

    def _leave(self) -> list[Piece]:
        """No further block joins the item; it closes once its own blocks have."""
        if self._item is not None:
            self._closing.append(self._item)
            self._item = None
        return self._close_done()

    def _close_done(self) -> list[Piece]:
        done = [item for item in self._closing if item.running == 0]
        self._closing = [item for item in self._closing if item.running > 0]
        return [{"type": "item_close", "item": item.number, "blocks": item.blocks} for item in done]


class _Item:
    """Neighbouring blocks that one format shows as one thing."""

    __slots__ = ("blocks", "number", "running")

    def __init__(self, number: int) -> None:
        self.number = number
        self.running = 0
        self.blocks: list[dict[str, Any]] = []


def fold(pieces: list[Piece]) -> Any:
    """The response that a finished stream of clean pieces amounts to; MISSING where it never finished."""
    for piece in reversed(pieces):
        if piece["type"] == "finish":
            return piece["response"]
    return MISSING
