"""Server-sent events: bytes ↔ events, split anywhere."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_BOM: Final = b"\xef\xbb\xbf"
_NAMED: Final = re.compile(rb"event: ([^\n]*)\ndata: ([^\n]*)")


class Event(NamedTuple):
    """One event: the value of its last `event:` line, and its data lines joined by line feeds."""

    event: str | None
    data: bytes


class SSEError(ValueError):
    """One event is larger than the parser's limit."""


class SSEParser:
    """An incremental parser: `feed` bytes as they come, `end` once.

    Lines end in CR, LF or CRLF; comments, `id:` and `retry:` are skipped; an event without data is none. Unlike a
    browser, `end` gives a last event that no blank line closed. `limit` bounds one event, in bytes.
    """

    __slots__ = ("_after_cr", "_limit", "_parts", "_size", "_start")

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self._parts: list[bytes] = []  # what has come of an event that is not whole yet, line ends as LF
        self._size = 0
        self._limit = limit
        self._after_cr = False
        self._start = True

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. Raises SSEError where one grows beyond the limit."""
        whole = 0 < data.find(b"\n\n") == len(data) - 2
        if whole and not (self._start or self._after_cr or self._parts) and b"\r" not in data:
            event = _parse(data[:-2])
            return [] if event is None else [event]
        if self._start:
            data = self._skip_bom(data)
        if self._after_cr and data:
            self._after_cr = False
            if data.startswith(b"\n"):
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not data:
            return []
        parts = self._parts
        closes = b"\n\n" in data or (data[0] == 10 and bool(parts) and parts[-1].endswith(b"\n"))
        if parts:
            parts.append(data)
            if not closes:
                self._grow(len(data))
                return []
            data = b"".join(parts)
            self._parts = parts = []
            self._size = 0
        elif not closes:
            parts.append(data)
            self._grow(len(data))
            return []
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        if rest:
            parts.append(rest)
            self._grow(len(rest))
        return [event for block in blocks if (event := _parse(block)) is not None]

    @property
    def between(self) -> bool:
        """Whether the next byte begins an event."""
        return not (self._parts or self._after_cr or self._start)

    def take(self) -> bytes | None:
        """Gives back what has come of an event that is not whole yet; None where that is not the very bytes."""
        if self._after_cr or self._start:
            return b"" if self._start and not self._parts and not self._after_cr else None
        rest = b"".join(self._parts)
        if rest:
            self._parts = []
            self._size = 0
        return rest

    def end(self) -> list[Event]:
        """The event that was under way when the stream ended, if any."""
        data = b"".join(self._parts)
        self._parts = []
        self._size = 0
        event = _parse(data) if data else None
        return [] if event is None else [event]

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            raise SSEError(f"an event is larger than {self._limit} bytes")

    def _skip_bom(self, data: bytes) -> bytes:
        data = b"".join(self._parts) + data
        self._parts = []
        self._size = 0
        if len(data) < len(_BOM) and _BOM.startswith(data):
            if data:
                self._parts.append(data)
            return b""
        self._start = False
        return data.removeprefix(_BOM)


def first_event(data: bytes, start: int) -> tuple[Event | None, int]:
    """What begins at `start`, where an event does, and where it ends; 0 where its end is still to come. `data` has no
    carriage returns. None where it is no event."""
    line = start
    if data.startswith(b"event: ", start):
        line = data.find(b"\n", start) + 1
        if not line:
            return None, 0
    if data.startswith(b"data: ", line):
        end = data.find(b"\n", line)
        if end >= 0 and data.startswith(b"\n", end + 1):
            name = data[start + 7 : line - 1].decode("utf-8", "replace") or None if line > start else None
            return Event(name, data[line + 6 : end]), end + 2
    end = data.find(b"\n\n", start)
    return (_parse(data[start:end]), end + 2) if end >= 0 else (None, 0)


def _parse(block: bytes) -> Event | None:
    if block.startswith(b"data: ") and b"\n" not in block:
        return Event(None, block[6:])
    usual = _NAMED.fullmatch(block)
    if usual is not None:
        return Event(usual[1].decode("utf-8", "replace") or None, usual[2])
    name: str | None = None
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value[1:] if value.startswith(b" ") else value)
        elif field == b"event":
            name = (value[1:] if value.startswith(b" ") else value).decode("utf-8", "replace")
    if not data:
        return None
    return Event(name or None, data[0] if len(data) == 1 else b"\n".join(data))


def encode_event(data: bytes, event: str | None = None) -> bytes:
    """An event's bytes; line feeds in `data` become several data lines."""
    if b"\n" in data or b"\r" in data:
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        data = b"\ndata: ".join(lines)
    if event is None:
        return b"data: " + data + b"\n\n"
    return b"".join((b"event: ", event.encode(), b"\ndata: ", data, b"\n\n"))


def encode_comment(text: str) -> bytes:
    """A comment's bytes: what keeps a connection alive and means nothing."""
    return b": " + text.encode() + b"\n\n"
