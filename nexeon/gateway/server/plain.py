"""Requests in HTTP/1.1 that are plain, answered without Hypercorn's layers: its parser and the events between it and an
app cost more than what else is done for a short answer.

Plain is a request whose head came in one piece, is without any doubt, and has nothing in it that changes how the
connection goes on. All else (chunked bodies, `expect`, upgrades, HTTP/2, what is malformed) is Hypercorn's to judge.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from nexeon.gateway.chunks import chunk

if TYPE_CHECKING:
    from nexeon.gateway.server.connection import Connection

Scope = dict[str, Any]
Message = MutableMapping[str, Any]

_FIELDS: Final = rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)+"
_HEAD: Final = re.compile(rb"(GET|POST|DELETE) (/[!-~]*) HTTP/1\.1\r\n(" + _FIELDS + rb")\r\n")
_ANSWER_FIELDS: Final = re.compile(_FIELDS)
_MANNERS: Final = frozenset({b"connection", b"expect", b"transfer-encoding", b"upgrade"})
_LONGEST_HEAD: Final = 64 * 1024
_LONGEST_LENGTH: Final = 15
"""Digits."""

_HELD: Final = 64 * 1024
"""Bytes that may wait: of a body for the app, of a request for the one before it."""

UNSENT: Final = 16 * 1024
"""Bytes of an answer that may wait for the client."""

WRITER: Final = "nexeon.writer"
"""The extension of a scope: who writes the answer's body at once, a `nexeon.gateway.stream.Writer`."""

_REQUEST: Final = "http.request"
_LEFT: Final[Message] = {"type": "http.disconnect"}


def read_head(data: bytes) -> tuple[Scope, int, int] | None:
    """What ASGI says of the request, where its body begins in `data`, and how long that is; None where it is not
    plain."""
    match = _HEAD.match(data)
    if match is None or match.end() > _LONGEST_HEAD:
        return None
    method, target, fields = match.groups()
    headers: list[tuple[bytes, bytes]] = []
    length = hosts = 0
    sized = False
    for line in fields.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        value = value.strip(b" \t")
        headers.append((name, value))
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            if sized or not value.isdigit() or len(value) > _LONGEST_LENGTH:
                return None
            sized = True
            length = int(value)
        elif name in _MANNERS and (name, value.lower()) != (b"connection", b"keep-alive"):
            return None
    if hosts != 1:
        return None
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "method": method.decode(),
        "path": unquote(path.decode()) if b"%" in path else path.decode(),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "extensions": {},
    }
    return scope, match.end(), length


