"""The log of requests, for operators."""

from __future__ import annotations

from typing import Any

from nexeon.admin import values
from nexeon.admin.values import iso
from nexeon.admin.views import View, page
from nexeon.errors import AdminError
from nexeon.store.money import to_usd
from nexeon.store.requests import RequestLog


class Requests:
    def __init__(self, log: RequestLog | None) -> None:
        """Without a log every operation raises AdminError."""
        self._log = log

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
        """A page, newest first. `account` and `key` are ids, `status` is the HTTP status of the answer; `failed`: those
        of status 400 and more, or the others."""
        names = {"account": account, "key": key, "model": model, "provider": provider}
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
        return page([_view(row) for row in rows], rows[-1]["id"] if len(rows) == size else None)

    async def show(self, *, request: Any) -> View:
        """One request, by its id; with bodies where the configuration keeps them."""
        return _view(await self._kept().show(values.text("request", request)))

    def _kept(self) -> RequestLog:
        if self._log is None:
            raise AdminError("no log of requests is kept: set log.enabled to true")
        return self._log


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
