"""All that an operator can do, as methods that take and return plain dicts; `call` runs one by its name."""

from __future__ import annotations

import difflib
import inspect
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nexeon.admin.accounts import Accounts
from nexeon.admin.credits import Credits
from nexeon.admin.keys import Keys
from nexeon.admin.provider_keys import Probe, ProviderKeys
from nexeon.errors import AdminError
from nexeon.store.money import to_usd
from nexeon.store.protocol import Store

if TYPE_CHECKING:
    from nexeon.config import Config

audit = logging.getLogger("nexeon.admin.audit")

_READS = frozenset({"list", "show", "ledger", "status"})


class AdminService:
    """`accounts`, `keys`, `credits` and `provider_keys` hold the operations; the methods' names are `accounts.create` …

    `probe` tries a provider key upstream; whoever has an upstream client supplies it.
    """

    def __init__(self, store: Store, config: Config | None = None, *, probe: Probe | None = None) -> None:
        self.store = store
        self.accounts = Accounts(store)
        self.keys = Keys(store)
        self.credits = Credits(store)
        self.provider_keys = ProviderKeys(store, tuple(config.providers) if config else (), probe)
        self._methods = {
            f"{group}.{name}": method
            for group in ("accounts", "keys", "credits", "provider_keys")
            for name, method in inspect.getmembers(getattr(self, group), inspect.iscoroutinefunction)
            if not name.startswith("_")
        }
        self._methods["status"] = self.status

    async def status(self) -> dict[str, Any]:
        """What is being administered, by which process, and what the operator should know of: accounts below their
        soft limits."""
        return {"store": self.store.url, "pid": os.getpid(), "warnings": await self._warnings()}

    async def _warnings(self) -> list[str]:
        warnings = []
        for account in await self.store.accounts():
            if account.soft_limit is not None:
                available = (await self.store.balance(account.id)).available
                if available < account.soft_limit:
                    warnings.append(
                        f"account `{account.name}` has {to_usd(available)} USD available, less than its soft limit of "
                        f"{to_usd(account.soft_limit)} USD"
                    )
        return warnings

    async def call(self, method: str, params: Mapping[str, Any], *, actor: str) -> Any:
        """Runs `accounts.create` and the like. Raises AdminError for what does not fit, StoreError from the store."""
        run = self._methods.get(method)
        if run is None:
            near = difflib.get_close_matches(method, self._methods, 1)
            raise AdminError(f"no admin method `{method}`" + (f": did you mean `{near[0]}`?" if near else ""))
        try:
            inspect.signature(run).bind(**params)
        except TypeError as error:
            raise AdminError(f"{method}: {error}") from None
        result = await run(**params)
        if method.rpartition(".")[2] not in _READS:
            audit.info("%s: %s %s", actor, method, result.get("id", ""))
        return result
