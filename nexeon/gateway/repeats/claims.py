"""Requests with an idempotency key that are under way in any of several gateways on one database.

Whoever is first writes a claim, and renews it while the request runs; that of a gateway that is gone runs out.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable
from typing import Final

from nexeon.errors import StoreError
from nexeon.store.sqlite import Database

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS claims (
    account TEXT NOT NULL, key TEXT NOT NULL, owner TEXT NOT NULL, print BLOB NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (account, key)) WITHOUT ROWID;
"""
_LEASE: Final = 60.0
_RENEW: Final = 20.0
_log = logging.getLogger("nexeon.gateway")


class Claims:
    """Does nothing where the database is this process's own: it knows what it runs."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._owner = secrets.token_hex(8)
        self._held: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewer: asyncio.Task[None] | None = None

    def take(self, connection: sqlite3.Connection, account: str, key: str, mark: bytes) -> bytes | None:
        """In a transaction: the mark of the request that holds the key elsewhere; None where it is taken now."""
        if not self._database.shared:
            return None
        now = self._clock()
        taken = connection.execute(
            "INSERT INTO claims (account, key, owner, print, until) VALUES (?, ?, ?, ?, ?) ON CONFLICT (account, key) "
            "DO UPDATE SET owner = excluded.owner, print = excluded.print, until = excluded.until "
            "WHERE claims.until <= ?",
            (account, key, self._owner, mark, now + _LEASE, now),
        ).rowcount
        if taken:
            return None
        query = "SELECT print FROM claims WHERE account = ? AND key = ?"
        row = connection.execute(query, (account, key)).fetchone()
        return bytes(row[0]) if row is not None else mark

    def drop(self, connection: sqlite3.Connection, account: str, key: str) -> None:
        """In a transaction."""
        if self._database.shared:
            query = "DELETE FROM claims WHERE account = ? AND key = ? AND owner = ?"
            connection.execute(query, (account, key, self._owner))

    def hold(self, account: str, key: str) -> None:
        """It was taken: from here on it is renewed."""
        if self._database.shared:
            self._held.add((account, key))
            if self._renewer is None:
                self._renewer = asyncio.get_running_loop().create_task(self._renew())

    def release(self, account: str, key: str) -> None:
        """What is held is given up, soon."""
        if (account, key) in self._held:
            self._held.discard((account, key))
            task = asyncio.get_running_loop().create_task(self._drop(account, key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """After everything was released."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._renewer is not None:
            self._renewer.cancel()
            await asyncio.gather(self._renewer, return_exceptions=True)

    async def _drop(self, account: str, key: str) -> None:
        try:
            await self._database.run(lambda connection: self.drop(connection, account, key))
        except StoreError as error:
            _log.error("the claim of an idempotency key runs out in %.0f s: %s", _LEASE, error)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW)
            if not self._held:
                continue
            try:
                await self._database.run(self._prolong)
            except StoreError as error:
                _log.error("claims of idempotency keys could not be renewed: %s", error)

    def _prolong(self, connection: sqlite3.Connection) -> None:
        query = "UPDATE claims SET until = ? WHERE owner = ?"
        connection.execute(query, (self._clock() + _LEASE, self._owner))
