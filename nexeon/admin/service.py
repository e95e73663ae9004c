"""All that an operator can do, as methods that take and return plain dicts; `call` runs one by its name."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from nexeon.admin.accounts import Accounts
from nexeon.admin.audit import Audit, AuditLog
from nexeon.admin.credits import Credits
from nexeon.admin.deployment import Configuration, Models, Routes
from nexeon.admin.keys import Keys
from nexeon.admin.live import Live
from nexeon.admin.playground import Playground
from nexeon.admin.provider_keys import KeptPool, Pool, Probe, ProviderKeys
from nexeon.admin.requests import Requests
from nexeon.admin.usage import Usage, open_books
from nexeon.admin.views import View
from nexeon.errors import AdminError, LoadError, StoreError, StoreUnavailable
from nexeon.store.money import to_usd
from nexeon.store.protocol import Store
from nexeon.store.requests import RequestLog
from nexeon.store.rests import RestStore

if TYPE_CHECKING:
    from nexeon.config import Config
    from nexeon.store.sqlite import Place

log = logging.getLogger("nexeon.admin.audit")


class Running(Protocol):
    """What a gateway offers operators beside its store."""

    async def reload(self, cause: str) -> object:
        """Reads the configuration again; `state` tells how that went."""
        ...

    def state(self) -> View | None: ...

    def diff(self, configuration: Mapping[str, Any], salt: str) -> list[View]:
        """From what answers now to another one."""
        ...


Explain = Callable[..., list[View]]
Erase = Callable[["Place", str], Awaitable[None]]
"""Deletes what an account has kept in a store's place, beside the ledger. Raises StoreError."""
"""What a request becomes for each target: called in a thread, with the parameters of `explain`. Raises LoadError."""

ALONE: Final = ("status", "explain", "diff", "reload")
"""Operations of no group."""

GROUPS: Final[Mapping[str, type[Any]]] = {
    "accounts": Accounts,
    "keys": Keys,
    "credits": Credits,
    "provider_keys": ProviderKeys,
    "usage": Usage,
    "requests": Requests,
    "audit": Audit,
    "live": Live,
    "models": Models,
    "routes": Routes,
    "configuration": Configuration,
    "playground": Playground,
}
READS: Final = frozenset({"list", "show", "ledger", "status", "explain", "diff", "compose", "read"})
SUBJECTS: Final = {"accounts": "account", "keys": "key", "credits": "account", "provider_keys": "key"} | {
    "requests": "request",
    "models": "model",
}
"""What the records of a group are named by, in its operations' parameters."""


