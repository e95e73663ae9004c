"""The PostgreSQL engine: the truth is in the database, records are known in memory, money moves in batches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal

import orjson

from nexeon.errors import NotFound, StoreError
from nexeon.store.memory import check_amount, detail_of
from nexeon.store.postgres.batch import Batcher, Order
from nexeon.store.postgres.connections import Connections, ended, let_go, shown, told
from nexeon.store.postgres.migrations import migrate
from nexeon.store.postgres.piece import ENTRY, Needs, Piece, entry_of
from nexeon.store.postgres.replica import FORGOTTEN, Replica
from nexeon.store.postgres.side import SharedPlace
from nexeon.store.postgres.vault import SharedVault
from nexeon.store.records import (
    Account,
    ApiKey,
    Balance,
    Budget,
    Detail,
    LedgerEntry,
    ProviderKey,
    Record,
    Reservation,
)
from nexeon.store.secrets import new_id
from nexeon.store.sqlite import Place
from nexeon.store.state import entry_id, entry_number

log = logging.getLogger(__name__)

RESERVE: Final = 3.0
BOOK: Final = 10.0
"""Seconds that a reservation, and a charge, wait for a database that cannot be reached."""

_ALIVE: Final = 5.0
GONE: Final = 30.0
"""A gateway tells every so often that it lives; its calls are orphans when it has not for so long."""

_HOUSEKEEPING: Final = 15.0
_SWEPT_AT_ONCE: Final = 500
_LATE: Final = """
SELECT id, account, key, NOT alive AS orphan FROM (
    SELECT *, EXISTS (SELECT FROM gateways AS g WHERE g.id = r.owner AND g.seen > now() - $2::float8 * interval '1 s')
        AS alive FROM reservations AS r) AS r
