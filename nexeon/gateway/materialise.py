"""A URL's bytes, for targets that take no URL: fetched within limits, and from public addresses only.

Every name is resolved here and the connection goes to just those addresses, so that a name cannot mean one thing when
it is checked and another when it is used.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import mimetypes
import socket
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from nexeon.config.model import Materialise
from nexeon.errors import NexeonError

_HOPS: Final = 5
_MOST: Final = 20
_AT_ONCE: Final = 32
_CHUNK: Final = 64 * 1024
_EMBEDDING: Final = ipaddress.ip_network("64:ff9b::/96")
_OPEN_PORTS: Final = frozenset({80, 443})
_UNREGISTERED: Final = 1024

_MAGIC: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
)
_FOUND: Final = "server_tool_result"
"""Type of the blocks that tell what a provider's own tool gave."""

_TEXTS: Final = frozenset({"application/json", "application/xml", "application/yaml", "application/x-yaml"})
_VAGUE: Final = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/download"})

Allowed = Callable[[str, int], bool]


class Unfetched(NexeonError):
    """An address gave no bytes that can be used; the message says why and names nothing that is not public."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an address held. `media_type` has no parameters."""

    media_type: str
    data: bytes

    def source(self) -> dict[str, Any]:
        """As a canonical source: text for what is text, else base64."""
        if self.media_type.startswith("text/") or self.media_type in _TEXTS:
            return {"kind": "text", "media_type": self.media_type, "data": self.data.decode("utf-8", "replace")}
        return {"kind": "base64", "media_type": self.media_type, "data": base64.b64encode(self.data).decode()}


def public(address: str, port: int) -> bool:
    """Whether anyone on the internet could connect there: no private, loopback, link-local or reserved address, also
    not inside of an IPv6 one, and no port of another well-known service."""
    if port not in _OPEN_PORTS and port < _UNREGISTERED:
        return False
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _EMBEDDING:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_loopback or ip.is_unspecified)


class _Guard(AbstractResolver):
    """Resolves names to allowed addresses only."""

    def __init__(self, allowed: Allowed) -> None:
        self._inner = aiohttp.ThreadedResolver()
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if not all(self._allowed(one["host"], port) for one in found):
            raise Unfetched("its address is not a public one")
        return found

    async def close(self) -> None:
        await self._inner.close()


class Materialiser:
    """Fetches addresses. `allowed` says whether a connection to an IP address and port may be made."""

    def __init__(self, limits: Materialise, allowed: Allowed = public) -> None:
        self._limits = limits
        self._allowed = allowed
        self._session: aiohttp.ClientSession | None = None

    async def fetch_all(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Fetched | Unfetched]:
        """Each (block type, URL) with its bytes, or with what went wrong; all at once."""
        if len(wanted) > _MOST:
            return dict.fromkeys(wanted, Unfetched(f"at most {_MOST} addresses can be fetched for one request"))
        found = await asyncio.gather(*[self._told(kind, url) for kind, url in wanted])
        return dict(zip(wanted, found, strict=True))

    async def fetch(self, kind: str, url: str) -> Fetched:
        """The bytes behind a URL for a block of this type. Raises Unfetched."""
        if not self._limits.enabled:
            raise Unfetched("this model takes bytes only, and fetching addresses is switched off here")
        try:
            async with asyncio.timeout(self._limits.timeout):
                return await self._fetch(kind, url)
        except TimeoutError:
            raise Unfetched(f"it could not be fetched within {self._limits.timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise Unfetched("it could not be fetched") from None

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _told(self, kind: str, url: str) -> Fetched | Unfetched:
        try:
            return await self.fetch(kind, url)
        except Unfetched as failure:
            return failure

    async def _fetch(self, kind: str, address: str) -> Fetched:
        url = self._checked(URL(address))
        for _ in range(_HOPS + 1):
            headers = {"accept": "*/*", "accept-encoding": "identity"}
            session = self._session or await self._open()
            async with session.get(url, headers=headers, allow_redirects=False) as response:
                if response.status in (301, 302, 303, 307, 308) and "location" in response.headers:
                    url = self._checked(url.join(URL(response.headers["location"])))
                    continue
                if response.status != 200:
                    raise Unfetched(f"its server answered with status {response.status}")
                declared = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                return Fetched(*_typed(kind, declared, await self._body(response)))
        raise Unfetched("it redirects too often")

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        most = self._limits.max_bytes
        too_large = Unfetched(f"it is larger than {most} bytes")
        if (response.content_length or 0) > most:
            raise too_large
        data = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            data += chunk
            if len(data) > most:
                raise too_large
        return bytes(data)

    def _checked(self, url: URL) -> URL:
        if url.scheme not in ("http", "https") or not url.host:
            raise Unfetched("only http and https addresses can be fetched")
        if url.user is not None or url.password is not None:
            raise Unfetched("an address with a password in it is not fetched")
        try:
            ipaddress.ip_address(url.host)
        except ValueError:
            return url
        if not self._allowed(url.host, url.port or 0):  # a literal address is not resolved
            raise Unfetched("its address is not a public one")
        return url

    async def _open(self) -> aiohttp.ClientSession:
        tls = await asyncio.to_thread(_tls)
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_Guard(self._allowed),
                use_dns_cache=False,
                limit=_AT_ONCE,
                force_close=True,
                ssl=tls,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                headers={"user-agent": "nexeon"},
            )
        return self._session


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def addresses(
    node: Any, kinds: Collection[str], fetches: Mapping[str, Collection[str]] = MappingProxyType({})
) -> Iterator[tuple[str, str]]:
    """(block type, URL) of every block of these types in a canonical tree, but for those whose media type the provider
    `fetches` itself, and for what a provider's own tool found: there an address is what was found.
    """
    if type(node) is list:
        for item in node:
            yield from addresses(item, kinds, fetches)
    elif type(node) is dict and node.get("type") != _FOUND:
        source = node.get("source")
        if type(source) is dict and source.get("kind") == "url" and node.get("type") in kinds:
            there = fetches.get(node["type"])
            if there is None or (_media_type(source) or next(iter(there), "")) not in there:
                yield node["type"], source.get("url") or ""
        for name in ("blocks", "source"):
            if type(node.get(name)) in (list, dict):
                yield from addresses(node[name], kinds, fetches)