class AdminService:
    """An attribute for each of GROUPS holds its operations; the methods' names are `accounts.create` …

    `probe` tries a provider key upstream, `pool` is a gateway's knowledge of provider keys, `explain` knows the
    mappings; whoever serves supplies them, the log of requests, and `running`. `config` is what is served now;
    `live.watched` is the gateway that serves it.
    """

    def __init__(
        self,
        store: Store,
        config: Config | None = None,
        *,
        probe: Probe | None = None,
        pool: Pool | None = None,
        requests: RequestLog | None = None,
        explain: Explain | None = None,
    ) -> None:
        self.store = store
        self.config = config
        self.accounts = Accounts(store)
        self.keys = Keys(store, requests)
        self.credits = Credits(store, requests)
        self._rests = RestStore(store.place)
        self._pool: Pool | KeptPool = KeptPool(self._rests) if pool is None else pool
        self.provider_keys = ProviderKeys(store, config.providers if config else {}, probe, self._pool)
        self._books = open_books(store, store.place)
        self.usage = Usage(self._books, store)
        self.requests = Requests(requests, store)
        self._audit = AuditLog(store.place)
        self.audit = Audit(self._audit, store)
        self.live = Live(store, self.usage, requests, self._pool)
        self.live.reloaded = lambda: self.running.state() if self.running is not None else None
        self.models = Models(lambda: self.config, self.live)
        self.routes = Routes(lambda: self.config)
        self.configuration = Configuration(lambda: self.config)
        self.playground = Playground()
        self._methods = {
            f"{group}.{name}": getattr(getattr(self, group), name)
            for group, kind in GROUPS.items()
            for name in operations(kind)
        }
        self._methods |= {name: getattr(self, name) for name in ALONE}
        self.running: Running | None = None
        self._explain = explain
        self._log = requests

    def configure(self, config: Config, *, probe: Probe | None = None, explain: Explain | None = None) -> None:
        """Goes by this configuration from now on."""
        self.config = config
        self.provider_keys.configure(config.providers, probe)
        self._explain = explain

    async def status(self) -> View:
        """What is being administered, by which process, and what the operator should know of: accounts below their
        soft limits, provider keys that are left out, targets that keep failing, records that the log of requests could
        not keep, a configuration that cannot be used. `reload` is how the last reading of the configuration went, null
        where there was none."""
        reload = self.running.state() if self.running is not None else None
        return {"store": self.store.url, "pid": os.getpid(), "warnings": await self._warnings(), "reload": reload}

    async def diff(self, configuration: Any, salt: str) -> list[View]:
        """What a configuration would change here: `{"path", "kind", "old", "new", "restart"}` each. It comes as JSON,
        with marks that were made with this salt in the place of secrets."""
        if not isinstance(configuration, dict) or not isinstance(salt, str):
            raise AdminError("configuration must be a JSON object, salt a text")
        return self._gateway().diff(configuration, salt)

    async def reload(self) -> View:
        """Reads the configuration again. `outcome` is applied, unchanged or refused (then nothing has changed, and
        `problems` say why); `restart` are changes that only a new start takes up."""
        await self._gateway().reload("admin")
        return self._gateway().state() or {}

    def _gateway(self) -> Running:
        if self.running is None:
            raise AdminError("no gateway is running here")
        return self.running

    async def explain(
        self,
        model: str,
        format: str,
        request: Any = None,
        response: Any = None,
        events: list[Any] | None = None,
        to: list[str] | tuple[str, ...] = (),
    ) -> list[View]:
        """What a client's request (JSON, of the format) becomes for each target of a model, value by value with the
        mapping lines that made it, and what is lost; or, with a provider's `response` or the `events` of its stream,
        what the client gets of that. `to` names providers and formats to keep to. Nothing is sent."""
        if self._explain is None:
            raise AdminError("nothing here knows the mappings: ask a running gateway, or use `nexeon explain`")
        try:
            return await asyncio.to_thread(
                self._explain,
                model=model,
                format=format,
                request=request,
                response=response,
                events=events,
                to=to,
            )
        except LoadError as error:
            raise AdminError(str(error)) from None

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
        if isinstance(self._pool, KeptPool):
            await self._pool.load()
        for key, state in self._pool.states().items():
            if state.get("state") == "removed":
                warnings.append(f"provider key `{key}` is left out: {state.get('reason')}")
        targets = self.live.watched.targets() if self.live.watched is not None else {}
        for (provider, model, _), state in sorted(targets.items(), key=str):
            if state["open"]:
                times = state["failures"]
                warnings.append(f"target `{provider}/{model}` is left alone after {times} failures in a row")
        if self._log is not None and self._log.dropped:
            warnings.append(f"the request log has dropped {self._log.dropped} records since the start")
        last = self.running.state() if self.running is not None else None
        if last is not None and last["outcome"] == "refused":
            warnings += [f"the configuration was not taken up: {problem}" for problem in last["problems"]]
        elif last is not None:
            warnings += [f"not yet in force: {change}" for change in last["restart"]]
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
        group, _, verb = method.rpartition(".")
        if verb in READS:
            return await run(**params)
        before = await self._state(group, params.get(SUBJECTS[group])) if group else None
        result = await run(**params)
        log.info("%s: %s %s", actor, method, result.get("id", ""))
        after = None if verb == "delete" else result
        if group and after is not None:
            after = await self._state(group, result.get("id")) or result
        try:
            await self._audit.write(actor, method, params, before, after)
        except StoreUnavailable as error:
            raise AdminError(f"{method} was done, but the audit log cannot be written: {error}") from error
        return result

    async def _state(self, group: str, subject: Any) -> View | None:
        """A record as operators see it, where it exists and has such a view."""
        show = getattr(getattr(self, group), "show", None)
        if show is None or subject is None or group == "credits":
            return None
        try:
            found: View = await show(**{SUBJECTS[group]: subject})
        except (StoreError, AdminError):
            return None
        return found

    async def count_usage(self) -> None:
        """What is new in the ledger, so that it is known when it is asked for. Raises StoreError."""
        for book in self._books:
            await book.catch_up()

    async def close(self) -> None:
        """Not the store, nor the log of requests."""
        await self.live.close()
        for book in self._books:
            await book.close()
        await self._audit.close()
        await self._rests.close()


def operations(group: type[Any]) -> list[str]:
    """The names of a group's operations; `close` is for the service alone."""
    found = inspect.getmembers(group, inspect.iscoroutinefunction)
    return [name for name, _ in found if not name.startswith("_") and name != "close"]
