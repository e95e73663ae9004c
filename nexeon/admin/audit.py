"""Who changed what and when: one record for each change, in audit.sqlite3 in the store folder. Never a secret."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import orjson

from nexeon.admin import values
from nexeon.admin.values import iso
from nexeon.admin.views import View, page
from nexeon.errors import AdminError
from nexeon.store.sqlite import Place, open_database

FILE: Final = "audit.sqlite3"
_SECRETS: Final = frozenset({"secret"})
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, made REAL NOT NULL, actor TEXT NOT NULL, method TEXT NOT NULL,
    subject TEXT NOT NULL, params BLOB NOT NULL, before BLOB NOT NULL, after BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS changes_subject ON changes (subject, number);
"""


class AuditLog:
    """`write` is durable when it returns. Every method may raise StoreUnavailable."""

    def __init__(self, place: Place) -> None:
        """In memory without a place."""
        self._database = open_database(place, FILE, _SCHEMA, durable=True)

    async def write(
        self, actor: str, method: str, params: Mapping[str, Any], before: View | None, after: View | None
    ) -> None:
        subject = next((str(state["id"]) for state in (after, before) if state and "id" in state), "")
        kept = {name: value for name, value in params.items() if name not in _SECRETS}
        row = (time.time(), actor, method, subject, *(orjson.dumps(each) for each in (kept, before, after)))
        await self._database.run(
            lambda connection: connection.execute(
                "INSERT INTO changes (made, actor, method, subject, params, before, after) VALUES (?,?,?,?,?,?,?)", row
            )
        )

    async def read(self, conditions: Mapping[str, Any], limit: int) -> list[View]:
        """Newest first. `conditions` are SQL over the columns, each with the value that it compares with."""
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        query = f"SELECT * FROM changes {where} ORDER BY number DESC LIMIT ?"
        given = (*conditions.values(), limit)
        rows = await self._database.run(lambda connection: connection.execute(query, given).fetchall())
        return [_view(*row) for row in rows]

    async def close(self) -> None:
        await self._database.close()


class Audit:
    def __init__(self, log: AuditLog) -> None:
        self._log = log

    async def list(self, *, subject: Any = None, actor: Any = None, after: Any = None, limit: Any = 100) -> View:
        """A page, newest first: who (`actor`) did what (`method`, `params`) to which record (`subject`), `before` and
        `after`."""
        size = values.count("limit", limit, least=1)
        conditions: dict[str, Any] = {}
        for column, value in (("subject", subject), ("actor", actor)):
            if value is not None:
                conditions[f"{column} = ?"] = values.text(column, value)
        if after is not None:
            conditions["number < ?"] = _number(values.text("after", after))
        views = await self._log.read(conditions, size)
        return page(views, views[-1]["id"] if len(views) == size else None)


def _number(change: str) -> int:
    digits = change.removeprefix("aud_")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
        raise AdminError(f"after: `{change}` is the id of no change")
    return int(digits)


def _view(number: int, made: float, actor: str, method: str, subject: str, *states: bytes) -> View:
    params, before, after = (orjson.loads(state) for state in states)
    changed = sorted(name for name in after if before.get(name) != after[name]) if before and after else []
    return {
        "id": f"aud_{number}",
        "made": iso(made),
        "actor": actor,
        "method": method,
        "subject": subject,
        "params": params,
        "changed": changed,
        "before": before,
        "after": after,
    }
