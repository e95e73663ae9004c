"""Who changed what and when: one record for each change, in audit.sqlite3 in the store folder. Never a secret."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from nexeon.admin import values
from nexeon.admin.values import iso
from nexeon.admin.views import View, page
from nexeon.errors import AdminError
from nexeon.store.protocol import Store
from nexeon.store.sqlite import Place, open_database

FILE: Final = "audit.sqlite3"
_SECRETS: Final = frozenset({"secret"})
TABLES: Final = """
CREATE TABLE IF NOT EXISTS changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, made REAL NOT NULL, actor TEXT NOT NULL, method TEXT NOT NULL,
    subject TEXT NOT NULL, params BLOB NOT NULL, before BLOB NOT NULL, after BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS changes_subject ON changes (subject, number);
CREATE INDEX IF NOT EXISTS changes_actor ON changes (actor, number);
CREATE INDEX IF NOT EXISTS changes_method ON changes (method, number);
"""


_COLUMNS: Final = "number, made, actor, method, subject, params, before, after"
_LIKE: Final = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
_MOST_NAMED: Final = 100
_DELETIONS: Final = ("accounts.delete", "keys.delete", "provider_keys.delete")
_MOST_DELETED: Final = 10_000
"""The newest deletions, among which a name is looked for."""


class AuditLog:
    """`write` is durable when it returns. Every method may raise StoreUnavailable."""

    def __init__(self, place: Place) -> None:
        """In memory without a place."""
        self._database = open_database(place, FILE, TABLES, durable=True)

    async def write(
        self, actor: str, method: str, params: Mapping[str, Any], before: View | None, after: View | None
    ) -> None:
        # What is granted is of an account, which is asked for; its entry in the ledger is in `after`.
        name = "account" if method.startswith("credits.") else "id"
        subject = next((str(state[name]) for state in (after, before) if state and name in state), "")
        kept = {name: value for name, value in params.items() if name not in _SECRETS}
        row = (time.time(), actor, method, subject, *(orjson.dumps(each) for each in (kept, before, after)))
        await self._database.run(
            lambda connection: connection.execute(
                "INSERT INTO changes (made, actor, method, subject, params, before, after) VALUES (?,?,?,?,?,?,?)", row
            )
        )

    async def read(self, conditions: Mapping[str, Sequence[Any]], limit: int) -> list[View]:
        """Newest first. `conditions` are SQL over the columns, each with the values that it compares with."""
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        query = f"SELECT {_COLUMNS} FROM changes {where} ORDER BY number DESC LIMIT ?"
        given = (*(value for values in conditions.values() for value in values), limit)
        rows = await self._database.run(lambda connection: connection.execute(query, given).fetchall())
        return [_view(*row) for row in rows]

    async def deleted(self, name: str) -> list[str]:
        """The ids of what was called so when it was deleted, whatever the case, the newest first."""
        query = "SELECT subject, before FROM changes WHERE method IN (?, ?, ?) ORDER BY number DESC LIMIT ?"
        given = (*_DELETIONS, _MOST_DELETED)
        wanted = name.casefold()

        def find(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute(query, given).fetchall()
            return [subject for subject, before in rows if _called(orjson.loads(before) or {}, wanted)]

        return await self._database.run(find)

    async def close(self) -> None:
        await self._database.close()


class Audit:
    def __init__(self, log: AuditLog, store: Store) -> None:
        """The store knows the names of accounts and keys."""
        self._log = log
        self._store = store

    async def list(
        self,
        *,
        subject: Any = None,
        actor: Any = None,
        method: Any = None,
        search: Any = None,
        after: Any = None,
        limit: Any = 100,
    ) -> View:
        """A page, newest first: who (`actor`) did what (`method`, `params`) to which record (`subject`, with its
        `name`), `before` and `after`. With `search`, those with that text in actor, method or subject, and those of
        accounts and keys that are called so, or were when they were deleted."""
        size = values.count("limit", limit, least=1)
        conditions: dict[str, Sequence[Any]] = {}
        for column, value in (("subject", subject), ("actor", actor), ("method", method)):
            if value is not None:
                conditions[f"{column} = ?"] = (values.text(column, value),)
        if search is not None:
            wanted = values.text("search", search)
            named = await self._named(wanted)
            marks = f" OR subject IN ({', '.join('?' * len(named))})" if named else ""
            like = f"%{wanted.lower().translate(_LIKE)}%"
            text = "lower(actor || ' ' || method || ' ' || subject) LIKE ? ESCAPE '\\'"
            conditions[f"({text}{marks})"] = (like, *named)
        if after is not None:
            conditions["number < ?"] = (_number(values.text("after", after)),)
        views = await self._log.read(conditions, size)
        return page(views, views[-1]["id"] if len(views) == size else None)

    async def _named(self, name: str) -> Sequence[str]:
        """The ids of accounts and keys of that name, whatever the case."""
        wanted = name.casefold()
        accounts, keys = await self._store.accounts(), await self._store.api_keys()
        found = [each.id for each in accounts if each.name.casefold() == wanted]
        found += [each.id for each in keys if each.name.casefold() == wanted]
        found += [each.id for each in await self._store.all_provider_keys() if each.label.casefold() == wanted]
        return [*found, *await self._log.deleted(name)][:_MOST_NAMED]


def _called(record: View, wanted: str) -> bool:
    return any(isinstance(name := record.get(of), str) and name.casefold() == wanted for of in ("name", "label"))


def _number(change: str) -> int:
    digits = change.removeprefix("aud_")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
        raise AdminError(f"after: `{change}` is the id of no change")
    return int(digits)


def _view(number: int, made: float, actor: str, method: str, subject: str, *states: bytes) -> View:
    params, before, after = (orjson.loads(state) for state in states)
    changed = sorted(name for name in after if before.get(name) != after[name]) if before and after else []
    changed = [name for name in changed if name != "last_used"]  # clients change that
    return {
        "id": f"aud_{number}",
        "made": iso(made),
        "actor": actor,
        "method": method,
        "subject": subject,
        "name": _name(params, before, after),
        "params": params,
        "changed": changed,
        "before": before,
        "after": after,
    }


def _name(params: View, before: View | None, after: View | None) -> str | None:
    """What people call the record of a change: the name it has since."""
    for state in (after, before, params):
        for name in ("name", "label"):
            if state and isinstance(state.get(name), str) and state[name]:
                return str(state[name])
    given = params.get("account") or params.get("key")
    return given if isinstance(given, str) else None
