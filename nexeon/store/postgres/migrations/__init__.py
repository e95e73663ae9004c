"""The database's shape, in steps that are made once each, in order, by whoever comes first.

A step is a file `NNNN_name.sql` here. A step that has been released is never changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from nexeon.errors import StoreError

_LOCK: Final = 0x6E65_7865_6F6E
"""An advisory lock of this number, in the database, and the schema's hash beside it."""

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS migrations (
    number integer PRIMARY KEY, name text NOT NULL, made timestamptz NOT NULL DEFAULT now())
"""


@dataclass(frozen=True, slots=True)
class Step:
    number: int
    name: str
    sql: str


def steps() -> list[Step]:
    """All of them, in order."""
    found = []
    for file in resources.files(__name__).iterdir():
        number, _, name = file.name.partition("_")
        if file.name.endswith(".sql"):
            found.append(Step(int(number), name.removesuffix(".sql"), file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda step: step.number)


async def pending(connection: Any) -> list[Step]:
    """What has not been made yet. Raises StoreError for a database that a newer version has shaped."""
    known = steps()
    if await connection.fetchval("SELECT to_regclass('migrations')") is None:
        return known
    made = {row["number"]: row["name"] for row in await connection.fetch("SELECT number, name FROM migrations")}
    newer = [f"{number}_{name}" for number, name in made.items() if number > known[-1].number]
    if newer:
        raise StoreError(f"a newer version of NeXeon has shaped this database ({', '.join(newer)}): use that version")
    return [step for step in known if step.number not in made]


async def migrate(connection: Any) -> list[Step]:
    """Makes what is missing, each step in a transaction with the note that it was made; says which."""
    if not await pending(connection):
        return []
    # One lock a schema: several stores may share a database.
    lock = "hashtext(current_schema()) + $1::bigint"
    await connection.execute(f"SELECT pg_advisory_lock({lock})", _LOCK)
    try:
        await connection.execute(_TABLE)
        missing = await pending(connection)
        for step in missing:
            async with connection.transaction():
                await connection.execute(step.sql)
                await connection.execute(
                    "INSERT INTO migrations (number, name) VALUES ($1, $2)", step.number, step.name
                )
        return missing
    finally:
        if not connection.is_closed():
            await connection.execute(f"SELECT pg_advisory_unlock({lock})", _LOCK)
