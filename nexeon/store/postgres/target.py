"""A database as it is filled by a move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from nexeon.errors import Conflict
from nexeon.store.postgres.engine import PostgresStore
from nexeon.store.postgres.piece import ENTRY, entry_of, put_record, row_of, wallet_facts
from nexeon.store.records import LedgerEntry, Record
from nexeon.store.sqlite import Place
from nexeon.store.state import State, entry_number

_APPEND = """
INSERT INTO ledger SELECT * FROM json_to_recordset($1::json) AS e(
    number bigint, account text, kind text, amount bigint, balance bigint, previous bigint, created double precision,
    request text, key text, model text, provider text, usage json, price json, estimated boolean, uncollected bigint,
    reason text, expires double precision, grant_entry bigint, token text)
"""


class DatabaseTarget:
    """Implements `Target`."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self.name = store.url

    @classmethod
    async def open(cls, url: str) -> DatabaseTarget:
        """Raises Conflict where gateways run on it, StoreError, StoreUnavailable."""
        store = await PostgresStore.open(url)
        try:
            if running := await store.others():
                raise Conflict(f"gateways run on {store.url} ({', '.join(running)}): stop them first")
        except BaseException:
            await store.close()
            raise
        return cls(store)

    @property
    def place(self) -> Place:
        return self._store.place

    def seal(self, secret: str) -> str:
        return self._store.seal(secret)

    async def length(self) -> int:
        async with self._store.connections.one() as connection:
            return int(await connection.fetchval("SELECT entries FROM ledger_head"))

    async def page(self, after: int, limit: int) -> list[LedgerEntry]:
        async with self._store.connections.one() as connection:
            query = ENTRY + "WHERE number > $1 ORDER BY number LIMIT $2"
            return [entry_of(row) for row in await connection.fetch(query, after, limit)]

    async def append(self, entries: Sequence[LedgerEntry]) -> None:
        rows = orjson.dumps([row_of(entry, None) for entry in entries]).decode()
        async with self._store.connections.transaction() as connection:
            await connection.execute("SELECT entries FROM ledger_head FOR UPDATE")
            await connection.execute(_APPEND, rows)
            await connection.execute("UPDATE ledger_head SET entries = $1", entry_number(entries[-1].id))

    async def finish(self, records: Sequence[Record], state: State) -> None:
        async with self._store.connections.transaction() as connection:
            await connection.execute("DELETE FROM accounts; DELETE FROM keys; DELETE FROM provider_keys")
            await connection.execute("DELETE FROM wallets; DELETE FROM spending; DELETE FROM reservations")
            for record in records:
                await put_record(connection, record)
            await connection.execute("DELETE FROM wallets")
            await self._money(connection, state)

    async def _money(self, connection: Any, state: State) -> None:
        await connection.executemany(
            "INSERT INTO wallets (account, balance, reserved, last, lots, expires) VALUES ($1, $2, $3, $4, $5, $6)",
            [
                (account, balance, reserved, last, None if lots is None else orjson.dumps(lots).decode(), expires)
                for account, wallet in state.wallets.items()
                for balance, reserved, last, lots, expires in [wallet_facts(wallet)]
            ],
        )
        owners = {key.id: key.account for key in state.keys.values()}
        await connection.executemany(
            "INSERT INTO spending (key, account, counts, reserved) VALUES ($1, $2, $3, 0)",
            [(key, owners[key], spent.counts()) for key, spent in state.spending.items() if key in owners],
        )

    async def balances(self) -> dict[str, int]:
        async with self._store.connections.one() as connection:
            return {row["account"]: row["balance"] for row in await connection.fetch("SELECT * FROM wallets")}

    async def close(self) -> None:
        await self._store.close()
