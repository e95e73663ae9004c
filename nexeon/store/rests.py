"""Why provider keys rest, and until when: kept over restarts, in rests.sqlite3 in the store folder."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final, Literal

from nexeon.store.sqlite import Place, open_database

FILE: Final = "rests.sqlite3"
TABLES: Final = """
CREATE TABLE IF NOT EXISTS rests (
    key TEXT NOT NULL, model TEXT NOT NULL, mark TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
    since REAL NOT NULL, until REAL NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (key, model)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Rest:
    """A provider key (`key`: its id) is left alone with one of the provider's models, or ("") with all.

    `mark` tells its secret from another one that comes in its place; `since` and `until` are Unix seconds: a key that
    cools down works again then, a removed one may be tried; `count` is how often in a row that has happened.
    """

    key: str
    model: str
    mark: str
    state: Literal["cooling", "removed"]
    reason: str
    since: float
    until: float
    count: int


class RestStore:
    """Every method may raise StoreUnavailable. What was written last may be lost in a power cut, and only then."""

    def __init__(self, place: Place) -> None:
        """In memory without a place."""
        self._database = open_database(place, FILE, TABLES, durable=False)
        self.shared = self._database.shared
        """Whether other processes keep theirs there, too."""

    async def load(self) -> list[Rest]:
        rows = await self._database.run(lambda connection: connection.execute("SELECT * FROM rests").fetchall())
        return [Rest(*row) for row in rows]

    async def put(self, rest: Rest) -> None:
        row = astuple(rest)
        await self._database.run(
            lambda connection: connection.execute("INSERT OR REPLACE INTO rests VALUES (?,?,?,?,?,?,?,?)", row)
        )

    async def drop(self, key: str, model: str | None = None) -> None:
        """A key's rests, or that for one model."""
        where, given = ("key = ?", (key,)) if model is None else ("key = ? AND model = ?", (key, model))
        await self._database.run(lambda connection: connection.execute(f"DELETE FROM rests WHERE {where}", given))

    async def close(self) -> None:
        await self._database.close()
