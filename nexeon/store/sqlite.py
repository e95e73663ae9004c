"""A SQLite file in a thread of its own: for what must last but is not money."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from nexeon.errors import StoreUnavailable

T = TypeVar("T")


class OtherPlace(Protocol):
    """A place that is no folder: a database that several processes share."""

    def open(self, schema: str) -> Database:
        """The tables of a schema there."""
        ...


Place = Path | OtherPlace | None
"""Where a store beside the ledger is: in a folder, elsewhere, or in memory."""


def open_database(
    place: Place,
    file: str,
    schema: str,
    *,
    durable: bool,
    upgrade: Callable[[sqlite3.Connection], None] | None = None,
) -> Database:
    """The tables of a schema, in a file of that name where the place is a folder. See `Database`."""
    if place is None or isinstance(place, Path):
        return Database(None if place is None else place / file, schema, durable=durable, upgrade=upgrade)
    return place.open(schema)


class Database:
    """One connection, used by one thread; work queues up for it in order.

    `shared`: other processes use it, too.
    """

    shared = False

    def __init__(
        self,
        file: Path | None,
        schema: str,
        *,
        durable: bool,
        upgrade: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        """In memory where `file` is None. The file is opened, and made with mode 0600, at the first use.

        `durable`: a commit survives a power cut; otherwise the last ones may be lost in one, and only then. `upgrade`
        is called after the schema, for files of an earlier version.
        """
        self._file = file
        self._schema = schema
        self._durable = durable
        self._upgrade = upgrade
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=file.stem if file else "sqlite")
        self._closed = False

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` in one transaction. Raises StoreUnavailable."""
        if self._closed:
            raise StoreUnavailable(f"{self._name} is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    async def checkpoint(self) -> None:
        """Gives back the room of what was deleted, and empties the log of changes, which still holds it.

        Raises StoreUnavailable.
        """
        if self._closed:
            raise StoreUnavailable(f"{self._name} is closed")
        await asyncio.get_running_loop().run_in_executor(self._thread, self._truncate)

    async def renumber(self) -> None:
        """What counts rows goes on after the last of them, where they came with numbers of their own."""

    async def close(self) -> None:
        """After the work that waits."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    @property
    def _name(self) -> str:
        return str(self._file or "the database in memory")

    # In the thread

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._open()
            with self._connection:
                self._connection.execute("BEGIN")
                return work(self._connection)
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"{self._name}: {error}") from error

    def _truncate(self) -> None:
        try:
            if self._connection is not None:
                # (`execute` would take one step of a vacuum, which frees one page)
                self._connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"{self._name}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._file is not None:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file.touch(mode=0o600)
        # Transactions begin where `_transact` says, and at no other place.
        connection = sqlite3.connect(self._file or ":memory:", isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before anything is written: later it has no effect
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
            connection.executescript(self._schema)
            if self._upgrade is not None:
                self._upgrade(connection)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
