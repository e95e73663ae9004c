"""Chunks of an HTTP/1.1 answer that arrive together, given to the client library as one: it takes longer over each than
a server's event is long. What it makes of an answer does not change; it stays the judge of all that is odd."""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache, partial
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")
_LONGEST_SIZE: Final = 8

_USUAL_REST: Final = re.compile(rb"0{1,8}\r\n(\r\n?)?|[0-9A-Fa-f]{1,8}\r?")
"""The last chunk, without trailers, or the beginning of a size."""

_SMALL: Final = 2048
_HEADS: Final = [b"%x\r\n" % length for length in range(_SMALL)]
"""How a chunk of so many bytes begins."""

_UNSEEN: Final = -1
"""Nothing of the answer has come."""

_AS_IT_IS: Final = -2
"""What comes of the answer from here on is given as it comes."""


class Chunks:
    """Where the answer to one request stands: `join` is to be given all of it, read by read."""

    __slots__ = ("_digits", "_missing")

    def __init__(self) -> None:
        self._digits = 3
        """That the size of the last chunk had which came by itself."""
        self._missing = _UNSEEN  # or bytes of a chunk that are still to come

    def join(self, data: bytes) -> bytes:
        """The same answer, with the chunks that are whole in `data` as one."""
        missing = self._missing
        if missing == _AS_IT_IS or not data:
            return data
        if missing == _UNSEEN:
            end = data.find(b"\r\n\r\n")
            if end < 0 or not _is_chunked(data[: end + 2].lower()):
                self._missing = _AS_IT_IS
                return data
            missing = end + 4
        elif missing and not _closes(data, missing):
            self._missing = _AS_IT_IS
            return data
        if missing >= len(data):
            self._missing = missing - len(data)
            return data
        return self._joined(data, missing)

    def body(self, data: bytes) -> bytes | None:
        """What `data` holds, where it is whole chunks and nothing else. The answer stands where it stood before it."""
        if self._missing != 0:
            return None
        digits = self._digits
        length = len(data) - digits - 4
        if 0 < length < _SMALL:  # mostly it is as long as that
            head = _HEADS[length]
            if len(head) == digits + 2 and data.startswith(head) and data.endswith(b"\r\n"):
                return data[digits + 2 : -2]
        line = data.find(b"\r\n", 0, _LONGEST_SIZE + 2)
        length = _length(data[:line]) if line > 0 else 0
        if length and line + length + 4 == len(data):
            self._digits = line
            return data[line + 2 : -2] if data.endswith(b"\r\n") else None
        bodies, end, missing = _whole(data, 0)
        return b"".join(bodies) if end == len(data) and missing == 0 else None

    def _joined(self, data: bytes, start: int) -> bytes:
        bodies, end, self._missing = _whole(data, start)
        # what the library says of an odd answer depends on how it is read
        if len(bodies) < 2 or (self._missing == _AS_IT_IS and not _USUAL_REST.fullmatch(data, end)):
            return data
        size = b"%x\r\n" % sum(map(len, bodies))
        return b"".join([data[:start], size, *bodies, b"\r\n", data[end:]])


def chunk(body: bytes) -> bytes:
    """Framed; `body` is not empty, which would end the message."""
    length = len(body)
    head = _HEADS[length] if length < _SMALL else b"%x\r\n" % length
    return b"".join((head, body, b"\r\n"))  # formatting would copy it twice


def _whole(data: bytes, start: int) -> tuple[list[bytes], int, int]:
    """What the chunks hold that are whole, where they end, and how the answer stands then."""
    size = len(data)
    bodies: list[bytes] = []
    position = start
    digits = 1
    while position < size:
        line = position + digits
        if data[line : line + 2] != b"\r\n":
            line = data.find(b"\r\n", position, position + _LONGEST_SIZE + 2)
            digits = line - position
        length = _length(data[position:line]) if digits > 0 else 0
        if not length:  # the last chunk, half of a size, or what is odd
            return bodies, position, _AS_IT_IS
        end = line + length + 4
        # sizes have mostly as many digits as the one before
        while following := _following(data[end - 2 : end + digits + 2]):
            bodies.append(data[line + 2 : end - 2])
            position, line = end, end + digits
            end = line + following + 4
        if end > size:
            return bodies, position, end - size
        if data[end - 2 : end] != b"\r\n":
            return bodies, position, _AS_IT_IS
        bodies.append(data[line + 2 : end - 2])
        position = end
    return bodies, position, 0


def _closes(data: bytes, missing: int) -> bool:
    """Whether a chunk of which so many bytes are still to come ends as one does, as far as that is in `data`."""
    end = data[max(missing - 2, 0) : missing]
    return b"\r\n"[-missing:].startswith(end)


def _is_chunked(head: bytes) -> bool:
    return head.startswith(b"http/1.1 200 ") and b"\r\ntransfer-encoding: chunked\r\n" in head


@lru_cache(maxsize=4096)
def _length(digits: bytes) -> int:
    """0 where it is no size."""
    return int(digits, 16) if _SIZE.fullmatch(digits) else 0


@lru_cache(maxsize=4096)
def _following(line: bytes) -> int:
    """The size of a chunk, of what stands between two; 0 where it is not just that."""
    return _length(line[2:-2]) if line.startswith(b"\r\n") and line.endswith(b"\r\n") else 0


class Handler(ResponseHandler):
    """A connection of the client library whose answers' chunks are joined. `chunks` are those of the last request's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.chunks = Chunks()

    def set_response_params(self, **params: Any) -> None:
        """Comes with every request."""
        self.chunks = Chunks()
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        super().data_received(self.chunks.join(data))


class Connector(aiohttp.TCPConnector):
    """Connections over which chunks that arrive together are read together."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        make: Any = partial(Handler, self._loop)
        self._factory = make
