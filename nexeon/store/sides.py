"""Copies the tables of a store beside the ledger from one place to another, row by row, in the order of their keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from nexeon.store.postgres.dialect import Dialect, Table
from nexeon.store.sqlite import Place, open_database

_PAGE: Final = 200
_PASSING: Final = frozenset({"claims", "turns"})
"""Tables of what is under way."""

Rows = list[tuple[Any, ...]]


async def copy_tables(
    source: Place,
    target: Place,
    file: str,
    tables: str,
    upgrade: Callable[[Any], None] | None,
    progress: Callable[[int], None],
) -> int:
    """How many rows the source has. What is in the target under the same key is replaced. Raises StoreError."""
    there = open_database(source, file, tables, durable=False, upgrade=upgrade)
    here = open_database(target, file, tables, durable=True, upgrade=upgrade)
    done = 0
    try:
        for table in Dialect(tables).tables.values():
            if table.name in _PASSING:
                continue
            last: tuple[Any, ...] | None = None
            while rows := await there.run(partial(_read, table, last)):
                await here.run(partial(_write, table, rows))
                done += len(rows)
                progress(done)
                if len(rows) < _PAGE or not table.key:
                    break
                last = tuple(rows[-1][list(table.columns).index(name)] for name in table.key)
        await here.renumber()
    finally:
        await there.close()
        await here.close()
    return done


def _read(table: Table, last: tuple[Any, ...] | None, connection: sqlite3.Connection) -> Rows:
    query = f"SELECT {', '.join(table.columns)} FROM {table.name}"
    if not table.key:
        return connection.execute(query).fetchall()
    keys = ", ".join(table.key)
    where = f" WHERE ({keys}) > ({', '.join('?' * len(table.key))})" if last is not None else ""
    return connection.execute(f"{query}{where} ORDER BY {keys} LIMIT {_PAGE}", last or ()).fetchall()


def _write(table: Table, rows: Rows, connection: sqlite3.Connection) -> None:
    if not table.key:
        connection.execute(f"DELETE FROM {table.name}")
    verb = "INSERT OR REPLACE" if table.key else "INSERT"
    columns, marks = ", ".join(table.columns), ", ".join("?" * len(table.columns))
    connection.executemany(f"{verb} INTO {table.name} ({columns}) VALUES ({marks})", rows)
