"""The log of requests, for operators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nexeon.admin import values
from nexeon.admin.names import account_id, key_id
from nexeon.admin.values import iso
from nexeon.admin.views import View, page
from nexeon.errors import AdminError, NotFound
from nexeon.store.money import to_usd
from nexeon.store.protocol import Store
from nexeon.store.records import Account, ApiKey
from nexeon.store.requests import RequestLog

Rows = list[dict[str, Any]]


def kept(log: RequestLog | None) -> RequestLog | None:
    """The log, where there is one and it is switched on."""
    return log if log is not None and log.enabled else None


class Requests:
    def __init__(self, log: RequestLog | None, store: Store) -> None:
        """Without a log every operation raises AdminError; the store knows the names of accounts and keys."""
        self._log = log
        self._store = store

    async def list(
        self,
        *,
        account: Any = None,
        key: Any = None,
        model: Any = None,
        provider: Any = None,
        status: Any = None,
        failed: Any = None,
        since: Any = None,
        until: Any = None,
        after: Any = None,
        limit: Any = 100,
    ) -> View:
        """A page, newest first. `account` and `key` are ids or names, `status` is the HTTP status of the answer;
        `failed`: those of status 400 and more, or the others."""
        owner = None if account is None else await account_id(self._store, values.text("account", account))
        used = None if key is None else await key_id(self._store, values.text("key", key))
        names = {"account": owner, "key": used, "model": model, "provider": provider}
        filters: dict[str, Any] = {name: values.text(name, value) for name, value in names.items() if value is not None}
        if status is not None:
            filters["status"] = values.count("status", status)
        if failed is not None:
            filters["failed"] = values.flag("failed", failed)
        filters |= {
            name: moment
            for name, value in (("since", since), ("until", until))
            if (moment := values.moment(name, value)) is not None
        }
        size = values.count("limit", limit, least=1)
        before = None if after is None else values.text("after", after)
        rows = await self._kept().list(filters, before=before, limit=size)
        await self._name(rows)
        return page([_view(row) for row in rows], rows[-1]["id"] if len(rows) == size else None)

    async def show(self, *, request: Any) -> View:
        """One request, by its id; with bodies where the configuration keeps them."""
        row = await self._kept().show(values.text("request", request))
        await self._name([row])
        return _view(row)

    async def _name(self, rows: Rows) -> None:
        """`account_name` and `key_name` of those that are still there."""
        accounts: dict[str, str | None] = {}
        keys: dict[str, str | None] = {}
        for row in rows:
            account, key = row.get("account") or "", row.get("key") or ""
            if account not in accounts:
                accounts[account] = await _name_of(self._store.account, account)
            if key not in keys:
                keys[key] = await _name_of(self._store.api_key, key)
            row["account_name"], row["key_name"] = accounts[account], keys[key]

    def _kept(self) -> RequestLog:
        log = kept(self._log)
        if log is None:
            raise AdminError("no log of requests is kept: set log.enabled to true")
        return log


async def _name_of(find: Callable[[str], Awaitable[Account | ApiKey]], id: str) -> str | None:
    try:
        return (await find(id)).name
    except NotFound:
        return None


def _view(record: dict[str, Any]) -> View:
    view = dict(record)
    for name in ("started", "ended"):
        if name in view:
            view[name] = iso(view[name])
    if view.get("cost") is not None:
        view["cost"] = to_usd(view["cost"])
    if record.get("ended") is not None and record.get("started") is not None:
        view["ms"] = round((record["ended"] - record["started"]) * 1000)
    return view
