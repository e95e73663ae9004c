"""Credit: add, refund, adjust, ledger. USD comes and goes as exact decimal strings."""

from __future__ import annotations

import time
from typing import Any, Final, Literal

from nexeon.admin import values
from nexeon.admin.requests import kept
from nexeon.admin.views import View, entry_view, page
from nexeon.errors import AdminError, Conflict, InsufficientCredit, NotFound, StoreError
from nexeon.store.money import to_usd
from nexeon.store.protocol import Store
from nexeon.store.records import Detail
from nexeon.store.requests import RequestLog

_LOOKED_AT: Final = 1000
"""The newest entries of a ledger, in which a request is looked for that no log knows."""


class Credits:
    def __init__(self, store: Store, log: RequestLog | None = None) -> None:
        """With a log of requests, a refund names what its request was about, however old that is."""
        self._store = store
        self._log = log

    async def add(self, *, account: Any, usd: Any, reason: Any = "", expires: Any = None) -> View:
        """Grants; what is left of it at `expires` is taken back."""
        until = values.moment("expires", expires)
        if until is not None and until <= time.time():
            raise AdminError(f"expires: `{expires}` is past")
        return await self._post(account, "grant", values.usd("usd", usd), reason, expires=until)

    async def refund(self, *, account: Any, usd: Any, reason: Any = "", request: Any = "") -> View:
        """Gives back; `request` is the id of the call that it is for, whose key gets its budget back, too."""
        return await self._post(account, "refund", values.usd("usd", usd), reason, request)

    async def adjust(self, *, account: Any, usd: Any, reason: Any = "") -> View:
        """Corrects, up or down. Raises Conflict where less than that is available."""
        return await self._post(account, "adjustment", values.usd("usd", usd, signed=True), reason)

    async def ledger(self, *, account: Any, after: Any = None, limit: Any = 100) -> View:
        """A page, newest first. A deleted account's ledger is read by its id."""
        name = values.text("account", account)
        try:
            found = (await self._store.account(name)).id
        except NotFound:
            found = name
        size = values.count("limit", limit, least=1)
        entries = await self._store.ledger(found, before=after, limit=size)
        more = len(entries) == size and entries[-1].previous
        return page([entry_view(each) for each in entries], entries[-1].id if more else None)

    async def _post(
        self,
        account: Any,
        kind: Literal["grant", "refund", "adjustment"],
        amount: int,
        reason: Any,
        request: Any = "",
        expires: float | None = None,
    ) -> View:
        found = await self._store.account(values.text("account", account))
        why = values.text("reason", reason, empty=True)
        detail, key = await self._facts(found.id, values.text("request", request, empty=True))
        try:
            entry = await self._store.post(found.id, kind, amount, reason=why, detail=detail, expires=expires, key=key)
        except InsufficientCredit as error:
            raise Conflict(
                f"account `{found.name}` has {to_usd(error.available)} USD available, less than {to_usd(error.needed)}"
            ) from None
        return entry_view(entry)

    async def _facts(self, account: str, request: str) -> tuple[Detail, str]:
        """What is known of a request of that account, and its key."""
        detail: Detail = {"request": request}
        if not request:
            return detail, ""
        record = await self._logged(request)
        if record is not None:
            if record.get("account") != account:
                raise Conflict(f"request `{request}` is of another account")
            detail |= {"model": record.get("model") or "", "provider": record.get("provider") or ""}
            return detail | {"usage": record.get("usage") or {}}, record.get("key") or ""
        for entry in await self._store.ledger(account, limit=_LOOKED_AT):
            if entry.request == request and entry.kind == "charge":
                return detail | {"model": entry.model, "provider": entry.provider, "usage": entry.usage}, entry.key
        return detail, ""

    async def _logged(self, request: str) -> View | None:
        log = kept(self._log)
        try:
            return await log.show(request) if log is not None else None
        except StoreError:
            return None
