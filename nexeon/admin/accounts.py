"""Accounts: create, list, show, update, disable, delete. An account is named by id or name."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from nexeon.admin import values
from nexeon.admin.selection import Texts
from nexeon.admin.values import KEEP
from nexeon.admin.views import View, account_view, page
from nexeon.store.protocol import Store
from nexeon.store.records import Account
from nexeon.store.secrets import new_id


class Accounts:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.gone: Callable[[str], Awaitable[None]] | None = None
        """Deletes what else is kept of an account; a gateway sets it."""

    async def create(
        self,
        *,
        name: Any,
        overdraft: Any = "0",
        soft_limit: Any = None,
        rpm: Any = None,
        tpm: Any = None,
        rpd: Any = None,
        tpd: Any = None,
        concurrency: Any = None,
    ) -> View:
        """Limits are of all its keys together. `overdraft` is how far below zero its balance may go; `soft_limit` warns
        when less than that is available.

        Raises Conflict for a name that is taken.
        """
        given = {
            "name": name, "overdraft": overdraft, "soft_limit": soft_limit, "rpm": rpm, "tpm": tpm, "rpd": rpd,
            "tpd": tpd, "concurrency": concurrency,
        }  # fmt: skip
        account = Account(id=new_id("acc"), created=time.time(), **values.checked(given))
        await self._store.add(account)
        return await self._view(account)

    async def list(self, *, search: Any = None, after: Any = None, limit: Any = 1000) -> View:
        """A page, in the order of creation; with `search`, of those with that text in their name or id."""
        every = await self._store.accounts()
        found, following = await Texts(_texts).select(every, search, after, limit)
        return page([await self._view(each) for each in found], following)

    async def show(self, *, account: Any) -> View:
        return await self._view(await self._find(account))

    async def update(
        self,
        *,
        account: Any,
        name: Any = KEEP,
        disabled: Any = KEEP,
        overdraft: Any = KEEP,
        soft_limit: Any = KEEP,
        rpm: Any = KEEP,
        tpm: Any = KEEP,
        rpd: Any = KEEP,
        tpd: Any = KEEP,
        concurrency: Any = KEEP,
    ) -> View:
        """What is not given stays; a `soft_limit` of None warns no more."""
        given = {
            "name": name, "disabled": disabled, "overdraft": overdraft, "soft_limit": soft_limit, "rpm": rpm,
            "tpm": tpm, "rpd": rpd, "tpd": tpd, "concurrency": concurrency,
        }  # fmt: skip
        changed = replace(await self._find(account), **values.checked(given))
        await self._store.replace(changed)
        return await self._view(changed)

    async def disable(self, *, account: Any) -> View:
        """Its keys are refused until it is updated with `disabled: false`."""
        return await self.update(account=account, disabled=True)

    async def delete(self, *, account: Any) -> View:
        """With its keys and what is left of its credit; the ledger stays. Raises Conflict while calls are under way."""
        found = await self._find(account)
        await self._store.remove(found)
        if self.gone is not None:
            await self.gone(found.id)
        return {"id": found.id, "deleted": True}

    async def _find(self, account: Any) -> Account:
        return await self._store.account(values.text("account", account))

    async def _view(self, account: Account) -> View:
        return account_view(account, await self._store.balance(account.id))


def _texts(account: Account) -> tuple[str, ...]:
    return account.name, account.id