WHERE expires <= $1 OR NOT alive ORDER BY created LIMIT $3
"""


class PostgresStore:
    """Implements `Store`. Made by `PostgresStore.open`."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._url = url
        self._clock = clock
        self._vault = SharedVault()
        self.connections = Connections(url)
        self.gateway = new_id("gw")
        self._batcher = Batcher(self.connections, self._piece, clock, self.gateway)
        self._replica = Replica(self.connections, clock, self._vault)
        self._registered = False
        self._housekeeper: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, url: str, *, clock: Callable[[], float] = time.time) -> PostgresStore:
        """Shapes the database where that is needed. Raises StoreError for one that refuses, StoreUnavailable."""
        store = cls(url, clock)
        connection: Any = None
        try:
            with told(store.connections.name):
                connection = await store.connections.fresh()
                for step in await migrate(connection):
                    log.info("%s: migration %04d (%s) was made", store.connections.name, step.number, step.name)
                await store._vault.check(connection)
            await store._replica.start()
        except BaseException:
            await store.close()
            raise
        finally:
            await let_go(connection)
        store._housekeeper = asyncio.create_task(store._keep_house())
        return store

    @property
    def url(self) -> str:
        """Without the password."""
        return shown(self._url)

    @property
    def place(self) -> Place:
        return SharedPlace(self.connections)

    @property
    def reachable(self) -> bool:
        """Whether the last that was asked of the database was answered."""
        return not self._batcher.failing

    def _piece(self) -> Piece:
        return Piece(self._clock, self._vault, self.gateway)

    # The way of a request

    def find_key(self, secret: str) -> tuple[ApiKey, Account] | None:
        return self._replica.find_key(secret)

    def provider_keys(self, provider: str) -> Sequence[tuple[ProviderKey, str]]:
        return self._replica.provider_keys(provider)

    async def reserve(self, account: str, key: str, amount: int, *, ttl: float, detail: Detail) -> Reservation:
        check_amount(amount)
        orjson.dumps(detail)
        if not self._registered:
            await self._register()

        async def work(piece: Piece) -> Reservation:
            held = await piece.reserve(account, key, amount, ttl=ttl, detail=detail)
            order.token = held.id
            return held

        order = self._order(Needs({account}, {key}), work, RESERVE, new_id("rsv"))
        told = detail_of(detail)
        now = self._clock()
        if not self._replica.has_budget(key):
            order.facts = {
                "verb": "reserve", "id": order.token, "account": account, "key": key, "amount": amount,
                "created": now, "expires": now + ttl, "detail": told,
            }  # fmt: skip
        made = Reservation(order.token, account, key, amount, now, now + ttl, detail=told)
        order.told = lambda answer: made
        try:
            held: Reservation = await self._batcher.do(order)
        except (asyncio.CancelledError, StoreError):
            # Nobody will ever settle what comes of it.
            order.future.add_done_callback(self._give_back)
            raise
        return held

    def _give_back(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None and not self._closed:
            self._batcher.later(self._releasing(future.result()))

    async def begin(self, reservation: Reservation) -> None:
        async def work(piece: Piece) -> None:
            await piece.begin(reservation)

        order = self._order(_of(reservation), work, BOOK)
        order.facts = _facts("begin", reservation)
        self._batcher.later(order)

    async def renew(self, reservation: Reservation, ttl: float) -> None:
        async def work(piece: Piece) -> None:
            await piece.renew(reservation, ttl)

        await self._batcher.do(self._order(_of(reservation), work, BOOK))

    async def settle(
        self, reservation: Reservation, amount: int, *, detail: Detail, estimated: bool = False
    ) -> LedgerEntry:
        check_amount(amount)
        orjson.dumps(detail)

        async def work(piece: Piece) -> LedgerEntry:
            return await piece.settle(reservation, amount, detail=detail, estimated=estimated)

        order = self._order(_of(reservation, entries=True), work, BOOK, reservation.id)
        order.closes = True
        facts: dict[str, Any] = {**_NOTHING, **reservation.detail, **detail_of(detail)}
        order.facts = {
            "verb": "settle", "id": reservation.id, "account": reservation.account, "key": reservation.key,
            "amount": amount, "estimated": estimated, **facts,
        }  # fmt: skip

        def told(answer: Any) -> LedgerEntry:
            number, balance, previous, created = answer
            charge = LedgerEntry(
                id=entry_id(number),
                account=reservation.account,
                kind="charge",
                amount=-amount,
                balance=balance,
                previous=entry_id(previous) if previous else "",
                created=created,
                key=reservation.key,
                estimated=estimated,
                **facts,
            )
            self._replica.warn(charge)
            return charge

        order.told = told
        charge: LedgerEntry = await self._batcher.do(order)
        return charge

    async def release(self, reservation: Reservation) -> None:
        await self._batcher.do(self._releasing(reservation))

    def _releasing(self, reservation: Reservation) -> Order:
        async def work(piece: Piece) -> None:
            await piece.release(reservation)

        order = self._order(_of(reservation), work, BOOK)
        order.facts = _facts("release", reservation)
        return order

    def _order(self, needs: Needs, work: Callable[[Piece], Awaitable[Any]], wait: float, token: str = "") -> Order:
        return Order(needs, work, time.monotonic() + wait, token)

    # Money

    async def _look(self, needs: Needs) -> Piece:
        """A piece to look at."""
        await self._batcher.flush()
        piece = self._piece()
        async with self.connections.one() as connection:
            await piece.load(connection, needs, lock=False)
        return piece

    async def balance(self, account: str) -> Balance:
        return await (await self._look(Needs({account}))).balance(account)

    async def budget(self, key: str) -> Budget:
        return await (await self._look(Needs(set(), {key}))).budget(key)

    async def post(
        self,
        account: str,
        kind: Literal["grant", "refund", "adjustment", "expiry"],
        amount: int,
        *,
        reason: str = "",
        detail: Detail | None = None,
        expires: float | None = None,
        key: str = "",
    ) -> LedgerEntry:
        orjson.dumps(detail)
        token = new_id("post")

        async def work(piece: Piece) -> LedgerEntry:
            entry = await piece.post(account, kind, amount, reason=reason, detail=detail, expires=expires, key=key)
            piece.tokens[entry.id] = token
            return entry

        needs = Needs({account}, {key} if key else set(), entries=True)
        entry: LedgerEntry = await self._batcher.do(self._order(needs, work, BOOK, token))
        return entry

    async def ledger(self, account: str, *, before: str | None = None, limit: int = 100) -> list[LedgerEntry]:
        await self._batcher.flush()
        async with self.connections.one() as connection:
            if not await connection.fetchval("SELECT EXISTS (SELECT FROM wallets WHERE account = $1)", account):
                raise NotFound(f"no account `{account}`")
            most = 2**62
            if before is not None:
                most = entry_number(before)
                if not await connection.fetchval("SELECT EXISTS (SELECT FROM ledger WHERE number = $1)", most):
                    raise NotFound(f"no ledger entry `{before}`")
            query = ENTRY + "WHERE account = $1 AND number < $2 ORDER BY number DESC LIMIT $3"
            return [entry_of(row) for row in await connection.fetch(query, account, most, limit)]

    async def history(self, *, after: str = "", limit: int = 1000) -> list[LedgerEntry]:
        await self._batcher.flush()
        async with self.connections.one() as connection:
            query = ENTRY + "WHERE number > $1 ORDER BY number LIMIT $2"
            return [entry_of(row) for row in await connection.fetch(query, entry_number(after), limit)]

    async def entry(self, entry: str) -> LedgerEntry:
        async with self.connections.one() as connection:
            row = await connection.fetchrow(ENTRY + "WHERE number = $1", min(entry_number(entry), 2**62))
        if row is None:
            raise NotFound(f"no ledger entry `{entry}`")
        return entry_of(row)

    async def reservations(self, account: str | None = None) -> list[Reservation]:
        await self._batcher.flush()
        query = """
            SELECT id, account, key, amount, created, expires, started, detail FROM reservations
            WHERE $1::text IS NULL OR account = $1 ORDER BY created, id
        """
        async with self.connections.one() as connection:
            rows = await connection.fetch(query, account)
        return [Reservation(**{**row, "detail": orjson.loads(row["detail"])}) for row in rows]

    async def sweep(self) -> int:
        await self._batcher.flush()
        closed = 0
        while True:
            async with self.connections.one() as connection:
                late = await connection.fetch(_LATE, self._clock(), GONE, _SWEPT_AT_ONCE)
            if not late:
                break
            found = await self._close_orphans(late)
            closed += found
            if not found:
                break
        async with self.connections.one() as connection:
            query = "SELECT account FROM wallets JOIN accounts ON id = account WHERE expires <= $1 ORDER BY account"
            due = [row["account"] for row in await connection.fetch(query, self._clock())]
        for account in due:
            await self._take_back(account)
        return closed

    async def _close_orphans(self, late: Sequence[Any]) -> int:
        ids = [row["id"] for row in late]
        orphans = {row["id"] for row in late if row["orphan"]}

        async def work(piece: Piece) -> int:
            return piece.finish(ids, orphans=orphans)

        needs = Needs({row["account"] for row in late}, {row["key"] for row in late}, set(ids), entries=True)
        found: int = await self._batcher.do(self._order(needs, work, BOOK))
        return found

    async def _take_back(self, account: str) -> None:
        async def work(piece: Piece) -> None:
            piece.take_back(account)

        await self._batcher.do(self._order(Needs({account}, entries=True), work, BOOK))

    # Records

    async def add(self, record: Record) -> None:
        await self._change(record, lambda piece: piece.add(record))

    async def replace(self, record: Record) -> None:
        await self._change(record, lambda piece: piece.replace(record))

    async def remove(self, record: Record) -> None:
        await self._change(record, lambda piece: piece.remove(record), entries=isinstance(record, Account))

    async def _change(self, record: Record, work: Callable[[Piece], Awaitable[None]], *, entries: bool = False) -> None:
        """One change of records at a time, in all gateways; they are rare."""
        await self._batcher.flush()
        needs = Needs(entries=entries)
        if isinstance(record, Account):
            needs.accounts, needs.whole = {record.id}, {record.id}
        elif isinstance(record, ApiKey):
            needs.accounts = {record.account}
        async with self.connections.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext(current_schema()))")
            piece = self._piece()
            await piece.load(connection, needs)
            await piece.load_records(connection, record)
            await work(piece)
            await piece.write(connection)
        await self._replica.pull()

    async def account(self, name: str) -> Account:
        return await (await self._records()).account(name)

    async def api_key(self, key: str) -> ApiKey:
        return await (await self._records()).api_key(key)

    async def provider_key(self, key: str) -> ProviderKey:
        return await (await self._records()).provider_key(key)

    async def accounts(self) -> list[Account]:
        return await (await self._records()).accounts()

    async def api_keys(self, account: str | None = None) -> list[ApiKey]:
        return await (await self._records()).api_keys(account)

    async def all_provider_keys(self) -> list[ProviderKey]:
        return await (await self._records()).all_provider_keys()

    async def _records(self) -> Replica:
        """With everything that has been changed until now, wherever."""
        await self._replica.pull()
        return self._replica

    def seal(self, secret: str) -> str:
        return self._vault.encrypt(secret)

    def unseal(self, sealed: str) -> str:
        return self._vault.decrypt(sealed)

    # Housekeeping

    async def _register(self) -> None:
        query = """
            INSERT INTO gateways (id, words) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET seen = now()
        """
        async with self.connections.one() as connection:
            await connection.execute(query, self.gateway, f"process {os.getpid()} on {socket.gethostname()}")
        self._registered = True

    async def others(self) -> list[str]:
        """What other gateways with calls of their own are, in words."""
        query = "SELECT words FROM gateways WHERE id <> $1 AND seen > now() - $2::float8 * interval '1 s'"
        async with self.connections.one() as connection:
            return [row["words"] for row in await connection.fetch(query, self.gateway, GONE)]

    async def _keep_house(self) -> None:
        swept = time.monotonic() - random.uniform(0, _HOUSEKEEPING)
        while not self._closed:
            await asyncio.sleep(_ALIVE)
            try:
                if self._registered:
                    await self._register()
                if time.monotonic() - swept > _HOUSEKEEPING:
                    await self.sweep()
                    swept = time.monotonic()
                    await self._forget_old()
            except StoreError as error:
                log.error("housekeeping of %s failed: %s", self.connections.name, error)

    async def _forget_old(self) -> None:
        async with self.connections.one() as connection:
            query = "DELETE FROM record_changes WHERE made < now() - $1::float8 * interval '1 s'"
            await connection.execute(query, FORGOTTEN)
            await connection.execute("DELETE FROM gateways WHERE seen < now() - interval '1 day'")

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._housekeeper is not None:
            await ended(self._housekeeper)
        await self._replica.stop()
        await self._batcher.close()
        if self._registered:
            with contextlib.suppress(StoreError):
                async with self.connections.one() as connection:
                    await connection.execute("DELETE FROM gateways WHERE id = $1", self.gateway)
        await self.connections.close()


_NOTHING: Final[dict[str, Any]] = {
    "request": "", "model": "", "provider": "", "usage": {}, "price": {}, "reason": "",
}  # fmt: skip


def _facts(verb: str, reservation: Reservation) -> dict[str, Any]:
    return {"verb": verb, "id": reservation.id, "account": reservation.account, "key": reservation.key}


def _of(reservation: Reservation, *, entries: bool = False) -> Needs:
    return Needs({reservation.account}, {reservation.key}, {reservation.id}, entries=entries)
