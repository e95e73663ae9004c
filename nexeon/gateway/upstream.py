"""One provider's HTTP side: a pooled client, its time limits, and what can go wrong on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import aiohttp
import httpx

from nexeon.config import Provider
from nexeon.errors import NexeonError
from nexeon.gateway.deadline import Deadline, Late
from nexeon.gateway.transport import TRANSPORT_ERRORS, Answer, close, line

MAX_ANSWER: Final = 256 * 1024 * 1024
"""Bytes of one JSON answer."""

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
    """A provider's connection pool. Give `transport` to tests."""

    def __init__(self, provider: Provider, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.provider = provider
        self._timeouts = provider.timeouts
        self._users = 0
        self._line = line(provider, transport)
        common = {
            "user-agent": "nexeon",
            "content-type": "application/json",
            **{name.lower(): value for name, value in provider.headers.items()},
        }
        self._for_json = {**common, "accept": "application/json", "accept-encoding": "gzip, deflate"}
        self._for_stream = {**common, "accept": "text/event-stream", "accept-encoding": "identity"}
        self._key_header = provider.auth.header.lower()

    async def send(self, path: str, body: bytes, *, key: str, stream: bool, headers: Mapping[str, str]) -> Answer:
        """The answer, its body still unread: whoever gets it must read it to the end or `aclose()` it.

        Raises UpstreamFailure. No exception holds the key.
        """
        sent = {
            **(self._for_stream if stream else self._for_json),
            **headers,
            self._key_header: self.provider.auth.render(key),
        }
        try:
            with Deadline(self._timeouts.first_byte):
                answer = await self._line.post(path, body, sent)
            if stream:
                answer.sip()
            return answer
        except Late:
            raise UpstreamFailure(
                f"provider `{self.provider.name}` did not answer within {self._timeouts.first_byte:g} s", timeout=True
            ) from None
        except TRANSPORT_ERRORS as error:
            raise self.broken(error) from None

    async def read(self, answer: Answer) -> bytes:
        """The whole body; the connection goes back to the pool. Raises UpstreamFailure."""
        chunks: list[bytes] = []
        size = 0
        try:
            with Deadline(self._timeouts.idle) as deadline:
                while chunk := await answer.read():
                    deadline.push()
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > MAX_ANSWER:
                        raise UpstreamFailure(f"the answer of provider `{self.provider.name}` is too large")
        except Late:
            raise self.silent() from None
        except TRANSPORT_ERRORS as error:
            raise self.broken(error) from None
        finally:
            await close(answer)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def silent(self) -> UpstreamFailure:
        """What to raise when nothing came within the idle limit."""
        name, idle = self.provider.name, self._timeouts.idle
        return UpstreamFailure(f"provider `{name}` sent nothing for {idle:g} s", timeout=True)

    def broken(self, error: BaseException) -> UpstreamFailure:
        """The client library's error in our words. Its class mixes up refusals and time-outs; its cause does not."""
        name = self.provider.name
        causes = error, error.__cause__ or error
        late = any(isinstance(cause, (TimeoutError, httpx.TimeoutException)) for cause in causes[1:])
        if any(isinstance(cause, _UNCONNECTED) for cause in causes):
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
            await self._line.aclose()


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
