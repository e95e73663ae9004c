"""Connections to the database: how they are made, kept, lost and found again, and what their errors mean to callers."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from nexeon.errors import StoreError, StoreUnavailable

CONNECT: Final = 5.0
"""Seconds for a new connection."""

STATEMENT: Final = 20.0
"""Seconds for anything that is asked of the database on the way of a request."""

_MOST: Final = 8

LOST: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
)
"""What says that the connection is gone, or could not be made: a later attempt may succeed."""

_FULL: Final = (
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalServerError,
    asyncpg.PostgresSystemError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)
_REFUSED: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidSchemaNameError,
)


def shown(url: str) -> str:
    """The URL without its password and parameters."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")
    user = host[0].partition(":")[0]
    return urlunsplit((parts.scheme, f"{user}@{host[2]}" if user else host[2], parts.path, "", ""))


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Turns what the driver raises into StoreUnavailable or StoreError, in words that hold no secret."""
    try:
        yield
    except _REFUSED as error:
        raise StoreError(f"{what} refuses: {error}") from error
    except (*LOST, *_FULL) as error:
        raise StoreUnavailable(f"{what} cannot be used now: {_words(error)}") from error
    except asyncpg.PostgresError as error:
        raise StoreError(f"{what} failed: {error}") from error


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """Nothing is left behind in a session here, so nothing needs to be reset."""

    def get_reset_query(self) -> str:
        return ""


async def _prepare(connection: Any) -> None:
    # The worst that a lock can do is to be held by a gateway that has stopped answering.
    await connection.execute(f"SET lock_timeout = '{STATEMENT:.0f}s'; SET idle_in_transaction_session_timeout = '60s'")


class Connections:
    """A pool for what is read now and then, and `fresh` connections for those who keep one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = f"the database {shown(url)}"
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def fresh(self) -> Any:
        """A connection of the caller's own. Raises what the driver raises."""
        connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT,
            command_timeout=STATEMENT,
            connection_class=_Connection,
            server_settings={"application_name": f"nexeon {os.getpid()}"},
        )
        try:
            await _prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[Any]:
        """A connection from the pool, its errors told. Raises StoreUnavailable, StoreError."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        with told(self.name):
            if self._pool is None:
                await self._open()
            async with self._pool.acquire(timeout=CONNECT) as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """The same, inside a transaction."""
        async with self.one() as connection, connection.transaction():
            yield connection

    async def _open(self) -> None:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=_MOST,
                    timeout=CONNECT,
                    command_timeout=STATEMENT,
                    connection_class=_Connection,
                    init=_prepare,
                    server_settings={"application_name": f"nexeon {os.getpid()}"},
                )

    async def close(self) -> None:
        self._closed = True
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), CONNECT)
            except LOST:
                self._pool.terminate()
            self._pool = None


async def ended(*tasks: asyncio.Task[None]) -> None:
    """Cancels tasks until they are gone: the driver may take a cancellation for a timeout, and they go on."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=1.0)


async def let_go(connection: Any) -> None:
    """Closes a connection that may be broken."""
    if connection is not None and not connection.is_closed():
        with contextlib.suppress(*LOST, asyncpg.PostgresError):
            await connection.close(timeout=1.0)
            return
        connection.terminate()
