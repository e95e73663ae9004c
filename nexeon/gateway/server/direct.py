"""Generation requests straight from ASGI: a framework's request and response objects, its contexts and its routing cost
a quarter of what the whole request does."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl

from werkzeug.exceptions import RequestEntityTooLarge

from nexeon.errors import RequestError
from nexeon.gateway.deadline import Deadline, Late
from nexeon.gateway.server.plain import WRITER
from nexeon.gateway.server.stall import stalled
from nexeon.gateway.way import Incoming, Reply

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Answer = Callable[[Incoming], Awaitable[Reply]]

_SOON: Final = 0.05
"""Seconds after which it matters whether the client is still there: to watch costs more than a short answer."""

_PACE: Final = 16 * 1024
"""Bytes of a body that have to come in a second, after the first seconds."""

_DRAIN_SECONDS: Final = 1.0
_DRAIN_BYTES: Final = 16 * 1024 * 1024

_END: Final[Message] = {"type": "http.response.body", "body": b"", "more_body": False}


class Left(Exception):
    """The client left before its request was whole."""


def incoming_from(scope: Any, body: Callable[[], Awaitable[bytes]]) -> Incoming:
    """The request of an ASGI scope."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query_string = scope["query_string"].decode("latin-1")
    query = dict(parse_qsl(query_string, keep_blank_values=True)) if query_string else {}
    client = scope.get("client")
    return Incoming(
        "req_" + secrets.token_hex(12),
        scope["method"],
        scope["path"],
        headers,
        query,
        body,
        client[0] if client else None,
        scope["raw_path"].decode("latin-1"),
        query_string,
    )


def too_slow() -> RequestError:
    return RequestError(408, "timeout", "the body of the request did not come in time")


class Call:
    """One request, from its scope to its last byte. It runs in the server's own task; once it takes longer, another
    watches for the client to leave, and cancels it."""

    __slots__ = (
        "_answer", "_declared", "_left", "_limit", "_receive", "_scope", "_send", "_task", "_timer", "_wait",
        "_watcher", "_whole",
    )  # fmt: skip

    def __init__(self, answer: Answer, receive: Receive, send: Send, *, limit: int, wait: float) -> None:
        """`limit` in bytes of the body, `wait` in seconds between two pieces of it."""
        self._answer = answer
        self._receive = receive
        self._send = send
        self._limit = limit
        self._wait = wait
        self._scope: Any = {}
        self._declared = 0
        self._whole = False
        self._left = False
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def run(self, scope: Any) -> None:
        self._scope = scope
        self._task = asyncio.current_task()
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                self._declared = int(value)
        try:
            reply = await self._answer(incoming_from(scope, self._body))
            if not self._whole:
                await self._drain()
            await self._reply(reply)
        except Left:
            return
        except asyncio.CancelledError:
            if not self._left:
                raise
            assert self._task is not None
            self._task.uncancel()
        finally:
            self._watch_no_more()
            if self._watcher is not None:
                self._watcher.cancel()

    async def _body(self) -> bytes:
        """Raises RequestEntityTooLarge, RequestError 408, and Left where the rest will not come."""
        if self._declared > self._limit:
            raise RequestEntityTooLarge
        try:
            with Deadline(self._wait) as deadline:
                message = await self._receive()
                if message["type"] != "http.request":
                    raise Left
                data: bytes = message.get("body", b"")
                if message.get("more_body", False):
                    data = await self._more(data, deadline)
        except Late:
            raise too_slow() from None
        self._whole = True
        if len(data) > self._limit:
            raise RequestEntityTooLarge
        self._timer = asyncio.get_running_loop().call_later(_SOON, self._watch)
        return data

    async def _more(self, data: bytes, deadline: Deadline) -> bytes:
        parts = [data]
        size = len(data)
        last = deadline.when
        while size <= self._limit:
            message = await self._receive()
            if message["type"] != "http.request":
                raise Left
            part = message.get("body", b"")
            if part:
                parts.append(part)
                size += len(part)
                deadline.push()
                deadline.when = min(deadline.when, last + size / _PACE)
            if not message.get("more_body", False):
                break
        else:
            raise RequestEntityTooLarge
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _drain(self) -> None:
        """Reads what else comes of a request that is refused early: a connection that is closed on a client that still
        writes takes the answer with it."""
        size = 0
        try:
            with Deadline(_DRAIN_SECONDS):
                while size < _DRAIN_BYTES:
                    message = await self._receive()
                    size += len(message.get("body", b""))
                    if message["type"] == "http.disconnect":
                        raise Left
                    if not message.get("more_body", False):
                        self._whole = True
                        return
        except Late:
            pass
        self._watch()

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._until_left())

    def _watch_no_more(self) -> None:
        """Before the last that is said: who asks after it hears that the client left, though it may still read."""
        if self._timer is not None:
            self._timer.cancel()

    async def _until_left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        assert self._task is not None
        self._task.cancel()

    async def _reply(self, reply: Reply) -> None:
        body = reply.body
        whole = isinstance(body, bytes)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
        if whole:
            headers.append((b"content-length", b"%d" % len(body)))  # type: ignore[arg-type]
        start = {"type": "http.response.start", "status": reply.status, "headers": headers}
        if whole:
            self._watch_no_more()
            await self._send(start)
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
            return
        assert not isinstance(body, bytes)
        try:
            await self._send(start)
            writer = self._scope.get("extensions", {}).get(WRITER)
            if writer is not None and reply.write_to is not None:
                reply.write_to(writer)
            await self._stream(body)
        except BaseException:
            if reply.blame is not None and (why := stalled(self._scope)) is not None:
                reply.blame(why)
            raise
        finally:
            try:
                await asyncio.shield(body.aclose())  # type: ignore[attr-defined]
            finally:
                if reply.close is not None:
                    reply.close()

    async def _stream(self, chunks: AsyncIterator[bytes]) -> None:
        send = self._send
        async for chunk in chunks:
            sending = send({"type": "http.response.body", "body": chunk, "more_body": True})
            del chunk  # it is not to be kept beside what was written of it
            await sending
        self._watch_no_more()
        await send(_END)
