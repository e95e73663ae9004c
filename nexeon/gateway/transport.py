"""How requests reach a provider: aiohttp, spoken to directly where nothing needs httpx in between."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from yarl import URL

from nexeon.config import Provider
from nexeon.gateway.chunks import Connector, Handler, chunk

TransportFactory = Callable[[Provider], httpx.AsyncBaseTransport]

Listener = Callable[[bytes], int]
"""Is given what comes of an answer while somebody waits for it, and says how many bytes of it are done with."""

_KEEP_ALIVE: Final = 60.0
_PIECE: Final = 256 * 1024

_AHEAD: Final = 16 * 1024
"""Bytes of an answer that are read before somebody wants them, twice that at most; the provider is held back then."""

_SIP: Final = 64 * 1024
"""Bytes of a stream that are read at once."""

_ARRIVED: Final = 128 * 1024
"""Bytes of a stream that the system may take before they are read. It would take megabytes where they come fast."""

TRANSPORT_ERRORS: Final = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, aiohttp.ClientError, OSError)
"""What sending and reading may raise, whichever transport is below."""


class Answer(Protocol):
    """A provider's answer, its body still unread. Header names may be asked for in lower case."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self) -> bytes:
        """What has come of the body since the last time, decompressed, once there is something; b"" at its end. Who is
        cancelled may read on."""
        ...

    def rest(self) -> bytes:
        """What has come already, whatever became of the connection since."""
        ...

    def is_over(self) -> bool:
        """Whether the body has been read to its end."""
        ...

    def drop(self) -> None:
        """Closes the connection at once; whoever reads gets one of TRANSPORT_ERRORS."""
        ...

    def sip(self) -> None:
        """Takes little at a time from here on: what has come is held for as long as nobody reads it."""
        ...

    def listen(self, listener: Listener | None) -> None:
        """Lets what comes while `read` waits be taken as it comes, where the transport can tell. Whoever waits gets
        what is left of it, and goes on waiting where that is nothing."""
        ...

    async def aclose(self) -> None:
        """Lets go of the connection; it can be used again only where the body was read to its end."""
        ...


class Line(Protocol):
    """The connections to one provider. Both methods may raise TRANSPORT_ERRORS."""

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer: ...

    async def aclose(self) -> None: ...


def line(provider: Provider, transport: httpx.AsyncBaseTransport | None = None) -> Line:
    """Through `transport` where one is given."""
    if transport is None and provider.proxy is None:
        return DirectLine(provider)
    return HTTPXLine(provider, aiohttp_transport(provider) if transport is None else transport)


