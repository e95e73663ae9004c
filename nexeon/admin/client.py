"""The admin service from outside: over a running gateway's socket, or on the store itself when no gateway runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import re
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import orjson

from nexeon import errors
from nexeon.admin.provider_keys import Probe
from nexeon.admin.service import AdminService, Erase, Explain
from nexeon.admin.socket import LINE_LIMIT, find_sockets, shared_sockets
from nexeon.errors import AdminError, AdminUnreachable, InsufficientCredit, NexeonError, StoreLocked
from nexeon.store import open_store
from nexeon.store.requests import RequestLog

if TYPE_CHECKING:
    from nexeon.config import Config

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

WAIT = 5.0
_CONNECTIONS = 8


class AdminClient(Protocol):
    """`where` says what it speaks to: a running `gateway`, or the `store` itself; `place` is its socket, URL or store.

    Calls may run side by side, and may be cancelled.
    """

    @property
    def where(self) -> Literal["gateway", "store"]: ...

    @property
    def place(self) -> str: ...

    async def call(self, method: str, /, **params: Any) -> Any:
        """`call("accounts.create", name="acme")`. Raises AdminError (AdminUnreachable), StoreError."""
        ...

    async def close(self) -> None: ...


async def pages(client: AdminClient, method: str, /, **params: Any) -> AsyncIterator[dict[str, Any]]:
    """Every item of a listing method, page after page."""
    page = await client.call(method, **params)
    while True:
        for item in page["items"]:
            yield item
        if page["next"] is None:
            return
        page = await client.call(method, **params, after=page["next"])


class SocketClient:
    """Speaks to a gateway, over as many connections as calls are under way, up to a few; more calls wait their turn.

    A gateway that was restarted is found again by the next call.
    """

    where: Literal["gateway"] = "gateway"

    def __init__(self, path: Path, actor: str) -> None:
        self.place = str(path)
        self._actor = actor
        self._idle: list[Connection] = []
        self._turns = asyncio.Semaphore(_CONNECTIONS)

    @classmethod
    async def open(cls, path: Path, *, actor: str) -> SocketClient:
        """Raises OSError where nobody listens."""
        client = cls(path, actor)
        client._idle.append(await asyncio.open_unix_connection(client.place, limit=LINE_LIMIT))
        return client

    async def call(self, method: str, /, **params: Any) -> Any:
        request = orjson.dumps({"method": method, "params": params, "actor": self._actor}) + b"\n"
        async with self._turns:
            line = await self._exchange(request)
        if not line.endswith(b"\n"):
            raise AdminUnreachable("the gateway ended the admin connection before it answered")
        reply = orjson.loads(line)
        if "error" in reply:
            raise _error(reply["error"])
        return reply["result"]

    async def _exchange(self, request: bytes) -> bytes:
        connection: Connection | None = None
        whole = False
        try:
            connection = await self._connection()
            reader, writer = connection
            writer.write(request)
            await writer.drain()
            line = await reader.readline()
            whole = line.endswith(b"\n")
        except (OSError, ValueError) as error:
            sent = connection is not None
            raise AdminUnreachable(f"the gateway's admin socket failed: {error}", sent=sent) from error
        finally:
            # A call that was cancelled leaves an answer behind that would be taken for the next call's.
            if connection is not None and whole:
                self._idle.append(connection)
            elif connection is not None:
                connection[1].close()
        return line

    async def _connection(self) -> Connection:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_unix_connection(self.place, limit=LINE_LIMIT)

    async def close(self) -> None:
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


class HTTPClient:
    """Speaks to a gateway that is far away."""

    where: Literal["gateway"] = "gateway"

    def __init__(self, url: str, token: str, actor: str) -> None:
        """`url` is that of the gateway, without a path."""
        import httpx

        self.place = url.rstrip("/")
        headers = {"authorization": f"Bearer {token}", "x-nexeon-actor": actor}
        self._http = httpx.AsyncClient(base_url=self.place, headers=headers, timeout=60)

    async def call(self, method: str, /, **params: Any) -> Any:
        import httpx

        from nexeon.admin.http import OPERATIONS

        operation = OPERATIONS.get(method)
        if operation is None:
            raise AdminError(f"no admin method `{method}`")
        path = operation.url(params)
        given = {name: value for name, value in params.items() if name != operation.subject}
        try:
            if operation.verb == "GET":
                query = {name: str(value) for name, value in given.items() if value is not None}
                answer = await self._http.get(path, params=query)
            else:
                answer = await self._http.request(operation.verb, path, content=orjson.dumps(given))
        except httpx.HTTPError as error:
            sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise AdminUnreachable(f"the gateway at {self.place} cannot be reached: {error}", sent=sent) from error
        try:
            body = orjson.loads(answer.content)
            if answer.is_success:
                return body
            refusal = {"kind": body["error"]["type"], "message": body["error"]["message"]}
        except (orjson.JSONDecodeError, TypeError, KeyError):
            raise AdminError(
                f"{self.place} answered {answer.status_code}, and not as an admin service: "
                "is `admin.http.token` set there?"
            ) from None
        if answer.status_code == 401:
            raise AdminError(
                f"{self.place} takes another admin token: give its `admin.http.token` in NEXEON_ADMIN_TOKEN, or with "
                "--token"
            )
        raise _error(refusal)

    async def close(self) -> None:
        await self._http.aclose()


class LocalClient:
    """Holds the store itself."""

    where: Literal["store"] = "store"

    def __init__(self, service: AdminService, actor: str, log: RequestLog | None = None) -> None:
        """Closes the service, the log and the store when it is closed."""
        # a database's URL may carry a password
        self.place = re.sub(r"//[^@/]*@", "//", service.store.url)
        self._service = service
        self._actor = actor
        self._log = log

    async def call(self, method: str, /, **params: Any) -> Any:
        return await self._service.call(method, params, actor=self._actor)

    async def close(self) -> None:
        await self._service.close()
        if self._log is not None:
            await self._log.close()
        await self._service.store.close()


async def connect(
    store_url: str,
    *,
    socket: Path | None = None,
    config: Config | None = None,
    actor: str = "cli",
    probe: Probe | None = None,
    explain: Explain | None = None,
    erase: Erase | None = None,
    wait: float = WAIT,
) -> AdminClient:
    """A gateway's socket where one answers, else the store itself; `socket` is the configured path.

    `erase` deletes what an account that goes has kept beside the ledger, in the store's place; a gateway has its own.
    Another command, or a gateway that is starting, is waited for up to `wait` seconds. Raises StoreLocked after that,
    AdminError for a store that lives in its gateway's memory only, and what `open_store` raises.
    """
    engine = store_url.partition(":")[0]
    deadline = time.monotonic() + wait
    while True:
        running = await connect_running(store_url, socket=socket, actor=actor)
        if running is not None:
            return running
        if engine == "memory":
            raise AdminError("a memory: store lives in its gateway: set admin.socket, and run one with it")
        try:
            store = await open_store(store_url)
        except StoreLocked:
            if time.monotonic() >= deadline:
                raise
        else:
            log = RequestLog(store.place) if store.place is not None else None
            service = AdminService(store, config, probe=probe, requests=log, explain=explain)
            if erase is not None:
                service.accounts.gone = partial(erase, store.place)
            return LocalClient(service, f"{_user()} ({actor})", log)
        await asyncio.sleep(0.05)


async def connect_running(store_url: str, *, socket: Path | None = None, actor: str = "cli") -> AdminClient | None:
    """A gateway's socket where one answers; the store is not looked at."""
    engine, _, rest = store_url.partition(":")
    folder = Path(rest) if engine == "tinydb" else None
    for path in find_sockets(folder, socket, shared_sockets(store_url)):
        # One that refuses was left behind by a gateway that was killed.
        with contextlib.suppress(OSError):
            return await SocketClient.open(path, actor=actor)
    return None


def connect_http(url: str, token: str, *, actor: str = "cli") -> AdminClient:
    """A gateway far away, by its URL and admin token. Raises AdminError for a URL that is none."""
    if not url.startswith(("http://", "https://")):
        raise AdminError(f"`{url}` is no URL of a gateway, such as https://gateway.example")
    if not token or not token.isascii() or not token.isprintable():
        raise AdminError("give the admin token of the gateway in NEXEON_ADMIN_TOKEN, or with --token")
    return HTTPClient(url, token, f"{_user()} ({actor})")


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _error(refusal: dict[str, Any]) -> NexeonError:
    if refusal["kind"] == "InsufficientCredit" and "needed" in refusal:
        return InsufficientCredit(needed=refusal["needed"], available=refusal["available"])
    kind = getattr(errors, refusal["kind"], AdminError)
    known = isinstance(kind, type) and issubclass(kind, AdminError | errors.StoreError)
    if not known or issubclass(kind, InsufficientCredit):
        kind = AdminError
    return kind(refusal["message"])
