"""Requests that come again under the same idempotency key get the first answer, and are charged once.

The whole answer is kept as it was sent, a stream's bytes too, since folding loses what only the provider knows; a
stream that is too long for that is kept folded, and streamed again from that. An answer is written down together with
what it costs, then charged, then it leaves: after a crash in between it is charged when it is asked for again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from nexeon.config import Idempotency
from nexeon.errors import RequestError, StoreError
from nexeon.gateway.observe.metrics import Metrics
from nexeon.gateway.repeats.claims import SCHEMA, Claims
from nexeon.gateway.repeats.owed import Owed, unpacked
from nexeon.store.sqlite import Place, open_database

HEADER: Final = "idempotency-key"
REPLAYED: Final = "x-nexeon-replayed"
"""Set on an answer that was kept."""

FILE: Final = "idempotency.sqlite3"
PROMISED: Final = "promised"
"""In place of a content type: the answer is a stream made in the background, its body the id it is kept under."""

_LASTING: Final = ("x-nexeon-", "cache-control", "x-accel-")
"""Headers that an answer keeps; those that tell where limits stand do not."""

_LONGEST_KEY: Final = 255
_MOST_BYTES: Final = 1024**3
_PRUNE_EVERY: Final = 256
_MOST_UNKEPT: Final = 10_000
_FOLDED: Final = "folded "
"""Before the content type of a stream that is kept folded."""

TABLES: Final = (
    """
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS kept (
    account TEXT NOT NULL, key TEXT NOT NULL, created REAL NOT NULL, print BLOB NOT NULL, kind TEXT NOT NULL,
    headers TEXT NOT NULL, body BLOB, PRIMARY KEY (account, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS kept_created ON kept (created);
CREATE TABLE IF NOT EXISTS kept_owed (
    account TEXT NOT NULL, key TEXT NOT NULL, owed TEXT NOT NULL, PRIMARY KEY (account, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept_of (
    account TEXT NOT NULL, answer TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (account, answer, key)) WITHOUT ROWID;
"""
    + SCHEMA
)
_Row = tuple[bytes, str, str, bytes | None, str | None]
_log = logging.getLogger("nexeon.gateway")


@dataclass(frozen=True, slots=True)
class Kept:
    """The first answer, compressed by `zlib` (None: it is lost), with its content type and headers; `folded`: it is a
    stream's, folded, as JSON; `owed`: its charge may not have been made."""

    packed: bytes | None
    kind: str
    headers: dict[str, str]
    folded: bool = False
    owed: Owed | None = None

    def body(self) -> bytes:
        """Of an answer that is not lost."""
        assert self.packed is not None
        return zlib.decompress(self.packed)


Collect = Callable[[Owed], Awaitable[None]]
"""Makes a charge, unless it was made. Raises StoreError."""


class Claim:
    """A request that is the first of its key. It ends with `keep`, `release`, or, once it is committed, with `end`;
    what comes after that does nothing."""

    def __init__(self, owner: Repeats, account: str, key: str, mark: bytes) -> None:
        self._owner = owner
        self._account = account
        self._key = key
        self._mark = mark
        self._open = True

    def commit(self) -> bool:
        """The answer is there: it will be written and charged whether or not its client stays. False: too late."""
        was, self._open = self._open, False
        return was

    async def write(self, answer: Kept, owed: Owed | None, id: str | None = None) -> None:
        """Of a committed one: keeps the answer, which is `owed` and is also known by that id."""
        await self._owner.keep(self._account, self._key, self._mark, answer, owed, id)

    def end(self, *, booked: bool) -> None:
        """Of a committed one: it was charged, or could not be."""
        self._owner.settled(self._account, self._key, booked=booked)
        self._owner.done(self._account, self._key)

    async def keep(self, answer: Kept, id: str | None = None) -> None:
        """Keeps an answer that has nothing to do with a charge."""
        if self.commit():
            try:
                await self.write(answer, None, id)
            finally:
                self._owner.done(self._account, self._key)

    def release(self) -> None:
        """The call failed, or was given up: the next one with this key is the first again."""
        if self.commit():
            self._owner.done(self._account, self._key)


class Repeats:
    """The answers of keyed requests, in a place (None: in memory), and those under way."""

    def __init__(
        self,
        settings: Idempotency,
        place: Place,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        *,
        most: int = _MOST_BYTES,
    ) -> None:
        """`most` bytes are kept in all."""
        self._most = most
        self.settings = settings
        self._metrics = metrics
        self._clock = clock
        self._running: dict[tuple[str, str], bytes] = {}
        self._database = open_database(place, FILE, TABLES, durable=True)
        self._claims = Claims(self._database, clock)
        self._kept = 0
        self._unkept: dict[tuple[str, str], bytes] = {}
        self._booked: set[tuple[str, str]] = set()
        self._collecting: set[asyncio.Task[None]] = set()

    @property
    def active(self) -> bool:
        return self.settings.hours > 0

    @property
    def max_bytes(self) -> int:
        """Of a stream's compressed bytes: beyond them it is kept folded."""
        return self.settings.max_bytes

    async def claim(
        self, account: str, key: str, path: str, body: bytes, collect: Collect | None = None
    ) -> Claim | Kept:
        """The answer that is kept under the account's key, or the right to make it. `collect` is asked to charge an
        answer that a crash may have left without its charge.

        Raises RequestError: 400 for a key that is none, 409 where the first request is still running or its answer
        could not be kept, 422 for a key that came with another request, 503 where nothing can be read.
        """
        if not key or len(key) > _LONGEST_KEY or not key.isprintable():
            raise RequestError(
                400, "invalid_request", f"{HEADER} must be text of 1 to {_LONGEST_KEY} characters", retryable=False
            )
        mark = blake2b(path.encode() + b"\0" + body, digest_size=32).digest()
        running = self._running.get((account, key))
        if running is not None:
            raise self._in_use(running, mark)
        self._running[account, key] = mark  # before the first await: a second request must see it
        try:
            kept = await self._find(account, key, mark)
        except BaseException:
            self.done(account, key)
            raise
        if kept is None and self._unkept.get((account, key)) != mark:
            self._claims.hold(account, key)
            return Claim(self, account, key, mark)
        if kept is not None and kept.packed is not None and kept.owed is not None and collect is not None:
            self._claims.hold(account, key)
            await self._collect(account, key, kept.owed, collect)
        else:
            self.done(account, key)
        if kept is None or kept.packed is None:
            self._metrics.repeated("lost")
            raise RequestError(
                409,
                "conflict",
                f"the first request with this {HEADER} was answered and charged, but its answer is not there any more",
                code="idempotent_answer_not_kept",
                retryable=False,
            )
        self._metrics.repeated("replayed")
        return kept

    async def _collect(self, account: str, key: str, owed: Owed, collect: Collect) -> None:
        """In a task of its own: a client that leaves must not have it charged by two at once."""

        async def work() -> None:
            booked = False
            try:
                await collect(owed)
                booked = True
            finally:
                self.settled(account, key, booked=booked)
                self.done(account, key)

        task = asyncio.get_running_loop().create_task(work())
        self._collecting.add(task)
        task.add_done_callback(self._collecting.discard)
        try:
            await asyncio.shield(task)
        except StoreError as error:
            raise RequestError(503, "unavailable", "the call could not be booked", code="store_unavailable") from error

    def _in_use(self, first: bytes, mark: bytes) -> RequestError:
        self._same(first, mark)
        self._metrics.repeated("running")
        return RequestError(
            409,
            "conflict",
            f"the first request with this {HEADER} is still running",
            code="idempotency_key_in_use",
            retry_after=1.0,
        )

    async def keep(
        self, account: str, key: str, mark: bytes, answer: Kept, owed: Owed | None = None, id: str | None = None
    ) -> None:
        """Writes an answer, with what is `owed` for it and the `id` under which it can be deleted; a failure is logged,
        since the answer itself is good: it just cannot come again."""
        now = self._clock()
        lasting = {name: value for name, value in answer.headers.items() if name.startswith(_LASTING)}
        kind = _FOLDED + answer.kind if answer.folded else answer.kind
        row = (account, key, now, mark, kind, json.dumps(lasting), answer.packed)
        self._kept += 1
        prune = self._kept % _PRUNE_EVERY == 1

        booked = list(self._booked)

        def write(connection: sqlite3.Connection) -> None:
            self._strike(connection, booked)
            connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            if id is not None:
                connection.execute("INSERT OR REPLACE INTO kept_of VALUES (?, ?, ?)", (account, id, key))
            if owed is not None:  # the claim is held until it is charged
                connection.execute("INSERT OR REPLACE INTO kept_owed VALUES (?, ?, ?)", (account, key, owed.packed()))
            else:
                self._claims.drop(connection, account, key)
            if prune:
                self._prune(connection, now)

        try:
            await self._database.run(write)
            self._booked.difference_update(booked)
        except StoreError as error:
            _log.error("an answer could not be kept for its %s: %s", HEADER, error)
            self._unkept[account, key] = mark
            if len(self._unkept) > _MOST_UNKEPT:
                del self._unkept[next(iter(self._unkept))]

    def settled(self, account: str, key: str, *, booked: bool) -> None:
        """What is owed for an answer was charged, or could not be."""
        if booked:
            self._booked.add((account, key))
        else:
            self._unkept.pop((account, key), None)

    async def forget(self, account: str, id: str) -> None:
        """Deletes what the answer of that id said; its keys stay known: it was charged. Raises StoreError."""

        def remove(connection: sqlite3.Connection) -> int:
            return connection.execute(
                "UPDATE kept SET body = NULL WHERE account = ? AND body IS NOT NULL AND key IN "
                "(SELECT key FROM kept_of WHERE account = ? AND answer = ?)",
                (account, account, id),
            ).rowcount

        if await self._database.run(remove):
            await self._database.checkpoint()

    async def forget_account(self, account: str) -> None:
        """Deletes whatever an account was answered. Raises StoreError."""

        def remove(connection: sqlite3.Connection) -> int:
            for table in ("kept_of", "kept_owed"):
                connection.execute(f"DELETE FROM {table} WHERE account = ?", (account,))
            return connection.execute("DELETE FROM kept WHERE account = ?", (account,)).rowcount

        if await self._database.run(remove):
            await self._database.checkpoint()

    def _strike(self, connection: sqlite3.Connection, booked: list[tuple[str, str]]) -> None:
        for each in booked:
            connection.execute("DELETE FROM kept_owed WHERE account = ? AND key = ?", each)

    def done(self, account: str, key: str) -> None:
        """The request with this key is not running any more."""
        self._running.pop((account, key), None)
        self._claims.release(account, key)

    async def close(self) -> None:
        if self._collecting:
            await asyncio.wait(self._collecting)
        await self._claims.close()
        if booked := list(self._booked):
            try:
                await self._database.run(lambda connection: self._strike(connection, booked))
                self._booked.difference_update(booked)
            except StoreError as error:  # the ledger tells all the same
                _log.error("what was charged could not be noted: %s", error)
        await self._database.close()

    async def _find(self, account: str, key: str, mark: bytes) -> Kept | None:
        oldest = self._clock() - self.settings.hours * 3600

        def read(connection: sqlite3.Connection) -> tuple[bytes | None, _Row | None]:
            # First the claim: who had it before has kept the answer by the time that it can be taken.
            other = self._claims.take(connection, account, key, mark)
            found: _Row | None = connection.execute(
                "SELECT kept.print, kept.kind, kept.headers, kept.body, kept_owed.owed FROM kept LEFT JOIN kept_owed "
                "ON kept_owed.account = kept.account AND kept_owed.key = kept.key "
                "WHERE kept.account = ? AND kept.key = ? AND kept.created > ?",
                (account, key, oldest),
            ).fetchone()
            if found is not None and other is None and found[4] is None:
                self._claims.drop(connection, account, key)
            return other, found

        try:
            other, row = await self._database.run(read)
        except StoreError as error:
            raise RequestError(
                503, "unavailable", "kept answers cannot be read at the moment", code="store_unavailable"
            ) from error
        if other is not None and (row is None or row[4] is not None):
            raise self._in_use(other, mark)
        if row is None:
            return None
        first, kind, headers, body, due = row
        self._same(first, mark)
        owed = unpacked(due) if due is not None and (account, key) not in self._booked else None
        return Kept(body, kind.removeprefix(_FOLDED), json.loads(headers), kind.startswith(_FOLDED), owed)

    def _same(self, first: bytes, mark: bytes) -> None:
        if first != mark:
            self._metrics.repeated("different")
            raise RequestError(
                422,
                "unprocessable",
                f"this {HEADER} was used for another request",
                code="idempotency_key_reused",
                retryable=False,
            )

    def _prune(self, connection: sqlite3.Connection, now: float) -> None:
        """What is too old goes, then the oldest until the rest is few enough, and what they said until it is small."""
        connection.execute("DELETE FROM kept WHERE created <= ?", (now - self.settings.hours * 3600,))
        size, count = 0, 0
        emptied = last = None
        for created, length in connection.execute("SELECT created, length(body) FROM kept ORDER BY created DESC"):
            size, count = size + (length or 0), count + 1
            if size > self._most and emptied is None:
                emptied = created
            if count > self.settings.entries:
                last = created
                break
        if emptied is not None:  # their keys stay known: what was charged must not be charged again
            connection.execute("UPDATE kept SET body = NULL WHERE created <= ? AND body IS NOT NULL", (emptied,))
        if last is not None:
            connection.execute("DELETE FROM kept WHERE created <= ?", (last,))
        for table in ("kept_owed", "kept_of"):
            connection.execute(
                f"DELETE FROM {table} WHERE NOT EXISTS (SELECT 1 FROM kept WHERE kept.account = {table}.account "
                f"AND kept.key = {table}.key)"
            )