class DirectLine:
    """aiohttp itself: httpx's request and response objects cost a third of what sending and reading does."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._session: aiohttp.ClientSession | None = None
        self._timeout = aiohttp.ClientTimeout(sock_connect=provider.timeouts.connect)
        self._url = lru_cache(maxsize=1024)(lambda path: URL(str(httpx.URL(provider.base_url + path))))
        self._cup = memoryview(bytearray(_SIP))

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> DirectAnswer:
        session = self._session
        if session is None:
            session = self._session = _session(self._provider)
        data: Any = body
        if len(body) > _PIECE:  # written in one go it would hold up every other request
            data = _pieces(body)
            headers = {**headers, "content-length": str(len(body))}
        return DirectAnswer(
            await session.post(
                self._url(path), data=data, headers=headers, allow_redirects=False, timeout=self._timeout
            ),
            self._cup,
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class DirectAnswer:
    """Implements `Answer`."""

    __slots__ = ("_content", "_cup", "_listener", "_response", "_sips", "headers", "status_code")

    def __init__(self, response: aiohttp.ClientResponse, cup: memoryview) -> None:
        """What is read little by little goes through `cup`, which all answers of a loop may share."""
        self._response = response
        self._cup = cup
        self._content = response.content
        self._sips: _Sips | None = None
        self._listener: Listener | None = None
        self.status_code = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        content = self._content
        error = content.exception()
        if error is None:
            if self._listener is not None and self._sips is not None:
                if (data := content.read_nowait()) or content.at_eof():
                    return data
                self._sips.listener = self._listener
            return await content.readany()
        if rest := self.rest():
            return rest
        raise error

    def rest(self) -> bytes:
        content = self._content
        error = content.exception()
        if error is None:
            return content.read_nowait()
        content.set_exception(None)  # type: ignore[arg-type]  # it stands before what came ahead of it
        rest = content.read_nowait()
        content.set_exception(error)
        return rest

    def is_over(self) -> bool:
        return self._content.at_eof()

    def drop(self) -> None:
        self._response.release()

    def sip(self) -> None:
        connection = self._response.connection
        transport = connection.transport if connection is not None else None
        if connection is None or transport is None:
            return
        before: Any = transport.get_protocol()
        if type(before) is _Sips:
            self._sips = before
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ARRIVED)
        if hasattr(transport, "set_read_buffer_limits"):  # TLS has a buffer of its own
            transport.set_read_buffer_limits(high=_SIP)
        protocol: Any = connection.protocol
        self._sips = _Sips(protocol, self._cup)
        transport.set_protocol(self._sips)

    def listen(self, listener: Listener | None) -> None:
        if self.headers.get("content-encoding", "identity") == "identity":
            self._listener = listener
        if self._sips is not None and listener is None:
            self._sips.listener = None

    async def aclose(self) -> None:
        self._response.release()


class _Sips(asyncio.BufferedProtocol):
    """A connection whose reads are small. A read brings all that fits, and what comes of one is held together.

    `listener` is given whole chunks, until one is not wholly taken: what is left of that, and all that comes after it,
    goes the way of whoever waits.
    """

    def __init__(self, behind: Handler, cup: memoryview) -> None:
        self._behind = behind
        self._cup = cup
        self.listener: Listener | None = None
        self.connection_lost = behind.connection_lost  # type: ignore[method-assign]
        self.eof_received = behind.eof_received  # type: ignore[method-assign]
        self.pause_writing = behind.pause_writing  # type: ignore[method-assign]
        self.resume_writing = behind.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._cup

    def buffer_updated(self, nbytes: int) -> None:
        data = self._cup[:nbytes].tobytes()
        listener = self.listener
        if listener is not None:
            body = self._behind.chunks.body(data)
            if body is not None:
                taken = listener(body)
                if taken == len(body):
                    return
                if taken:
                    data = chunk(body[taken:])
            self.listener = None
        self._behind.data_received(data)


class HTTPXLine:
    """A transport of httpx, without a client around it: what that adds (cookies, redirects, authentication, hooks) is
    not wanted, and costs as much as the transport itself."""

    def __init__(self, provider: Provider, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self._url = lru_cache(maxsize=1024)(lambda path: httpx.URL(provider.base_url + path))
        # a client's read limit would cut a long wait for the first byte as well
        self._extensions = {"timeout": httpx.Timeout(None, connect=provider.timeouts.connect).as_dict()}

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        content: bytes | AsyncIterator[bytes] = body
        if len(body) > _PIECE:
            content = _pieces(body)
            headers = {**headers, "content-length": str(len(body))}
        request = httpx.Request("POST", self._url(path), content=content, headers=headers, extensions=self._extensions)
        return HTTPXAnswer(await self._transport.handle_async_request(request))

    async def aclose(self) -> None:
        await self._transport.aclose()


class HTTPXAnswer:
    """Implements `Answer`. A piece is fetched in a task of its own: what iterates cannot be cancelled and go on."""

    __slots__ = ("_fetching", "_over", "_pieces", "_response", "headers", "status_code")

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._pieces = response.aiter_bytes()
        self._fetching: asyncio.Task[bytes] | None = None
        self._over = False
        self.status_code = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        if self._fetching is None:
            self._fetching = asyncio.ensure_future(self._fetch())
        await asyncio.wait({self._fetching})
        return self.rest()

    def rest(self) -> bytes:
        fetching = self._fetching
        if fetching is None or not fetching.done():
            return b""
        self._fetching = None
        if fetching.cancelled():
            raise httpx.ReadError("the connection was dropped")
        piece = fetching.result()
        self._over = not piece
        return piece

    def is_over(self) -> bool:
        return self._over

    def sip(self) -> None:
        return  # as much as the session reads ahead is held

    def listen(self, listener: Listener | None) -> None:
        return

    def drop(self) -> None:
        task = asyncio.ensure_future(close(self))
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    async def aclose(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self._response.aclose()

    async def _fetch(self) -> bytes:
        async for piece in self._pieces:
            if piece:
                return piece
        return b""


_closing: Final[set[asyncio.Task[None]]] = set()
"""Until they are done; the loop holds tasks weakly."""


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


async def close(answer: Answer) -> None:
    """Gives the connection up; what closing may raise is of no use to anyone."""
    try:
        await answer.aclose()
    except TRANSPORT_ERRORS:
        return


def aiohttp_transport(provider: Provider) -> AiohttpTransport:
    """httpx over aiohttp. The session is made here because the transport's own keeps cookies and a limit of 100."""
    proxy = httpx.Proxy(provider.proxy) if provider.proxy else None
    return AiohttpTransport(verify=_tls_for(provider), proxy=proxy, client=lambda: _session(provider))


def _session(provider: Provider) -> aiohttp.ClientSession:
    """Needs a running event loop."""
    return aiohttp.ClientSession(
        connector=Connector(
            limit=provider.max_connections,
            keepalive_timeout=_KEEP_ALIVE,
            ssl=_tls_for(provider),
        ),
        read_bufsize=_AHEAD,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        trust_env=provider.proxy is None and not _is_local(provider.base_url),
    )


def _tls_for(provider: Provider) -> ssl.SSLContext | bool:
    return _tls() if provider.base_url.startswith("https:") else False


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _is_local(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