class Front(asyncio.Protocol):
    """Sees first what a connection's client sends: answers what is plain, and gives Hypercorn the rest."""

    def __init__(self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        """`serve` is Hypercorn's side of the connection: it says `attach`, reads what is not plain, says `detach`."""
        reader = asyncio.StreamReader()
        self._behind = asyncio.StreamReaderProtocol(reader, serve)
        self._connection: Connection | None = None
        self._transport: Any = None
        self._call: PlainCall | None = None
        self._next: list[bytes] = []
        self._waiting = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.set_write_buffer_limits(high=UNSENT)
        self._behind.connection_made(transport)

    def attach(self, connection: Connection) -> None:
        """Requests may be answered from here on."""
        self._connection = connection
        self._go_on()

    def detach(self) -> None:
        """The connection is over, and what it held is let go."""
        self._connection = self._call = None
        self._next.clear()

    def data_received(self, data: bytes) -> None:
        connection, call = self._connection, self._call
        if call is not None:
            self._keep(call.more(data))
        elif connection is None:
            self._keep(data)
        elif connection.busy or not self._begin(connection, data):
            connection.expect(len(data))
            self._behind.data_received(data)

    def eof_received(self) -> bool | None:
        if self._call is not None:
            self._call.left()
        return self._behind.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        if self._call is not None:
            self._call.left()
        self._behind.connection_lost(error)

    def pause_writing(self) -> None:
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        self._behind.resume_writing()

    def pause(self) -> None:
        """Reads no more, until `resume`."""
        self._transport.pause_reading()

    def resume(self) -> None:
        self._transport.resume_reading()

    def answered(self) -> None:
        """The connection is free for the next request, which may have come already."""
        self._call = None
        self._go_on()

    def _go_on(self) -> None:
        if self._next:
            data = b"".join(self._next)
            self._next = []
            if self._waiting > _HELD:
                self.resume()
            self._waiting = 0
            self.data_received(data)

    def _begin(self, connection: Connection, data: bytes) -> bool:
        read = read_head(data)
        if read is None:
            return False
        scope, begin, length = read
        self._call = call = PlainCall(self, connection, scope | connection.ends(), length)
        if begin < len(data):
            self._keep(call.more(data[begin:]))
        connection.answer(call.run)
        return True

    def _keep(self, data: bytes) -> None:
        """Of a request that came before its turn."""
        if data:
            before = self._waiting
            self._next.append(data)
            self._waiting += len(data)
            if before <= _HELD < self._waiting:
                self.pause()


class PlainCall:
    """One request, as ASGI has it."""

    __slots__ = (
        "_bodiless", "_chunked", "_connection", "_ended", "_front", "_given", "_keep_alive", "_left", "_length",
        "_parts", "_paused", "_scope", "_sent", "_start", "_wake", "missing",
    )  # fmt: skip

    def __init__(self, front: Front, connection: Connection, scope: Scope, length: int) -> None:
        self._front = front
        self._connection = connection
        self._scope = scope
        self.missing = length
        """Bytes of the body that are still to come."""
        self._parts: list[bytes] = []
        self._given = self._left = self._paused = False
        self._wake: asyncio.Future[None] | None = None
        self._start: bytes | None = None
        self._ended = self._chunked = self._bodiless = False
        self._keep_alive = True
        self._length = self._sent = 0

    # What comes

    def more(self, data: bytes) -> bytes:
        """Takes its part of what has come; gives back what is another request's."""
        mine = data[: self.missing]
        if mine:
            self.missing -= len(mine)
            self._parts.append(mine)
            if self.missing and not self._paused and sum(map(len, self._parts)) > _HELD:
                self._paused = True
                self._front.pause()
            self._awake()
        return data[len(mine) :]

    def left(self) -> None:
        """The client is gone, or does not want to say any more."""
        self._left = True
        self._awake()

    async def receive(self) -> Message:
        while not (self._parts or (not self.missing and not self._given)):
            if self._left or self._ended:
                return _LEFT
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        body = b"".join(self._parts)
        self._parts.clear()
        self._given = not self.missing
        if self._paused:
            self._paused = False
            self._front.resume()
        return {"type": _REQUEST, "body": body, "more_body": not self._given}

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # What goes

    async def run(self) -> None:
        connection = self._connection
        scope = {**self._scope, "extensions": {WRITER: self}}  # kept here, it would be a cycle
        try:
            await connection.call(scope, self.receive, self.send)
        finally:
            if self._start is None and not self._left:
                self._begin(500, [(b"content-length", b"0"), (b"connection", b"close")])
                self._body(b"", last=True)
            if self._ended and self._keep_alive and not self.missing and not self._left and connection.goes_on():
                self._front.answered()
            else:
                await connection.end()

    async def send(self, message: Message) -> None:
        """Raises RuntimeError for what cannot be said in this state, ValueError for a header that cannot be said."""
        kind = message["type"]
        if kind == "http.response.body" and self._start is not None and not self._ended:
            self._body(message.get("body", b""), last=not message.get("more_body", False))
            del message
            if self._connection.writer.transport.get_write_buffer_size() > UNSENT:
                await self._connection.drain()
        elif kind == "http.response.start" and self._start is None:
            self._begin(message["status"], message.get("headers", ()))
        else:
            raise RuntimeError(f"`{kind}` out of its order")

    def has_room(self) -> bool:
        """As a `Writer` has it."""
        if self._start != b"" or self._ended or self._left or not self._chunked:
            return False
        return self._connection.transport.get_write_buffer_size() <= UNSENT

    def write(self, data: bytes) -> None:
        """As a `Writer` has it; `data` is not empty."""
        self._connection.write(chunk(data))

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The head waits for what comes first of the body."""
        length: int | None = None
        lines: list[bytes] = []
        for name, value in (*headers, *self._connection.own_headers()):
            known = name.lower()
            if known == b"content-length":
                length = int(value)
            elif known == b"connection" and value.lower() == b"close":
                self._keep_alive = False
            lines.append(b"%b: %b\r\n" % (name, value))
        bodiless = status < 200 or status in (204, 304)
        chunked = length is None and not bodiless
        if chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        fields = b"".join(lines)
        if fields.count(b"\n") != len(lines) or _ANSWER_FIELDS.fullmatch(fields) is None:
            raise ValueError("a header of an answer holds what no header may hold")
        self._bodiless, self._chunked, self._length = bodiless, chunked, length or 0
        self._start = b"HTTP/1.1 %d \r\n%b\r\n" % (status, fields)

    def _body(self, data: bytes, *, last: bool) -> None:
        out, self._start = self._start or b"", b""
        if data and not self._bodiless:
            self._sent += len(data)
            if self._chunked:
                out = b"".join((out, b"%x\r\n" % len(data), data, b"\r\n"))  # one copy, where it may be large
            elif self._sent <= self._length:
                out += data
            else:
                raise RuntimeError("an answer is longer than it said")
        if last:
            if self._chunked:
                out += b"0\r\n\r\n"
            self._ended = self._chunked or self._bodiless or self._sent == self._length
        if out and last:
            self._connection.write(out)
        elif out:
            self._connection.hold(out)
