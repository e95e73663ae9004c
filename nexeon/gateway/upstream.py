"""One provider's HTTP side: a pooled client, its time limits, and what can go wrong on the way."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from typing import Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from nexeon.config import Provider
from nexeon.errors import NexeonError

TransportFactory = Callable[[Provider], httpx.AsyncBaseTransport]

_KEEP_ALIVE: Final = 60.0
MAX_ANSWER: Final = 256 * 1024 * 1024
"""Bytes of one JSON answer."""

_PIECE: Final = 256 * 1024

TRANSPORT_ERRORS: Final = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, aiohttp.ClientError, OSError)
"""What sending and reading may raise, whichever transport is below."""

_UNCONNECTED: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    httpx.ConnectError,
    httpx.ConnectTimeout,
)


class UpstreamFailure(NexeonError):
    """No usable answer came. `timeout`: too late; else the connection could not be made, or broke.

    `sent` is False only where the request cannot have reached the provider.
    """

    def __init__(self, message: str, *, timeout: bool = False, sent: bool = True) -> None:
        self.message = message
        self.timeout = timeout
        self.sent = sent
        super().__init__(message)


class Upstream:
    """A provider's connection pool. Give `transport` to tests; without it httpx speaks through aiohttp."""

    def __init__(self, provider: Provider, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.provider = provider
        self._timeouts = provider.timeouts
        self._users = 0
        self._url = lru_cache(maxsize=1024)(lambda path: httpx.URL(provider.base_url + path))
        self._headers = {
            "user-agent": "nexeon",
            "content-type": "application/json",
            **{name.lower(): value for name, value in provider.headers.items()},
        }
        self._key_header = provider.auth.header.lower()
        # the other time limits are kept here: a client's read limit would cut a long wait for the first byte as well
        limits = httpx.Timeout(None, connect=provider.timeouts.connect)
        self._extensions = {"timeout": limits.as_dict()}
        # no client around it: what it adds (cookies, redirects, authentication, hooks) is not wanted, and costs as much
        # as the transport itself
        self._transport = aiohttp_transport(provider) if transport is None else transport

    async def send(
        self, path: str, body: bytes, *, key: str, stream: bool, headers: Mapping[str, str]
    ) -> httpx.Response:
        """The answer, its body still unread: whoever gets it must read it to the end or `aclose()` it.

        Raises UpstreamFailure. No exception holds the key.
        """
        sent = {
            **self._headers,
            **headers,
            "accept": "text/event-stream" if stream else "application/json",
            "accept-encoding": "identity" if stream else "gzip, deflate",
            self._key_header: self.provider.auth.render(key),
        }
        content: bytes | AsyncIterator[bytes] = body
        if len(body) > _PIECE:  # written in one go it would hold up every other request
            content = _pieces(body)
            sent["content-length"] = str(len(body))
        request = httpx.Request("POST", self._url(path), content=content, headers=sent, extensions=self._extensions)
        try:
            async with asyncio.timeout(self._timeouts.first_byte):
                return await self._transport.handle_async_request(request)
        except TimeoutError:
            raise UpstreamFailure(
                f"provider `{self.provider.name}` did not answer within {self._timeouts.first_byte:g} s", timeout=True
            ) from None
        except TRANSPORT_ERRORS as error:
            raise self.broken(error) from None

    async def read(self, response: httpx.Response) -> bytes:
        """The whole body; the connection goes back to the pool. Raises UpstreamFailure."""
        loop = asyncio.get_running_loop()
        idle = self._timeouts.idle
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(idle) as deadline:
                async for chunk in response.aiter_bytes():
                    deadline.reschedule(loop.time() + idle)
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > MAX_ANSWER:
                        raise UpstreamFailure(f"the answer of provider `{self.provider.name}` is too large")
        except TimeoutError:
            raise self.silent() from None
        except TRANSPORT_ERRORS as error:
            raise self.broken(error) from None
        finally:
            await close(response)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def silent(self) -> UpstreamFailure:
        """What to raise when nothing came within the idle limit."""
        name, idle = self.provider.name, self._timeouts.idle
        return UpstreamFailure(f"provider `{name}` sent nothing for {idle:g} s", timeout=True)

    def broken(self, error: BaseException) -> UpstreamFailure:
        """The client library's error in our words. Its class mixes up refusals and time-outs; its cause does not."""
        name = self.provider.name
        cause = error.__cause__ or error
        late = isinstance(cause, (TimeoutError, httpx.TimeoutException))
        if isinstance(cause, _UNCONNECTED):
            if late:
                limit = self._timeouts.connect
                return UpstreamFailure(
                    f"no connection to provider `{name}` within {limit:g} s", timeout=True, sent=False
                )
            return UpstreamFailure(f"provider `{name}` cannot be reached", sent=False)
        if late:
            return UpstreamFailure(f"provider `{name}` answered too late", timeout=True)
        return UpstreamFailure(f"the connection to provider `{name}` broke")

    def reaches(self, provider: Provider) -> bool:
        """Whether the provider is the one behind these connections, reached as it says."""
        return _way_to(provider) == _way_to(self.provider)

    def shared(self) -> Upstream:
        """Itself, for one more user: the connections end with the last one's `aclose`."""
        self._users += 1
        return self

    async def aclose(self) -> None:
        self._users -= 1
        if self._users <= 0:
            await self._transport.aclose()


def _way_to(provider: Provider) -> tuple[object, ...]:
    return (
        provider.name,
        provider.base_url,
        provider.auth,
        dict(provider.headers),
        provider.timeouts,
        provider.proxy,
        provider.max_connections,
    )


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


async def close(response: httpx.Response) -> None:
    """Gives the connection up; what closing may raise is of no use to anyone."""
    try:
        await response.aclose()
    except TRANSPORT_ERRORS:
        return


def aiohttp_transport(provider: Provider) -> AiohttpTransport:
    """httpx over aiohttp. The session is made here because the transport's own keeps cookies and a limit of 100."""
    secure = provider.base_url.startswith("https:")
    context: ssl.SSLContext | bool = _tls() if secure else False

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=provider.max_connections, keepalive_timeout=_KEEP_ALIVE, ssl=context),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            trust_env=provider.proxy is None and not _is_local(provider.base_url),
        )

    proxy = httpx.Proxy(provider.proxy) if provider.proxy else None
    return AiohttpTransport(verify=context, proxy=proxy, client=session)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _is_local(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
