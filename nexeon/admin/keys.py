"""Clients' keys: create, list, show, update, disable, delete, rotate. Named by id, or by a name only one has."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nexeon.admin import values
from nexeon.admin.requests import kept
from nexeon.admin.selection import Texts
from nexeon.admin.values import KEEP, iso
from nexeon.admin.views import View, key_view, page
from nexeon.errors import Conflict, NotFound, StoreError
from nexeon.store.protocol import Store
from nexeon.store.records import ApiKey
from nexeon.store.requests import RequestLog
from nexeon.store.secrets import digest, last4, new_id, new_secret

Views = list[View]


class Keys:
    def __init__(self, store: Store, log: RequestLog | None = None) -> None:
        """The log of requests knows when a key was used last."""
        self._store = store
        self._log = log
        self._texts = Texts(_texts)

    async def create(
        self,
        *,
        account: Any,
        name: Any,
        models: Any = (),
        scopes: Any = (),
        rpm: Any = None,
        tpm: Any = None,
        concurrency: Any = None,
        expires: Any = None,
        budget: Any = None,
        period: Any = None,
        rpd: Any = None,
        tpd: Any = None,
    ) -> View:
        """`{"id", "key"}`: the only time that the secret is seen.

        `budget` is what it may spend in a `period` (day, week, month: UTC), or in all without one.
        """
        owner = await self._store.account(values.text("account", account))
        secret = new_secret()
        given = {
            "name": name, "models": models, "scopes": scopes, "rpm": rpm, "tpm": tpm, "rpd": rpd, "tpd": tpd,
            "concurrency": concurrency, "expires": expires, "budget": budget, "period": period,
        }  # fmt: skip
        key = ApiKey(
            id=new_id("key"),
            account=owner.id,
            created=time.time(),
            hash=digest(secret),
            last4=last4(secret),
            **values.checked(given),
        )
        await self._store.add(key)
        return {"id": key.id, "key": secret}

    async def list(self, *, account: Any = None, search: Any = None, after: Any = None, limit: Any = 1000) -> View:
        """A page, in the order of creation; of one account or of all; with `search`, of those with that text in their
        name, their id, their secret's last characters or their account's name."""
        owner = None if account is None else (await self._store.account(values.text("account", account))).id
        every = await self._store.api_keys(owner)
        owners = await self._owners(search)
        of_them = (lambda key: key.account in owners) if owners else None
        known = self._texts if owner is None else Texts(_texts)
        found, following = await known.select(every, search, after, limit, of_them)
        return page(await self._views(found), following)

    async def show(self, *, key: Any) -> View:
        """`last_used` is when the newest request of the log began with it, `account_name` is its account's."""
        return (await self._views([await self._find(key)]))[0]

    async def update(
        self,
        *,
        key: Any,
        name: Any = KEEP,
        models: Any = KEEP,
        scopes: Any = KEEP,
        rpm: Any = KEEP,
        tpm: Any = KEEP,
        concurrency: Any = KEEP,
        expires: Any = KEEP,
        disabled: Any = KEEP,
        budget: Any = KEEP,
        period: Any = KEEP,
        rpd: Any = KEEP,
        tpd: Any = KEEP,
    ) -> View:
        """What is not given stays; `None` takes a limit away, an empty list permits everything."""
        given = {
            "name": name, "models": models, "scopes": scopes, "rpm": rpm, "tpm": tpm, "rpd": rpd, "tpd": tpd,
            "concurrency": concurrency, "expires": expires, "budget": budget, "period": period, "disabled": disabled,
        }  # fmt: skip
        changed = replace(await self._find(key), **values.checked(given))
        await self._store.replace(changed)
        return (await self._views([changed]))[0]

    async def disable(self, *, key: Any) -> View:
        """It is refused until it is updated with `disabled: false`."""
        return await self.update(key=key, disabled=True)

    async def delete(self, *, key: Any) -> View:
        found = await self._find(key)
        await self._store.remove(found)
        return {"id": found.id, "deleted": True}

    async def rotate(self, *, key: Any, overlap: Any = 0) -> View:
        """`{"id", "key"}`: a new secret; the one before it stays good for `overlap` seconds."""
        found = await self._find(key)
        secret = new_secret()
        grace = values.seconds("overlap", overlap)
        changed = replace(
            found,
            hash=digest(secret),
            last4=last4(secret),
            previous_hash=found.hash if grace else "",
            previous_until=time.time() + grace if grace else None,
        )
        await self._store.replace(changed)
        return {"id": changed.id, "key": secret}

    async def _view(self, key: ApiKey) -> View:
        return key_view(key, await self._store.budget(key.id), time.time())

    async def _views(self, keys: Sequence[ApiKey]) -> Views:
        """With what is known of each from elsewhere."""
        used: Mapping[str, float] = {}
        if (log := kept(self._log)) is not None:
            with contextlib.suppress(StoreError):  # keys are listed without it, too
                used = await log.last_used([each.id for each in keys])
        names: dict[str, str | None] = {}
        for owner in {each.account for each in keys}:
            try:
                names[owner] = (await self._store.account(owner)).name
            except NotFound:
                names[owner] = None
        return [
            await self._view(each) | {"account_name": names[each.account], "last_used": iso(used.get(each.id))}
            for each in keys
        ]

    async def _owners(self, search: Any) -> Mapping[str, str]:
        """The names of accounts by id, of those that a search finds."""
        if not isinstance(search, str):
            return {}
        wanted = search.strip().casefold()
        return {each.id: each.name for each in await self._store.accounts() if wanted in each.name.casefold()}

    async def _find(self, key: Any) -> ApiKey:
        wanted = values.text("key", key)
        try:
            return await self._store.api_key(wanted)
        except NotFound:
            named = [each for each in await self._store.api_keys() if each.name == wanted]
        if not named:
            raise NotFound(f"no key `{wanted}`")
        if len(named) > 1:
            raise Conflict(f"{len(named)} keys are named `{wanted}`: use the id, one of `nexeon keys list`")
        return named[0]


def _texts(key: ApiKey) -> tuple[str, ...]:
    return key.name, key.id, key.last4
