"""Clean pieces to a client's events: blocks put in a row for formats that cannot overlap them, grouped into items for
formats that have such, results told with the calls they are of, and the events numbered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nexeon.errors import MappingFailure
from nexeon.mapping.format import Format

Piece = dict[str, Any]
Context = dict[str, Any]


class StreamEncoder:
    """Clean pieces to a client's events."""

    def __init__(self, format: Format, ctx: Context) -> None:
        facts = format.wire.stream
        self._encode = format.encode_piece
        self._ctx = ctx
        self._serial = facts.serial
        self._group = facts.group
        self._skip = facts.skip
        self._results = facts.results
        self._dense = facts.dense
        self._late_citations = facts.late_citations
        self._numbers: dict[int, int | None] = {}
        self._shown = 0
        self._unanswered: dict[str | None, Piece] = {}
        self._format = format.name
        self._number = facts.number
        self._count = 0
        self._current: int | None = None
        self._waiting: dict[int, list[Piece]] = {}
        self._cited: dict[int, int] = {}
        self._items = 0
        self._places: dict[int, tuple[int, int]] = {}
        self._item: _Item | None = None
        self._closing: list[_Item] = []

    def encode(self, pieces: list[Piece]) -> list[Any]:
        """The events of some clean pieces. Raises MappingFailure."""
        try:
            return self._events(pieces)
        except TypeError as error:
            raise MappingFailure(f"a piece of an answer is not of its form: {error}") from error

    def _events(self, pieces: list[Piece]) -> list[Any]:
        events: list[Any] = []
        for piece in self._answered(pieces) if self._results else pieces:
            if self._late_citations:
                events += self._cites(piece)
            if self._skip and "block" in piece and self._skipped(piece["block"]):
                continue
            for ordered in self._ordered(piece) if self._serial else (piece,):
                for placed in self._placed(ordered) if self._group else (self._alone(ordered),):
                    events += (
                        self._told(placed) if self._dense and "index" in placed else self._encode(placed, self._ctx)
                    )
        if self._number is not None:
            for event in events:
                event[self._number] = self._count
                self._count += 1
        return events

    def steady(self, format: Format, piece: Piece, number: int) -> list[Any] | None:
        """The events of a delta with opaque text in `format`, this encoder's, numbered with `number`; None where they
        would not be the same for the next one. Raises Touched where the text is read."""
        if self._skip and self._skipped(piece["block"]):
            return []
        if self._serial and piece["index"] != self._current:
            return None
        placed = self._with_place(piece) if self._group else self._alone(piece)
        if self._dense:
            if piece["index"] not in self._numbers:
                return None
            if (shown := self._numbers[piece["index"]]) is None:
                return []
            placed = {**placed, "index": shown}
        events = format.opaque_piece(placed, self._ctx)
        if events != format.opaque_piece(placed, self._ctx):
            return None
        if self._number is not None and len(events) > 1:
            return None
        for event in events:
            if self._number is not None:
                event[self._number] = number
        return events

    def told(self, piece: Piece, times: int, *, each: int) -> int | None:
        """Counts as many events as such a delta gives, and gives the number of the first; None where one of them would
        now be told in another way than when `steady` was asked."""
        if self._serial and piece["index"] != self._current:
            return None
        first = self._count
        if self._number is not None:
            self._count += times * each
        return first

    def follow(self, event: Any) -> None:
        """Numbers what comes next after `event`, which the client was given as it was."""
        number = event.get(self._number) if self._number is not None and isinstance(event, dict) else None
        if type(number) is int:
            self._count = number + 1

    def _skipped(self, block: dict[str, Any]) -> bool:
        """Whether this format's answers have no place for the block; its own opaque ones have."""
        return block.get("type") in self._skip and block.get("format") != self._format

    def _told(self, piece: Piece) -> list[Any]:
        """The events of a block's piece, numbered among the blocks that are told at all."""
        index: int = piece["index"]
        if piece["type"] != "open":
            number = self._numbers[index]
            return [] if number is None else self._encode({**piece, "index": number}, self._ctx)
        events = self._encode({**piece, "index": self._shown}, self._ctx)
        self._numbers[index] = self._shown if events else None
        self._shown += bool(events)
        return events

    # citations after the end of what they are of

    def _cites(self, piece: Piece) -> list[Any]:
        """Before the finish, the events of a further block: a text with nothing in it, for the citations that came when
        their own had been closed. None where there are none, or none can be told."""
        if piece["type"] == "delta" and "citation" in piece:
            self._cited[piece["index"]] = self._cited.get(piece["index"], 0) + 1
        if piece["type"] != "finish":
            return []
        blocks = piece["response"].get("blocks") or ()
        late = [
            one for i, block in enumerate(blocks) for one in (block.get("citations") or ())[self._cited.get(i, 0) :]
        ]
        if not late:
            return []
        head = {"type": "text"}
        ordinal = sum(block["type"] == "text" for block in blocks)
        own = {"index": len(blocks), "ordinal": ordinal, "block": head}
        pieces: list[Piece] = [
            {"type": "open", **own},
            *({"type": "delta", **own, "citation": one, "citation_index": i} for i, one in enumerate(late)),
            {"type": "close", **own, "block": {**head, "text": "", "citations": late}},
        ]
        told = [self._told(each) if self._dense else self._encode(each, self._ctx) for each in map(self._alone, pieces)]
        if any(told[1:-1]):
            return [event for events in told for event in events]
        self._shown -= bool(self._dense and told[0])
        return []

    # results with their calls

    def _answered(self, pieces: list[Piece]) -> Iterator[Piece]:
        """Holds back the end of each call that the provider answers itself, until its result is known (or none can
        come any more): then it comes with the `result`."""
        for piece in pieces:
            kind, block = piece["type"], piece.get("block", {})
            if kind == "close" and block.get("type") == "server_tool_call":
                if (unnamed := self._unanswered.pop(block.get("call_id"), None)) is not None:
                    yield unnamed
                self._unanswered[block.get("call_id")] = piece
                continue
            if kind == "close" and block.get("type") == "server_tool_result":
                call = self._unanswered.pop(block.get("call_id"), None)
                if call is not None:
                    yield {**call, "result": block}
            elif kind in ("finish", "error"):
                yield from self._unanswered.values()
                self._unanswered = {}
            yield piece

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
            return [*({**done, "reason": piece.get("reason", "error")} for done in self._leave()), piece]
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
            if self._item is not None and self._item.identity != piece["block"].get("id"):
                out += self._leave()
            if self._item is None:
                self._item = _Item(self._items, piece["block"].get("id"))
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

    __slots__ = ("blocks", "identity", "number", "running")

    def __init__(self, number: int, identity: str | None) -> None:
        self.number = number
        self.identity = identity
        self.running = 0
        self.blocks: list[dict[str, Any]] = []
