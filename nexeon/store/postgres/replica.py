"""Accounts, keys and provider keys in the memory of every gateway, kept as they are in the database.

A change is told by NOTIFY, and looked for every moment besides, so that it is known everywhere within a second however
it came. What has been read for too long without news from the database is not used any more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import asyncpg
import orjson

from nexeon.errors import StoreError, StoreUnavailable
from nexeon.store.codec import build
from nexeon.store.memory import MemoryStore, warn_of
from nexeon.store.postgres.connections import LOST, Connections, ended, let_go
from nexeon.store.postgres.piece import CHANNEL, KINDS, TABLES
from nexeon.store.records import Account, ApiKey, LedgerEntry, Record
from nexeon.store.secrets import Vault
from nexeon.store.state import Kind, Put, Remove, State

log = logging.getLogger(__name__)

STALE: Final = 10.0
"""Seconds without news after which nobody is let in by what was known before."""

_LOOK: Final = 0.7
_CONNECT_AGAIN: Final = 2.0
FORGOTTEN: Final = 3600.0
"""Seconds that changes are kept for gateways that were away; one that was longer reads everything anew."""

_HORIZON: Final = "pg_snapshot_xmin(pg_current_snapshot())::text"
_CHANGES: Final = f"""
SELECT {_HORIZON} AS horizon,
    (SELECT json_agg(DISTINCT jsonb_build_array(kind, id)) FROM record_changes WHERE writer >= $1::text::xid8)
        AS changed
"""
_TYPES: Final[dict[str, type[Record]]] = {kind: record for record, kind in KINDS.items()}


class Replica(MemoryStore):
    """Knows records, and nothing of money."""

    def __init__(self, connections: Connections, clock: Callable[[], float], vault: Vault) -> None:
        super().__init__(clock=clock, vault=vault)
        self._connections = connections
        self._horizon = ""
        self._known = float("-inf")
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    async def start(self) -> None:
        """Reads everything. Raises StoreUnavailable, StoreError."""
        await self.pull()
        self._tasks = [asyncio.create_task(self._look()), asyncio.create_task(self._listen())]

    async def stop(self) -> None:
        self._stopped = True
        await ended(*self._tasks)

    def current(self) -> None:
        """Raises StoreUnavailable where what is known is too old."""
        if time.monotonic() - self._known > STALE:
            raise StoreUnavailable(f"{self._connections.name} has not been reached for {STALE:.0f} s")

    def find_key(self, secret: str) -> tuple[ApiKey, Account] | None:
        self.current()
        try:
            return super().find_key(secret)
        except KeyError:
            # A key whose account has just gone, or is just coming.
            return None

    def has_budget(self, key: str) -> bool:
        """As far as is known."""
        found = self._state.keys.get(key)
        return found is not None and found.budget is not None

    def warn(self, charge: LedgerEntry) -> None:
        """Where it took the wallet below its account's soft limit."""
        account = self._state.accounts.get(charge.account)
        if account is not None:
            warn_of(account, charge)

    async def pull(self) -> None:
        """What has changed so far is known afterwards. Raises StoreUnavailable, StoreError."""
        async with self._turn:
            asked = time.monotonic()
            async with self._connections.one() as connection:
                if self._horizon and asked - self._known < FORGOTTEN / 2:
                    await self._catch_up(connection)
                else:
                    await self._read(connection)
            self._known = asked

    async def _read(self, connection: Any) -> None:
        horizon = await connection.fetchval(f"SELECT {_HORIZON}")
        rows = {
            kind: await connection.fetch(f"SELECT body FROM {table} ORDER BY place") for kind, table in TABLES.items()
        }
        self._state = State()
        self._provider_keys.clear()
        for kind, found in rows.items():
            for (body,) in found:
                self._put(build(_TYPES[kind], orjson.loads(body)))
        self._horizon = horizon

    async def _catch_up(self, connection: Any) -> None:
        found = await connection.fetchrow(_CHANGES, self._horizon)
        wanted: dict[str, list[str]] = {}
        for kind, name in orjson.loads(found["changed"] or "[]"):
            wanted.setdefault(kind, []).append(name)
        for kind, table in TABLES.items():
            if kind not in wanted:
                continue
            query = f"SELECT id, body FROM {table} WHERE id = ANY($1::text[]) ORDER BY place"
            present = {row["id"]: row["body"] for row in await connection.fetch(query, wanted[kind])}
            for name in wanted[kind]:
                if name not in present:
                    self._forget(kind, name)
            for body in present.values():
                self._put(build(_TYPES[kind], orjson.loads(body)))
        self._horizon = found["horizon"]

    def _put(self, record: Record) -> None:
        if self._table(record).get(record.id) != record:
            self._state.apply(Put(record))
            self._provider_keys.clear()

    def _forget(self, kind: Any, name: str) -> None:
        known: Kind = kind
        self._state.apply(Remove(known, name))
        self._provider_keys.clear()

    async def _look(self) -> None:
        failing = False
        while not self._stopped:
            try:
                async with asyncio.timeout(_LOOK):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            try:
                await self.pull()
                failing = False
            except StoreError as error:
                if not failing:
                    log.error("accounts and keys cannot be read: %s", error)
                failing = True

    async def _listen(self) -> None:
        """One connection that is told of changes, and made anew when it is lost."""

        def told(*_: object) -> None:
            self._news.set()

        while not self._stopped:
            connection: Any = None
            try:
                connection = await self._connections.fresh()
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                await connection.add_listener(await connection.fetchval(f"SELECT {CHANNEL}"), told)
                self._news.set()
                await lost.wait()
            except (*LOST, asyncpg.PostgresError):
                pass
            finally:
                await let_go(connection)
            await asyncio.sleep(_CONNECT_AGAIN)