def _media_type(source: Mapping[str, Any]) -> str | None:
    """What an address is said to lead to, or what its file name says."""
    told = source.get("media_type")
    return told or mimetypes.guess_type(urlsplit(source.get("url") or "").path)[0]


def filled(node: Any, found: dict[tuple[str, str], Fetched]) -> Any:
    """The tree with what was fetched in the place of its addresses; what holds none is shared."""
    if type(node) is list:
        new = [filled(item, found) for item in node]
        return new if any(a is not b for a, b in zip(new, node, strict=True)) else node
    if type(node) is not dict or node.get("type") == _FOUND:
        return node
    source = node.get("source")
    if type(source) is dict and source.get("kind") == "url":
        fetched = found.get((node.get("type", ""), source.get("url") or ""))
        return node if fetched is None else {**node, "source": fetched.source()}
    changed = {
        name: new for name in ("blocks", "source") if (new := filled(node.get(name), found)) is not node.get(name)
    }
    return {**node, **changed} if changed else node


def place_of(body: Any, text: str, at: str = "") -> str | None:
    """Where a text stands in a client's body, as `a[0].b`."""
    if body == text:
        return at
    inner = enumerate(body) if type(body) is list else body.items() if type(body) is dict else ()
    for step, value in inner:
        here = f"{at}[{step}]" if type(step) is int else f"{at}.{step}" if at else str(step)
        if (found := place_of(value, text, here)) is not None:
            return found
    return None


def _typed(kind: str, declared: str, data: bytes) -> tuple[str, bytes]:
    """The media type by what the bytes are, else by what the server says. Raises Unfetched for what a block of this
    type cannot hold."""
    seen = next((name for at, magic, name in _MAGIC if data[at : at + len(magic)] == magic), "")
    if not data:
        raise Unfetched("it is empty")
    if not seen and data[4:8] == b"ftyp":
        seen = declared if declared.partition("/")[0] in ("video", "audio", "image") else "video/mp4"
    if not seen and declared in _VAGUE and _is_text(data):
        seen = "text/plain"
    media = seen or declared
    family = media.partition("/")[0]
    fits = family == kind if kind != "document" else family in ("text", "application", "image") and media not in _VAGUE
    if not fits or (kind != "document" and not seen and family == "image"):
        raise Unfetched(f"it is {media or 'of an unknown type'}, not {'an' if kind[0] in 'ai' else 'a'} {kind}")
    return media, data


def _is_text(data: bytes) -> bool:
    try:
        return "\x00" not in data.decode()
    except UnicodeDecodeError:
        return False
