"""Usage by day, account, key, model and provider: counted once from the ledger, and kept in usage.sqlite3.

Entries are taken in their order, and how far is written in the same transaction as what they came to; so the figures
are those of the ledger, whenever the process ended.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from nexeon.admin import values
from nexeon.admin.names import account_id, key_id
from nexeon.admin.views import View, page
from nexeon.errors import AdminError, NotFound
from nexeon.store.guests import GuestStore
from nexeon.store.money import to_usd
from nexeon.store.protocol import Store
from nexeon.store.records import LedgerEntry
from nexeon.store.sqlite import Place, open_database

FILE: Final = "usage.sqlite3"
GROUPS: Final = ("day", "account", "key", "model", "provider")
CLASSES: Final = ("input", "cached_input", "cache_write", "cache_write_1h", "output", "reasoning", "web_searches")
_COUNTS: Final = ("requests", "estimated", *CLASSES, "cost", "uncollected")
_DAY: Final = 86_400
_BATCH: Final = 5000
TABLES: Final = f"""
CREATE TABLE IF NOT EXISTS usage (
    {", ".join(f"{name} {'INTEGER' if name == 'day' else 'TEXT'} NOT NULL" for name in GROUPS)},
    {", ".join(f"{name} INTEGER NOT NULL" for name in _COUNTS)},
    PRIMARY KEY ({", ".join(GROUPS)})) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS usage_account ON usage (account, day);
CREATE TABLE IF NOT EXISTS position (entry TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS turns (turn INTEGER NOT NULL, PRIMARY KEY (turn));
"""
_ADD: Final = f"""
INSERT INTO usage VALUES ({", ".join("?" * (len(GROUPS) + len(_COUNTS)))})
ON CONFLICT ({", ".join(GROUPS)})
DO UPDATE SET {", ".join(f"{name} = usage.{name} + excluded.{name}" for name in _COUNTS)}
"""


Names = list[str]
Conditions = dict[str, tuple[Any, ...]]
"""SQL, each with what it compares with."""


class Usage:
    def __init__(self, books: Sequence[UsageBook], store: Store) -> None:
        """The store knows the names of accounts and keys."""
        self._books = books
        self._store = store

    async def list(
        self,
        *,
        by: Any = "day",
        account: Any = None,
        key: Any = None,
        model: Any = None,
        provider: Any = None,
        since: Any = None,
        until: Any = None,
        after: Any = None,
        limit: Any = 1000,
    ) -> View:
        """A page of sums by some of day, account, key, model and provider; tokens by class, `cost` in USD.

        `account` and `key` are ids or names, `account` one or several; days are UTC's, from `since` to before `until`.
        """
        asked = values.names("by", by)
        groups: Names = [name for name in GROUPS if name in asked]
        if len(groups) != len(asked) or not groups:
            raise AdminError(f"by: give some of {', '.join(GROUPS)}")
        used = None if key is None else await key_id(self._store, values.text("key", key))
        filters = {"key": used, "model": model, "provider": provider}
        conditions: Conditions = {
            f"{name} = ?": (values.text(name, value),) for name, value in filters.items() if value is not None
        }
        if account is not None:
            accounts = tuple([await account_id(self._store, each) for each in values.names("account", account)])
            if not accounts:
                return page([], None)
            conditions[f"account IN ({', '.join('?' * len(accounts))})"] = accounts
        conditions |= {
            f"day {sign} ?": (moment // _DAY,)
            for sign, name, value in ((">=", "since", since), ("<", "until", until))
            if (moment := values.moment(name, value)) is not None
        }
        sums: dict[tuple[Any, ...], list[int]] = {}
        for book in self._books:
            for row in await book.sums(groups, conditions):
                counted = sums.setdefault(row[: len(groups)], [0] * len(_COUNTS))
                counted[:] = [one + other for one, other in zip(counted, row[len(groups) :], strict=True)]
        start = values.count("after", int(after)) if isinstance(after, str) and after.isdecimal() else 0
        end = start + values.count("limit", limit, least=1)
        rows = sorted(sums.items())
        return page([_view(groups, *row) for row in rows[start:end]], str(end) if end < len(rows) else None)


def open_books(store: Store, place: Place) -> list[UsageBook]:
    """Of a store, and of its guests. In memory without a place."""
    guests = [UsageBook(store.guests, None)] if isinstance(store, GuestStore) else []
    return [UsageBook(store, place), *guests]


class UsageBook:
    """The usage of one store. Every method may raise StoreUnavailable."""

    def __init__(self, store: Store, place: Place) -> None:
        self._store = store
        self._database = open_database(place, FILE, TABLES, durable=False)
        self._turn = asyncio.Lock()

    async def sums(self, groups: Iterable[str], conditions: Conditions) -> list[tuple[Any, ...]]:
        """A row for each group, with what was counted."""
        await self.catch_up()
        names = ", ".join(groups)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        query = f"SELECT {names}, {', '.join(f'sum({name})' for name in _COUNTS)} FROM usage {where} GROUP BY {names}"
        compared = [value for each in conditions.values() for value in each]
        return await self._database.run(lambda connection: connection.execute(query, compared).fetchall())

    async def close(self) -> None:
        await self._database.close()

    async def catch_up(self) -> None:
        """Counts what is new in the ledger. Raises StoreUnavailable, StoreCorrupt."""
        async with self._turn:
            position = await self._database.run(_position)
            try:
                if position:
                    await self._store.entry(position)
            except NotFound:
                # An older backup of the ledger was put in its place.
                await self._database.run(_forget)
                position = ""
            while entries := await self._store.history(after=position, limit=_BATCH):
                position = await self._database.run(partial(_count, entries, position))


def _position(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT entry FROM position").fetchone()
    return row[0] if row else ""


def _forget(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM position")
    connection.execute("DELETE FROM usage")


def _count(entries: list[LedgerEntry], position: str, connection: sqlite3.Connection) -> str:
    """Adds the entries that follow a position, unless another process has; where the position is now."""
    connection.execute("INSERT INTO turns VALUES (0) ON CONFLICT (turn) DO UPDATE SET turn = excluded.turn")
    now = _position(connection)
    if now != position:
        return now
    sums: dict[tuple[Any, ...], list[int]] = {}
    for entry in entries:
        if entry.kind not in ("charge", "shortfall"):
            continue
        group = (int(entry.created // _DAY), entry.account, entry.key, entry.model, entry.provider)
        counted = sums.setdefault(group, [0] * len(_COUNTS))
        if entry.kind == "shortfall":
            counted[-1] += entry.uncollected
            continue
        tokens = [value if type(value := entry.usage.get(name)) is int else 0 for name in CLASSES]
        added = (1, int(entry.estimated), *tokens, -entry.amount, 0)
        counted[:] = [one + other for one, other in zip(counted, added, strict=True)]
    connection.executemany(_ADD, [(*group, *counted) for group, counted in sums.items()])
    connection.execute("DELETE FROM position")
    connection.execute("INSERT INTO position VALUES (?)", (entries[-1].id,))
    return entries[-1].id


def _view(groups: list[str], key: tuple[Any, ...], counted: list[int]) -> View:
    view: View = dict(zip(groups, key, strict=True))
    if "day" in view:
        view["day"] = datetime.fromtimestamp(view["day"] * _DAY, UTC).date().isoformat()
    view |= dict(zip(_COUNTS, counted, strict=True))
    return view | {"cost": to_usd(view["cost"]), "uncollected": to_usd(view["uncollected"])}
