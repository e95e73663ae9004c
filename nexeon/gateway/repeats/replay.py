"""A stream's answer, kept so that it can be given again: its bytes while they are few, else what they fold to."""

from __future__ import annotations

import codecs
import json
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Final

from nexeon.errors import MappingFailure
from nexeon.gateway.relay import Framing
from nexeon.mapping import Format, StreamDecoder, StreamEncoder
from nexeon.mapping.identifiers import provider_id
from nexeon.wire.json import JSONError, dumps, loads
from nexeon.wire.sse import SSEError, SSEParser

Context = dict[str, Any]

_PIECE: Final = 1 << 16
_BETWEEN: Final = "[,] \r\n"


class Tape:
    """Takes what a client is sent. `packed` is compressed by `zlib`: the bytes, or the folded answer where they are
    more than `most` when compressed, which `folded` tells; None where they cannot be understood."""

    def __init__(self, format: Format, context: Callable[[], Context], *, array: bool, most: int) -> None:
        """`context` makes that of the client's side, should it be needed."""
        self._format = format
        self._context = context
        self._array = array
        self._most = most
        self._zip = zlib.compressobj(1)
        self._packed = bytearray()
        self._folding: _Folding | None = None

    def add(self, chunk: bytes) -> None:
        if self._folding is not None:
            self._folding.add(chunk)
            return
        self._packed += self._zip.compress(chunk)
        if len(self._packed) > self._most:
            self._fold()

    def packed(self) -> bytes | None:
        """Once the stream is over."""
        if self._folding is None:
            self._packed += self._zip.flush()
            if len(self._packed) <= self._most:
                return bytes(self._packed)
            self._fold(flushed=True)
        assert self._folding is not None
        answer = self._folding.answer()
        return zlib.compress(dumps(answer), 1) if answer is not None else None

    @property
    def folded(self) -> bool:
        return self._folding is not None

    def _fold(self, *, flushed: bool = False) -> None:
        """From now on only what the stream amounts to is held."""
        self._folding = _Folding(self._format, self._context(), array=self._array)
        unzip, packed = zlib.decompressobj(), bytes(self._packed) + (b"" if flushed else self._zip.flush())
        self._packed.clear()
        while packed:
            self._folding.add(unzip.decompress(packed, _PIECE))
            packed = unzip.unconsumed_tail
        self._folding.add(unzip.flush())


class _Folding:
    """A client's stream, read as a client reads it."""

    def __init__(self, format: Format, context: Context, *, array: bool) -> None:
        self._decoder = StreamDecoder(format, context)
        self._events: Callable[[bytes], Iterable[Any]] = _array_events() if array else _sse_events()

    def add(self, chunk: bytes) -> None:
        for event in self._events(chunk):
            try:
                self._decoder.feed(event)
            except MappingFailure:  # what the mapping does not know was passed on all the same
                continue

    def answer(self) -> dict[str, Any] | None:
        self._decoder.end()
        return self._decoder.response if self._decoder.finished else None


def _sse_events() -> Callable[[bytes], Iterable[Any]]:
    parser = SSEParser()

    def events(chunk: bytes) -> Iterable[Any]:
        try:
            found = parser.feed(chunk)
        except SSEError:
            return
        for event in found:
            try:
                yield loads(event.data)
            except JSONError:
                continue

    return events


def _array_events() -> Callable[[bytes], Iterable[Any]]:
    text, rest, reader = codecs.getincrementaldecoder("utf-8")(), "", json.JSONDecoder()

    def events(chunk: bytes) -> Iterable[Any]:
        nonlocal rest
        rest += text.decode(chunk)
        while rest := rest.lstrip(_BETWEEN):
            try:
                event, end = reader.raw_decode(rest)
            except ValueError:
                return
            rest = rest[end:]
            yield event

    return events


class _AsItIs:
    """Stands in for a format whose events are pieces."""

    @staticmethod
    def decode_event(pieces: list[dict[str, Any]], ctx: Context) -> list[dict[str, Any]]:
        return pieces


def unfolded(answer: dict[str, Any], format: Format, context: Context, *, array: bool) -> bytes:
    """A stream that folds to that answer. Raises MappingFailure."""
    context = {
        **context,
        "model": answer.get("model") or context["model"],
        "now": answer.get("created", context["now"]),
        "token": _token(answer.get("id")) or context["token"],
    }
    known = ("id", "model", "created", "extra", "usage")
    pieces: list[dict[str, Any]] = [
        {"type": "start", **{name: answer[name] for name in known if name in answer}},
        *({"type": "block", "block": block} for block in answer.get("blocks", ())),
        {"type": "finish", **answer["finish"]},
        {"type": "end"},
    ]
    decoder = StreamDecoder(_AsItIs(), context)  # type: ignore[arg-type]
    framing = Framing(format, array=array)
    events = StreamEncoder(format, context).encode(decoder.feed(pieces))
    return b"".join(framing.event(event) for event in events) + framing.end(format.wire.stream.done)


def _token(identifier: Any) -> str:
    """What the gateway makes that very identifier of; "" where it is not the gateway's."""
    if not isinstance(identifier, str) or (own := provider_id(identifier, "")) == identifier:
        return ""
    return f"nex-{own}"
