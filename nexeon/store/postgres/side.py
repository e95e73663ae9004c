"""What must last but is not money (kept answers, the log of requests, usage …) in the database that gateways share.

The stores ask through a thread, as they ask SQLite; what they ask is said in PostgreSQL's words.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeVar, cast

from nexeon.errors import StoreUnavailable
from nexeon.store.postgres.connections import STATEMENT, Connections
from nexeon.store.postgres.dialect import Dialect
from nexeon.store.sqlite import Database

T = TypeVar("T")

_WAIT: Final = 5.0
_AGAIN: Final = 0.2
"""Seconds for which work waits for a database that cannot be reached, and between two attempts."""


@dataclass(frozen=True, slots=True)
class SharedPlace:
    """Where the stores beside the ledger are, for an engine without a folder."""

    connections: Connections

    def open(self, schema: str) -> Database:
        return SharedDatabase(self.connections, schema)


class SharedDatabase(Database):
    """As `Database`, on the shared one. Work of one process is done in its order; that of several is not kept apart
    but by transactions."""

    shared = True

    def __init__(self, connections: Connections, schema: str) -> None:
        self._connections = connections
        self._dialect = Dialect(schema)
        self._made = False
        self._turn = asyncio.Lock()
        self._closed = False

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Raises StoreUnavailable, StoreError."""
        if self._closed:
            raise StoreUnavailable(f"{self._connections.name} is closed")
        # A caller that is cancelled leaves the thread at its work, and the connection with it.
        return await asyncio.shield(asyncio.ensure_future(self._run(work)))

    async def checkpoint(self) -> None:
        """The database does so by itself."""

    async def renumber(self) -> None:
        async with self._connections.one() as connection:
            if not self._made:  # nothing was there to be written
                await self._make(connection)
            for table in self._dialect.tables.values():
                for name in table.counted:
                    await connection.execute(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{name}'), "
                        f"(SELECT coalesce(max({name}), 0) + 1 FROM {table.name}), false)"
                    )

    async def close(self) -> None:
        async with self._turn:
            self._closed = True

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        deadline = time.monotonic() + _WAIT
        async with self._turn:
            while True:
                try:
                    return await self._once(work)
                except StoreUnavailable:
                    if time.monotonic() > deadline:
                        raise
                await asyncio.sleep(_AGAIN)

    async def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._connections.one() as connection:
            if not self._made:
                await self._make(connection)
            async with connection.transaction():
                session = _Session(connection, self._dialect, asyncio.get_running_loop())
                return await asyncio.to_thread(work, cast(sqlite3.Connection, session))

    async def _make(self, connection: Any) -> None:
        async with connection.transaction():
            # Two that come at once would both find nothing there.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext(current_schema()))")
            await connection.execute("SET LOCAL client_min_messages = error")
            for statement in self._dialect.statements():
                await connection.execute(statement)
        self._made = True


class _Session:
    """As much of a `sqlite3.Connection` as the stores use, inside one transaction; for one thread."""

    def __init__(self, connection: Any, dialect: Dialect, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._dialect = dialect
        self._loop = loop

    def execute(self, query: str, values: Sequence[Any] = ()) -> _Rows:
        said = self._dialect.say(query)
        if not said:
            return _Rows([], 0)
        given = [_value(value) for value in values]
        if said.lstrip().upper().startswith("SELECT") or " RETURNING " in said.upper():
            rows = self._wait(self._connection.fetch(said, *given))
            return _Rows([tuple(map(_back, row)) for row in rows], len(rows))
        status: str = self._wait(self._connection.execute(said, *given))
        return _Rows([], int(status.rpartition(" ")[2]))

    def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        said = self._dialect.say(query)
        given = [[_value(value) for value in row] for row in rows]
        if not said or not given:
            return
        together = self._dialect.together(said)
        if together and len(given) > 1:
            self._wait(self._connection.execute(together, *map(list, zip(*given, strict=True))))
        else:
            self._wait(self._connection.executemany(said, given))

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * STATEMENT)


class _Rows:
    """As much of a cursor."""

    def __init__(self, rows: list[tuple[Any, ...]], count: int) -> None:
        self._rows = iter(rows)
        self.rowcount = count

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows


def _value(value: Any) -> Any:
    """SQLite's columns take what they get."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    if isinstance(value, str) and "\0" in value:
        return value.replace("\0", "\ufffd")
    return value


def _back(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) else value
