"""Answers kept for the accounts that got them: SQLite beside the store, written behind the requests' backs.

An answer is found only by the account that got it, until its time is over, it is deleted, or newer ones need its room.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from nexeon.errors import NotFound, StoreError
from nexeon.store.sqlite import Place, open_database

log = logging.getLogger(__name__)

FILE: Final = "answers.sqlite3"
LONGEST_CHAIN: Final = 10_000
"""Answers that continue each other, at most."""

TABLES: Final = """
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS answers (
    account TEXT NOT NULL, id TEXT NOT NULL, created REAL NOT NULL, expires REAL NOT NULL, status TEXT NOT NULL,
    background INTEGER NOT NULL, previous TEXT, streamed INTEGER NOT NULL DEFAULT 0, touched REAL NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL, input BLOB NOT NULL, output BLOB NOT NULL,
    PRIMARY KEY (account, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_expires ON answers (expires);
CREATE TABLE IF NOT EXISTS items (
    account TEXT NOT NULL, item TEXT NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (account, item)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_answer ON items (account, answer);
CREATE TABLE IF NOT EXISTS events (
    account TEXT NOT NULL, answer TEXT NOT NULL, first INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (account, answer, first)) WITHOUT ROWID;
"""
_AGE: Final = "CREATE INDEX IF NOT EXISTS answers_age ON answers (account, created, id, size)"
_ADDED: Final = {
    "streamed": "INTEGER NOT NULL DEFAULT 0",
    "touched": "REAL NOT NULL DEFAULT 0",
    "size": "INTEGER NOT NULL DEFAULT 0",
}
"""Columns that a file of an earlier version lacks."""

_COLUMNS: Final = "account, id, created, status, background, previous, streamed, touched, body, input, output"
_FAST: Final = 1
_WAIT: Final = 0.05
_PRUNE_EVERY: Final = 600.0
_ROW: Final = 200
"""Bytes that a row takes beside what it holds."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is the answer's JSON object; `input` and `output` are JSON lists of what this turn said to the model and
    what it said. `streamed`: its events are kept too. `created` and `touched`, when its maker was last known to be at
    it, in Unix seconds; the store sets `touched`. `items` are the ids under which parts of the output are known; they
    are not read back."""

    account: str
    id: str
    created: float
    status: str
    previous: str | None
    body: bytes
    input: bytes
    output: bytes
    background: bool = False
    streamed: bool = False
    touched: float = 0.0
    items: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return len(self.body) + len(self.input) + len(self.output)


class AnswerStore(Protocol):
    """Where answers are kept. Every async method raises StoreUnavailable where it cannot be read or written.

    `shared`: other processes use it too, so that an answer of which this one knows nothing may be under way elsewhere.
    """

    shared: bool

    def configure(self, *, ttl: float, max_bytes: int, account_bytes: int) -> None:
        """What is kept from now on goes by this: `ttl` in seconds; `max_bytes` of one answer with its input.
        `account_bytes` of all that an account has here, compressed: beyond it, its oldest answers go; 0 is no limit."""
        ...

    def put(self, answer: Answer) -> bool:
        """Keeps it, in place of one with the same id; at once for `get`, and on disk soon. False: it is too large."""
        ...

    def append(self, account: str, id: str, first: int, events: Sequence[bytes]) -> None:
        """Keeps JSON events of an answer's stream, in place of those with a number of `first` and above; on disk
        soon."""
        ...

    async def get(self, account: str, id: str) -> Answer:
        """Raises NotFound, also for another account's."""
        ...

    async def events(self, account: str, id: str, first: int = 0) -> list[bytes]:
        """The events of an answer's stream from this number on, in order; none where it has none."""
        ...

    async def renew(self, account: str, id: str) -> str:
        """Notes that its maker is still at it; its status, which another process may have set. Raises NotFound."""
        ...

    async def holding(self, account: str, item: str) -> Answer:
        """The last answer that has this item. Raises NotFound."""
        ...

    async def chain(self, account: str, id: str) -> list[Answer]:
        """The answer and those that it continues, the first one first. Raises NotFound where one is missing."""
        ...

    async def delete(self, account: str, id: str) -> None:
        """Nothing of it is left afterwards. Raises NotFound."""
        ...

    async def forget(self, account: str) -> None:
        """Deletes all that an account has."""
        ...

    async def sweep(self) -> None:
        """Deletes what is past its time."""
        ...

    async def flush(self) -> None:
        """Returns once what was put is on disk."""
        ...

    async def close(self) -> None: ...


class SQLiteAnswers:
    """See AnswerStore."""

    def __init__(
        self,
        place: Place,
        *,
        ttl: float = 30 * 86_400.0,
        max_bytes: int = 16 * 1024 * 1024,
        account_bytes: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """In memory without a place. The rest but the clock is as `configure` has it."""
        self._database = open_database(place, FILE, TABLES, durable=False, upgrade=upgrade)
        self.shared = self._database.shared
        self.configure(ttl=ttl, max_bytes=max_bytes, account_bytes=account_bytes)
        self._clock = clock
        self._queue: dict[Key, Answer] = {}
        self._told: dict[Key, dict[int, list[bytes]]] = {}
        self._taken: dict[str, int] = {}
        """Bytes by account, where they are known; only the database's thread looks at it."""
        self._writing: asyncio.Task[None] | None = None
        self._now = asyncio.Event()
        self._swept = 0.0

    def configure(self, *, ttl: float, max_bytes: int, account_bytes: int) -> None:
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._account_bytes = account_bytes

    def put(self, answer: Answer) -> bool:
        if answer.size > self._max_bytes:
            return False
        self._queue[answer.account, answer.id] = replace(answer, touched=self._clock())
        self._soon()
        return True

    def append(self, account: str, id: str, first: int, events: Sequence[bytes]) -> None:
        waiting = self._told.setdefault((account, id), {})
        for number in [number for number in waiting if number + len(waiting[number]) > first]:
            del waiting[number][max(0, first - number) :]
        for number, before in waiting.items():
            if before and number + len(before) == first:
                before.extend(events)
                break
        else:
            waiting[first] = list(events)
        self._soon()

    def _soon(self) -> None:
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def get(self, account: str, id: str) -> Answer:
        waiting = self._queue.get((account, id))
        if waiting is not None:
            return waiting
        now = self._clock()

        def read(connection: sqlite3.Connection) -> Answer | None:
            query = f"SELECT {_COLUMNS} FROM answers WHERE account = ? AND id = ? AND expires > ?"
            row = connection.execute(query, (account, id, now)).fetchone()
            return _answer(row) if row is not None else None

        found = await self._database.run(read)
        if found is None:
            raise NotFound(f"no answer `{id}` is kept")
        return found

    async def events(self, account: str, id: str, first: int = 0) -> list[bytes]:
        await self.flush()

        def read(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
            query = "SELECT first, data FROM events WHERE account = ? AND answer = ? ORDER BY first"
            return connection.execute(query, (account, id)).fetchall()

        found: list[bytes] = []
        for number, data in await self._database.run(read):
            found[number:] = zlib.decompress(data).split(b"\n")
        return found[first:]

    async def renew(self, account: str, id: str) -> str:
        await self.flush()
        now = self._clock()

        def touch(connection: sqlite3.Connection) -> str | None:
            connection.execute("UPDATE answers SET touched = ? WHERE account = ? AND id = ?", (now, account, id))
            row = connection.execute("SELECT status FROM answers WHERE account = ? AND id = ?", (account, id))
            return next((str(status) for (status,) in row), None)

        status = await self._database.run(touch)
        if status is None:
            raise NotFound(f"no answer `{id}` is kept")
        return status

    async def holding(self, account: str, item: str) -> Answer:
        for waiting in reversed(self._queue.values()):
            if waiting.account == account and item in waiting.items:
                return waiting

        def read(connection: sqlite3.Connection) -> str:
            query = "SELECT answer FROM items WHERE account = ? AND item = ?"
            row = connection.execute(query, (account, item)).fetchone()
            return str(row[0]) if row is not None else ""

        return await self.get(account, await self._database.run(read))

    async def chain(self, account: str, id: str) -> list[Answer]:
        found: list[Answer] = []
        seen: set[str] = set()
        following: str | None = id
        while following is not None:
            found.append(await self.get(account, following))
            seen.add(following)
            following = found[-1].previous
            if len(found) > LONGEST_CHAIN or following in seen:  # some providers give every answer one id
                raise NotFound(f"the chain of answers before `{id}` has no end")
        return found[::-1]

    async def delete(self, account: str, id: str) -> None:
        await self.flush()

        def remove(connection: sqlite3.Connection) -> int:
            return self._remove(connection, [(account, id)])

        if not await self._database.run(remove):
            raise NotFound(f"no answer `{id}` is kept")
        await self._database.checkpoint()

    async def forget(self, account: str) -> None:
        await self.flush()

        def remove(connection: sqlite3.Connection) -> int:
            rows = connection.execute("SELECT account, id FROM answers WHERE account = ?", (account,)).fetchall()
            return self._remove(connection, rows)

        if await self._database.run(remove):
            await self._database.checkpoint()

    async def sweep(self) -> None:
        self._swept = now = self._clock()

        def prune(connection: sqlite3.Connection) -> int:
            rows = connection.execute("SELECT account, id FROM answers WHERE expires <= ?", (now,)).fetchall()
            return self._remove(connection, rows)

        if await self._database.run(prune):
            await self._database.checkpoint()

    async def flush(self) -> None:
        while self._writing is not None:
            self._now.set()
            await asyncio.shield(self._writing)

    async def close(self) -> None:
        await self.flush()
        await self._database.close()

    async def _write(self) -> None:
        """A little later, so that what comes together is written together."""
        try:
            try:
                async with asyncio.timeout(_WAIT):
                    await self._now.wait()
            except TimeoutError:
                pass
            self._now.clear()
            while self._queue or self._told:
                batch, told = list(self._queue.items()), self._told
                self._told = {}
                await self._insert([answer for _, answer in batch], told)
                for key, answer in batch:
                    if self._queue.get(key) is answer:
                        del self._queue[key]
            if self._clock() - self._swept > _PRUNE_EVERY:
                try:
                    await self.sweep()
                except StoreError as error:
                    log.error("old answers could not be deleted: %s", error)
        finally:
            self._writing = None

    async def _insert(self, batch: list[Answer], told: dict[Key, dict[int, list[bytes]]]) -> None:
        def insert(connection: sqlite3.Connection) -> None:
            for answer in batch:
                self._insert_one(connection, answer)
            for key, chunks in told.items():
                self._insert_events(connection, key, chunks)
            if self._account_bytes:
                for account in {answer.account for answer in batch} | {account for account, _ in told}:
                    self._make_room(connection, account)

        try:
            await self._database.run(insert)
        except StoreError as error:
            log.error("%d answers could not be kept: %s", len(batch), error)

    # In the database's thread

    def _insert_one(self, connection: sqlite3.Connection, answer: Answer) -> None:
        key = (answer.account, answer.id)
        packed = [zlib.compress(part, _FAST) for part in (answer.body, answer.input, answer.output)]
        told = "SELECT COALESCE(SUM(LENGTH(data)), 0) FROM events WHERE account = ? AND answer = ?"
        before = connection.execute("SELECT size FROM answers WHERE account = ? AND id = ?", key).fetchone()
        size = _ROW + sum(map(len, packed)) + connection.execute(told, key).fetchone()[0]
        self._grow(answer.account, size - (before[0] if before else 0))
        row = (
            *key, answer.created, answer.status, int(answer.background), answer.previous, int(answer.streamed),
            answer.touched, *packed, answer.created + self._ttl, size,
        )  # fmt: skip
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT OR REPLACE INTO answers ({_COLUMNS}, expires, size) VALUES ({marks})", row)
        items = [(answer.account, item, answer.id) for item in answer.items]
        connection.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", items)

    def _insert_events(self, connection: sqlite3.Connection, key: Key, chunks: dict[int, list[bytes]]) -> None:
        """Only where the answer is there still: it may have been deleted meanwhile."""
        found = connection.execute("SELECT size FROM answers WHERE account = ? AND id = ?", key).fetchone()
        if found is None:
            return
        old = "FROM events WHERE account = ? AND answer = ? AND first >= ?"
        grown = 0
        for first, events in sorted(chunks.items()):
            data = zlib.compress(b"\n".join(events), _FAST) if events else b""
            gone = connection.execute(f"SELECT COALESCE(SUM(LENGTH(data)), 0) {old}", (*key, first)).fetchone()[0]
            connection.execute(f"DELETE {old}", (*key, first))
            if events:
                connection.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (*key, first, data))
            grown += len(data) - gone
        now = self._clock()
        change = "UPDATE answers SET size = size + ?, touched = ? WHERE account = ? AND id = ?"
        connection.execute(change, (grown, now, *key))
        self._grow(key[0], grown)

    def _grow(self, account: str, size: int) -> None:
        if account in self._taken:
            self._taken[account] += size

    def _make_room(self, connection: sqlite3.Connection, account: str) -> None:
        """The account's oldest answers go, all but the last one, until the rest has room."""
        taken = self._taken.get(account)
        if taken is None or self.shared:  # others write, too
            query = "SELECT COALESCE(SUM(size), 0) FROM answers WHERE account = ?"
            taken = self._taken[account] = int(connection.execute(query, (account,)).fetchone()[0])
        if taken <= self._account_bytes:
            return
        going: list[Key] = []
        rows = connection.execute("SELECT id, size FROM answers WHERE account = ? ORDER BY created, id", (account,))
        for id, size in rows:
            if taken <= self._account_bytes:
                break
            going.append((account, id))
            taken -= size
        last = "SELECT id FROM answers WHERE account = ? ORDER BY created DESC, id DESC LIMIT 1"
        newest = (account, connection.execute(last, (account,)).fetchone()[0])
        self._remove(connection, [key for key in going if key != newest])

    def _remove(self, connection: sqlite3.Connection, keys: Iterable[Key]) -> int:
        """How many there were; `secure_delete` overwrites what they were."""
        removed = 0
        for key in keys:
            count = connection.execute("DELETE FROM answers WHERE account = ? AND id = ?", key).rowcount
            connection.execute("DELETE FROM items WHERE account = ? AND answer = ?", key)
            connection.execute("DELETE FROM events WHERE account = ? AND answer = ?", key)
            self._taken.pop(key[0], None)
            removed += count
        return removed


def upgrade(connection: sqlite3.Connection) -> None:
    """Gives a file of an earlier version the columns that it lacks."""
    known = {row[1] for row in connection.execute("PRAGMA table_info(answers)")}
    for name, kind in _ADDED.items():
        if name not in known:
            connection.execute(f"ALTER TABLE answers ADD COLUMN {name} {kind}")
    connection.execute(_AGE)


def _answer(row: tuple[object, ...]) -> Answer:
    account, id, created, status, background, previous, streamed, touched, *packed = row
    body, given, output = (zlib.decompress(part) if isinstance(part, bytes) else b"" for part in packed)
    assert isinstance(account, str)
    assert isinstance(id, str)
    assert isinstance(created, float)
    assert isinstance(status, str)
    assert isinstance(touched, float)
    assert previous is None or isinstance(previous, str)
    return Answer(
        account, id, created, status, previous, body, given, output, bool(background), bool(streamed), touched
    )
