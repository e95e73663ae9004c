"""The log of requests: one record each, written behind the requests' backs, kept for a while.

A record is a dict with `id` and what else is known of: `started`, `ended` (Unix seconds), `steps` (seconds since the
start by step), `account`, `key`, `model`, `provider`, `format`, `status` (HTTP), `error`, `stream`, `attempts`,
`usage`, `cost` (nano-USD), `estimated`, `dropped` (of the request), `lost` (of the answer), `doubts` (what its usage
tells amiss). BODIES are bytes, kept only where that is switched on: the client's request and its answer, and those of
the provider that was asked last.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from nexeon.errors import NotFound, StoreError
from nexeon.store.redact import redacted
from nexeon.store.sqlite import Place, open_database

log = logging.getLogger(__name__)

FILE: Final = "requests.sqlite3"
COLUMNS: Final = ("account", "key", "model", "provider", "status")
"""What a listing can be narrowed by."""

BODIES: Final = ("request", "response", "upstream_request", "upstream_response")
_TABLES: Final = {"bodies": BODIES[:2], "upstream_bodies": BODIES[2:]}

TABLES: Final = """
CREATE TABLE IF NOT EXISTS requests (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, started REAL NOT NULL, account TEXT, key TEXT, model TEXT,
    provider TEXT, status INTEGER, facts BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS requests_id ON requests (id);
CREATE INDEX IF NOT EXISTS requests_started ON requests (started);
CREATE INDEX IF NOT EXISTS requests_account ON requests (account, number);
CREATE INDEX IF NOT EXISTS requests_key ON requests (key, number);
CREATE INDEX IF NOT EXISTS requests_model ON requests (model, number);
CREATE INDEX IF NOT EXISTS requests_provider ON requests (provider, number);
CREATE INDEX IF NOT EXISTS requests_status ON requests (status, number);
CREATE INDEX IF NOT EXISTS requests_failed ON requests (number) WHERE status >= 400;
CREATE INDEX IF NOT EXISTS requests_failed_account ON requests (account, number) WHERE status >= 400;
CREATE INDEX IF NOT EXISTS requests_failed_key ON requests (key, number) WHERE status >= 400;
CREATE INDEX IF NOT EXISTS requests_failed_model ON requests (model, number) WHERE status >= 400;
CREATE INDEX IF NOT EXISTS requests_failed_provider ON requests (provider, number) WHERE status >= 400;
CREATE TABLE IF NOT EXISTS bodies (number INTEGER PRIMARY KEY, request BLOB, response BLOB);
CREATE TABLE IF NOT EXISTS upstream_bodies (number INTEGER PRIMARY KEY, request BLOB, response BLOB);
"""
_WAIT: Final = 0.2
_BATCH: Final = 1000
_PRUNE_EVERY: Final = 600.0
_PRUNE_AT_ONCE: Final = 5000
_AT_ONCE: Final = 100
_COUNTED: Final = 10_000
"""Records after which a column is as bad to go by as any other."""


Row = dict[str, Any]
Rows = list[Row]


class RequestLog:
    """`record` while requests run; `list` and `show` for operators. `dropped` counts what could not be kept. `clean`
    takes out of bodies, in any thread, what is secret beside what looks so."""

    def __init__(
        self,
        place: Place,
        *,
        enabled: bool = True,
        retention: float = 30 * 86_400.0,
        bodies: bool = False,
        body_limit: int = 64 * 1024,
        redact: tuple[str, ...] = (),
        queue: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """In memory without a place. The rest but the clock is as `configure` has it."""
        self.clean: Callable[[str], str] = lambda text: text
        self.dropped = 0
        self._database = open_database(place, FILE, TABLES, durable=False)
        self._clock = clock
        self._retention = retention
        self._pruned = 0.0
        self.configure(
            enabled=enabled, retention=retention, bodies=bodies, body_limit=body_limit, redact=redact, queue=queue
        )
        self._queue: Rows = []
        self._recorded = self._done = 0
        self._writing: asyncio.Task[None] | None = None
        self._failing = False
        self._closed = False

    def configure(
        self, *, enabled: bool, retention: float, bodies: bool, body_limit: int, redact: tuple[str, ...], queue: int
    ) -> None:
        """Goes by this from now on. `retention` in seconds, `body_limit` in bytes; `redact` names secret fields;
        `queue` records may wait to be written. Without `enabled` nothing is recorded, nor is the file opened."""
        self.enabled = enabled
        self.bodies = bodies and enabled
        if retention != self._retention:
            self._pruned = 0.0
        self._retention = retention
        self._body_limit = body_limit
        self._redact = redact
        self._most = queue

    def record(self, record: Row) -> None:
        """Takes a record, which must not be changed any more. Never waits and never fails: what cannot be kept is
        dropped, and counted."""
        if not self.enabled:
            return
        if self._closed or len(self._queue) >= self._most:
            self.dropped += 1
            return
        self._queue.append(record)
        self._recorded += 1
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def list(
        self, filters: Mapping[str, Any] | None = None, *, before: str | None = None, limit: int = 100
    ) -> Rows:
        """Newest first; `filters` are values of COLUMNS, `since` and `until` (Unix seconds), and `failed` (True: those
        of status 400 and more); `before` is the id of the last one of the page before. Raises NotFound (no such id),
        StoreUnavailable."""
        await self.flush()
        wanted = dict(filters or {})
        if strange := wanted.keys() - {*COLUMNS, "failed", "since", "until"}:
            raise ValueError(f"no filter `{min(strange)}`")

        def read(connection: sqlite3.Connection) -> Rows:
            conditions, values = _conditions(wanted, _rarest(connection, wanted))
            if before is not None:
                conditions.append("number < ?")
                values.append(_number(connection, before))
            where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
            # The conditions' texts are ours, what they compare with is bound.
            query = f"SELECT facts FROM requests {where} ORDER BY number DESC LIMIT ?"
            return [orjson.loads(facts) for (facts,) in connection.execute(query, (*values, limit))]

        return await self._database.run(read)

    async def follow(self, after: int | None, since: float, limit: int) -> tuple[Rows, int]:
        """What was written after the record of number `after`, or from `since` (Unix seconds) on where that is None:
        the oldest `limit` records of it, oldest first, and the number of the last one. What is still to be written is
        not waited for. Raises StoreUnavailable."""

        def read(connection: sqlite3.Connection) -> tuple[Rows, int]:
            last = after
            if last is None:
                query = "SELECT number FROM requests WHERE started >= ? ORDER BY started LIMIT 1"
                first = connection.execute(query, (since,)).fetchone()
                if first is None:
                    (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM requests").fetchone()
                    return [], int(last)
                last = first[0] - 1
            query = "SELECT number, facts FROM requests WHERE number > ? ORDER BY number LIMIT ?"
            rows = connection.execute(query, (last, limit)).fetchall()
            return [orjson.loads(facts) for _, facts in rows], int(rows[-1][0]) if rows else int(last)

        return await self._database.run(read)

    async def last_used(self, keys: Sequence[str]) -> dict[str, float]:
        """When the newest request of each key began (Unix seconds), of those that have any. What is still to be written
        is not waited for. Raises StoreUnavailable."""

        def read(connection: sqlite3.Connection) -> dict[str, float]:
            found: dict[str, float] = {}
            for begin in range(0, len(keys), _AT_ONCE):
                part = keys[begin : begin + _AT_ONCE]
                # `column1` is what both databases call it
                query = (
                    "SELECT column1, (SELECT started FROM requests WHERE key = column1 ORDER BY number DESC LIMIT 1) "
                    f"FROM (VALUES {', '.join(['(?)'] * len(part))}) AS wanted"
                )
                found |= {key: started for key, started in connection.execute(query, part) if started is not None}
            return found

        return await self._database.run(read) if keys else {}

    async def show(self, request: str) -> Row:
        """One record, with its bodies where they were kept. Raises NotFound, StoreUnavailable."""
        await self.flush()

        def read(connection: sqlite3.Connection) -> Row:
            number = _number(connection, request)
            (facts,) = connection.execute("SELECT facts FROM requests WHERE number = ?", (number,)).fetchone()
            found: Row = orjson.loads(facts)
            for table, names in _TABLES.items():
                query = f"SELECT request, response FROM {table} WHERE number = ?"
                for name, body in zip(names, connection.execute(query, (number,)).fetchone() or (), strict=False):
                    found[name] = zlib.decompress(body).decode() if body is not None else None
            return found

        return await self._database.run(read)

    async def flush(self) -> None:
        """Returns once what has been recorded so far is written, or was dropped."""
        wanted = self._recorded
        while self._done < wanted and self._writing is not None:
            await asyncio.shield(self._writing)

    async def close(self) -> None:
        self._closed = True
        await self.flush()
        await self._database.close()

    async def _write(self) -> None:
        try:
            if not self._closed:
                await asyncio.sleep(_WAIT)
            while self._queue:
                batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
                await self._insert(batch)
                self._done += len(batch)
            if self._clock() - self._pruned > _PRUNE_EVERY:
                await self._prune()
        finally:
            self._writing = None
        if self._queue:  # what came while old records were deleted
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _insert(self, batch: Rows) -> None:
        try:
            await self._database.run(lambda connection: self._insert_rows(connection, batch))
            self._failing = False
        except (StoreError, TypeError) as error:
            self.dropped += len(batch)
            if not self._failing:
                log.error("the request log cannot be written: %s", error)
            self._failing = True

    def _insert_rows(self, connection: sqlite3.Connection, batch: Rows) -> None:
        columns = ("id", "started", *COLUMNS, "facts")
        query = f"INSERT INTO requests ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        if not self.bodies:
            connection.executemany(query, [self._row(record) for record in batch])
            return
        for record in batch:
            (number,) = connection.execute(query + " RETURNING number", self._row(record)).fetchone()
            for table, names in _TABLES.items():
                bodies = [self._body(record.get(name)) for name in names]
                if any(body is not None for body in bodies):
                    connection.execute(f"INSERT INTO {table} VALUES (?, ?, ?)", (number, *bodies))

    def _row(self, record: Row) -> tuple[Any, ...]:
        facts = {name: value for name, value in record.items() if name not in BODIES}
        named = (record.get(name) for name in COLUMNS)
        return record["id"], record.get("started", self._clock()), *named, orjson.dumps(facts)

    def _body(self, body: Any) -> bytes | None:
        if not self.bodies or not isinstance(body, bytes):
            return None
        return zlib.compress(self.clean(redacted(body, self._body_limit, self._redact)).encode())

    async def _prune(self) -> None:
        """A slice at a time, so that writing goes on between."""
        self._pruned = self._clock()
        oldest = self._pruned - self._retention

        def prune(connection: sqlite3.Connection) -> int:
            query = "SELECT number FROM requests WHERE started < ? LIMIT ?"
            numbers = connection.execute(query, (oldest, _PRUNE_AT_ONCE)).fetchall()
            connection.executemany("DELETE FROM requests WHERE number = ?", numbers)
            for table in _TABLES:
                connection.executemany(f"DELETE FROM {table} WHERE number = ?", numbers)
            return len(numbers)

        try:
            while await self._database.run(prune) == _PRUNE_AT_ONCE:
                pass
        except StoreError as error:
            log.error("old records of the request log cannot be deleted: %s", error)


def _rarest(connection: sqlite3.Connection, wanted: Mapping[str, Any]) -> str:
    """The column whose index leads to the fewest records, "" where none is looked at. (What a database guesses is the
    same for every value.)"""
    columns = [name for name in COLUMNS if name in wanted]
    if len(columns) < 2:
        return "".join(columns)

    def records(name: str) -> int:
        query = f"SELECT count(*) FROM (SELECT 1 FROM requests WHERE {name} = ? LIMIT ?) AS counted"
        (count,) = connection.execute(query, (wanted[name], _COUNTED)).fetchone()
        return int(count)

    return min(columns, key=records)


def _conditions(wanted: Mapping[str, Any], led: str) -> tuple[list[str], list[Any]]:
    """The conditions, which keep to the index of the column `led`, and what they compare with."""
    conditions: list[str] = []
    values: list[Any] = []
    for name, value in wanted.items():
        if name == "failed":
            conditions.append("status >= 400" if value else "status < 400")
            continue
        if name in COLUMNS:
            plain = {"status": "status + 0"}.get(name, f"{name} || ''")  # which no index knows
            conditions.append(f"{name if name == led else plain} = ?")
            if name == "status" and name != led and value >= 400:
                conditions.append("status >= 400")  # what the indices of failures need to see
        else:
            conditions.append("started >= ?" if name == "since" else "started < ?")
        values.append(value)
    return conditions, values


def _number(connection: sqlite3.Connection, request: str) -> int:
    row = connection.execute("SELECT number FROM requests WHERE id = ? ORDER BY number DESC", (request,)).fetchone()
    if row is None:
        raise NotFound(f"no request `{request}` in the log")
    return int(row[0])
