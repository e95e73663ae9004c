"""Answers kept for the accounts that got them: SQLite beside the store, written behind the requests' backs.

An answer is found only by the account that got it, until its time is over or it is deleted.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from nexeon.errors import NotFound, StoreError
from nexeon.store.sqlite import Database

log = logging.getLogger(__name__)

FILE: Final = "answers.sqlite3"
LONGEST_CHAIN: Final = 10_000
"""Answers that continue each other, at most."""

_SCHEMA: Final = """
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS answers (
    account TEXT NOT NULL, id TEXT NOT NULL, created REAL NOT NULL, expires REAL NOT NULL, status TEXT NOT NULL,
    background INTEGER NOT NULL, previous TEXT, body BLOB NOT NULL, input BLOB NOT NULL, output BLOB NOT NULL,
    events BLOB, PRIMARY KEY (account, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_expires ON answers (expires);
CREATE TABLE IF NOT EXISTS items (
    account TEXT NOT NULL, item TEXT NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (account, item)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_answer ON items (account, answer);
"""
_COLUMNS: Final = "account, id, created, expires, status, background, previous, body, input, output, events"
_FAST: Final = 1
_WAIT: Final = 0.05
_PRUNE_EVERY: Final = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is the answer's JSON object; `input` and `output` are JSON lists of what this turn said to the model and
    what it said; `events` is a JSON list of the stream's events, where they are kept. `created` in Unix seconds.
    `items` are the ids under which parts of the output are known; they are not read back."""

    account: str
    id: str
    created: float
    status: str
    previous: str | None
    body: bytes
    input: bytes
    output: bytes
    background: bool = False
    events: bytes | None = None
    items: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return len(self.body) + len(self.input) + len(self.output) + len(self.events or b"")


class AnswerStore(Protocol):
    """Where answers are kept. Every method but `put` raises StoreUnavailable where it cannot be read or written."""

    def put(self, answer: Answer) -> bool:
        """Keeps it, in place of one with the same id; at once for `get`, and on disk soon. False: it is too large."""
        ...

    async def get(self, account: str, id: str) -> Answer:
        """Raises NotFound, also for another account's."""
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

    async def flush(self) -> None:
        """Returns once what was put is on disk."""
        ...

    async def close(self) -> None: ...


class SQLiteAnswers:
    """See AnswerStore."""

    def __init__(
        self,
        folder: Path | None,
        *,
        ttl: float = 30 * 86_400.0,
        max_bytes: int = 16 * 1024 * 1024,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """In memory without a folder. `ttl` in seconds; `max_bytes` of one answer with its input."""
        self._database = Database(folder / FILE if folder else None, _SCHEMA, durable=False)
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._clock = clock
        self._queue: dict[tuple[str, str], Answer] = {}
        self._writing: asyncio.Task[None] | None = None
        self._now = asyncio.Event()
        self._pruned = 0.0

    def put(self, answer: Answer) -> bool:
        if answer.size > self._max_bytes:
            return False
        self._queue[answer.account, answer.id] = answer
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())
        return True

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
        following: str | None = id
        while following is not None:
            found.append(await self.get(account, following))
            following = found[-1].previous
            if len(found) > LONGEST_CHAIN:
                raise NotFound(f"the chain of answers before `{id}` has no end")
        return found[::-1]

    async def delete(self, account: str, id: str) -> None:
        await self.flush()

        def remove(connection: sqlite3.Connection) -> int:
            count = connection.execute("DELETE FROM answers WHERE account = ? AND id = ?", (account, id)).rowcount
            connection.execute("DELETE FROM items WHERE account = ? AND answer = ?", (account, id))
            connection.execute("PRAGMA incremental_vacuum")
            return count

        if not await self._database.run(remove):
            raise NotFound(f"no answer `{id}` is kept")

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
            while self._queue:
                batch = list(self._queue.items())
                await self._insert([answer for _, answer in batch])
                for key, answer in batch:
                    if self._queue.get(key) is answer:
                        del self._queue[key]
            if self._clock() - self._pruned > _PRUNE_EVERY:
                await self._prune()
        finally:
            self._writing = None

    async def _insert(self, batch: list[Answer]) -> None:
        expires = self._ttl

        def insert(connection: sqlite3.Connection) -> None:
            marks = ", ".join("?" * len(_COLUMNS.split(", ")))
            rows = [_row(answer, answer.created + expires) for answer in batch]
            connection.executemany(f"INSERT OR REPLACE INTO answers ({_COLUMNS}) VALUES ({marks})", rows)
            items = [(answer.account, item, answer.id) for answer in batch for item in answer.items]
            connection.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", items)

        try:
            await self._database.run(insert)
        except StoreError as error:
            log.error("%d answers could not be kept: %s", len(batch), error)

    async def _prune(self) -> None:
        self._pruned = now = self._clock()

        def prune(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM items WHERE (account, answer) IN (SELECT account, id FROM answers WHERE expires <= ?)",
                (now,),
            )
            connection.execute("DELETE FROM answers WHERE expires <= ?", (now,))

        try:
            await self._database.run(prune)
        except StoreError as error:
            log.error("old answers could not be deleted: %s", error)


def _row(answer: Answer, expires: float) -> tuple[object, ...]:
    parts = (answer.body, answer.input, answer.output, answer.events)
    packed = [zlib.compress(part, _FAST) if part is not None else None for part in parts]
    return (
        answer.account, answer.id, answer.created, expires, answer.status, int(answer.background), answer.previous,
        *packed,
    )  # fmt: skip


def _answer(row: tuple[object, ...]) -> Answer:
    account, id, created, _, status, background, previous, *packed = row
    body, given, output, events = (zlib.decompress(part) if isinstance(part, bytes) else None for part in packed)
    assert isinstance(account, str)
    assert isinstance(id, str)
    assert isinstance(created, float)
    assert isinstance(status, str)
    assert previous is None or isinstance(previous, str)
    return Answer(
        account, id, created, status, previous, body or b"{}", given or b"[]", output or b"[]", bool(background), events
    )
