"""The operator's keys at providers: add, list, update, test, enable, disable, delete. Secrets go in and never out."""

from __future__ import annotations

import difflib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

from nexeon.admin import values
from nexeon.admin.values import KEEP
from nexeon.admin.views import View, page, provider_key_view
from nexeon.config.model import OWN_KEY, Provider
from nexeon.errors import AdminError, NotFound
from nexeon.store.protocol import Store
from nexeon.store.records import ProviderKey
from nexeon.store.rests import RestStore
from nexeon.store.secrets import last4, new_id

# Makes one cheap upstream call with a key and its secret: {"ok": bool, "message": str, …}.
Probe = Callable[[ProviderKey, str], Awaitable[dict[str, Any]]]

_LONGEST = 16_384


class Pool(Protocol):
    """What is known of provider keys, by id, such as a gateway's pool."""

    def states(self) -> Mapping[str, Mapping[str, Any]]:
        """`{"state", "reason", …}` of keys that were used, or rest."""
        ...

    async def lift(self, key: str) -> None:
        """The key is to be used again."""
        ...


class KeptPool:
    """The same where no gateway runs: what the last one has left. `load` comes first."""

    def __init__(self, rests: RestStore) -> None:
        self._rests = rests
        self._states: dict[str, dict[str, Any]] = {}

    async def load(self) -> None:
        """Raises StoreUnavailable."""
        now = time.time()
        every = sorted(await self._rests.load(), key=lambda rest: (rest.state == "removed", rest.until))
        self._states = {
            rest.key: {
                "state": rest.state,
                "reason": rest.reason,
                "model": rest.model,
                "wait": round(max(rest.until - now, 0.0), 1),
            }
            for rest in every
            if rest.state == "removed" or rest.until > now
        }

    def states(self) -> Mapping[str, Mapping[str, Any]]:
        return self._states

    async def lift(self, key: str) -> None:
        await self._rests.drop(key)
        await self.load()


class ProviderKeys:
    def __init__(
        self, store: Store, providers: Mapping[str, Provider], probe: Probe | None, pool: Pool | KeptPool
    ) -> None:
        self._store = store
        self._providers = providers
        self._probe = probe
        self._pool = pool

    def configure(self, providers: Mapping[str, Provider], probe: Probe | None) -> None:
        """Goes by these providers from now on."""
        self._providers = providers
        self._probe = probe

    async def add(
        self,
        *,
        provider: Any,
        secret: Any,
        account: Any = "default",
        label: Any = "",
        weight: Any = 1,
        rpm: Any = None,
        tpm: Any = None,
        rpd: Any = None,
        tpd: Any = None,
        concurrency: Any = None,
    ) -> View:
        """`account` names the organisation at the provider: conversations with sealed reasoning stay within one."""
        name = self._known(values.text("provider", provider))
        if not isinstance(secret, str) or not secret.strip() or len(secret) > _LONGEST:
            raise AdminError("secret: it is empty or too long")
        plain = secret.strip()
        if not plain.isprintable():
            raise AdminError("secret: it must be one line")
        given = {
            "account": account, "label": label, "weight": weight, "rpm": rpm, "tpm": tpm, "rpd": rpd, "tpd": tpd,
            "concurrency": concurrency,
        }  # fmt: skip
        key = ProviderKey(
            id=new_id("pk"),
            provider=name,
            created=time.time(),
            sealed=self._store.seal(plain),
            last4=last4(plain),
            **values.checked(given),
        )
        await self._store.add(key)
        return self._view(key, await self._states())

    async def list(self, *, provider: Any = None) -> View:
        """All on one page; `state`, `reason` and `live` are how a gateway finds each, or has left it.

        The configuration's keys are there, too: their ids begin with `config:`.
        """
        states = await self._states()
        every = [*await self._store.all_provider_keys(), *self._own()]
        return page([self._view(each, states) for each in every if provider in (None, each.provider)], None)

    async def show(self, *, key: Any) -> View:
        return self._view(await self._find(key), await self._states())

    async def _states(self) -> Mapping[str, Mapping[str, Any]]:
        if isinstance(self._pool, KeptPool):
            await self._pool.load()
        return self._pool.states()

    def _view(self, key: ProviderKey, states: Mapping[str, Mapping[str, Any]]) -> View:
        live = states.get(key.id)
        known = live or {"state": "active" if key.enabled else "disabled", "reason": ""}
        view = provider_key_view(key)
        if key.id.startswith(OWN_KEY):
            view["created"] = None
        return {
            **view,
            "state": known["state"] if key.enabled else "disabled",
            "reason": known["reason"],
            "live": None if live is None else dict(live),
        }

    async def update(
        self,
        *,
        key: Any,
        account: Any = KEEP,
        label: Any = KEEP,
        weight: Any = KEEP,
        enabled: Any = KEEP,
        rpm: Any = KEEP,
        tpm: Any = KEEP,
        rpd: Any = KEEP,
        tpd: Any = KEEP,
        concurrency: Any = KEEP,
    ) -> View:
        """What is not given stays."""
        found = await self._find(key)
        if found.id.startswith(OWN_KEY):
            raise AdminError(f"`{found.id}` is kept in the configuration: change it there")
        given = {
            "account": account, "label": label, "weight": weight, "enabled": enabled, "rpm": rpm, "tpm": tpm,
            "rpd": rpd, "tpd": tpd, "concurrency": concurrency,
        }  # fmt: skip
        changed = replace(found, **values.checked(given))
        await self._store.replace(changed)
        if changed.enabled and enabled is not KEEP:
            await self._pool.lift(changed.id)
        return self._view(changed, await self._states())

    async def enable(self, *, key: Any) -> View:
        """Uses it again, also where its provider has limited or refused it."""
        found = await self._find(key)
        if not found.id.startswith(OWN_KEY):
            return await self.update(key=found.id, enabled=True)
        await self._pool.lift(found.id)
        return self._view(found, await self._states())

    async def disable(self, *, key: Any) -> View:
        return await self.update(key=key, enabled=False)

    async def delete(self, *, key: Any) -> View:
        found = await self._find(key)
        if found.id.startswith(OWN_KEY):
            raise AdminError(f"`{found.id}` is kept in the configuration: take it out there")
        await self._store.remove(found)
        await self._pool.lift(found.id)
        return {"id": found.id, "deleted": True}

    async def test(self, *, key: Any) -> View:
        """One cheap call to the provider. Raises AdminError where nothing here can make one."""
        found = await self._find(key)
        if self._probe is None:
            raise AdminError("provider keys are tested by a gateway: start `nexeon serve`, then try again")
        known = [(each.id, plain) for each, plain in self._store.provider_keys(found.provider)]
        own = self._providers.get(found.provider)
        known += [(name, each.key) for name, each in (own.own_keys() if own is not None else ())]
        secret = dict(known).get(found.id)
        if secret is None:
            raise AdminError(f"provider key `{found.id}` is disabled or cannot be decrypted: enable it, or add it anew")
        return {"id": found.id, **await self._probe(found, secret)}

    def _own(self) -> Sequence[ProviderKey]:
        """The configuration's keys, as far as the store's have the same facts."""
        return [
            ProviderKey(
                id=name,
                provider=provider.name,
                account=own.account,
                created=0.0,
                sealed="",
                last4=last4(own.key),
                label=own.label or "(configuration)",
                weight=own.weight,  # type: ignore[arg-type]  # operators only read it
                **asdict(own.limits),
            )
            for provider in self._providers.values()
            for name, own in provider.own_keys()
        ]

    def _known(self, provider: str) -> str:
        if self._providers and provider not in self._providers:
            near = difflib.get_close_matches(provider, list(self._providers), 1)
            hint = (
                f"did you mean `{near[0]}`?" if near else f"the configuration has {', '.join(sorted(self._providers))}"
            )
            raise NotFound(f"no provider `{provider}`: {hint}")
        return provider

    async def _find(self, key: Any) -> ProviderKey:
        """By id, or by a label that only one has."""
        wanted = values.text("key", key)
        every = [*await self._store.all_provider_keys(), *self._own()]
        found = [each for each in every if each.id == wanted] or [each for each in every if each.label == wanted]
        if len(found) != 1:
            raise NotFound(f"{'several provider keys are' if found else 'no provider key'} `{wanted}`: use an id")
        return found[0]
