"""The operator's keys at providers: add, list, update, test, enable, disable, delete. Secrets go in and never out."""

from __future__ import annotations

import difflib
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from nexeon.admin import values
from nexeon.admin.values import KEEP
from nexeon.admin.views import View, page, provider_key_view
from nexeon.errors import AdminError, NotFound
from nexeon.store.protocol import Store
from nexeon.store.records import ProviderKey
from nexeon.store.secrets import last4, new_id

# Makes one cheap upstream call with a key and its secret: {"ok": bool, "message": str, …}.
Probe = Callable[[ProviderKey, str], Awaitable[dict[str, Any]]]

# What a gateway knows of provider keys, by id: {"state": …, "reason": …, …}.
Live = Callable[[], Mapping[str, Mapping[str, Any]]]

_LONGEST = 16_384
CONFIGURED = "config:"
"""How the ids of keys that are kept in the configuration begin."""


class ProviderKeys:
    def __init__(self, store: Store, providers: Collection[str], probe: Probe | None, live: Live | None = None) -> None:
        self._store = store
        self._providers = providers
        self._probe = probe
        self._live = live

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
        key = ProviderKey(
            id=new_id("pk"),
            provider=name,
            account=values.text("account", account),
            created=time.time(),
            sealed=self._store.seal(plain),
            last4=last4(plain),
            label=values.text("label", label, empty=True),
            weight=values.count("weight", weight, least=1),
            **values.limits({"rpm": rpm, "tpm": tpm, "rpd": rpd, "tpd": tpd, "concurrency": concurrency}),
        )
        await self._store.add(key)
        return self._view(key)

    async def list(self, *, provider: Any = None) -> View:
        """All on one page; `state`, `reason` and `live` are how a running gateway finds each.

        A gateway also tells of the configuration's keys that it has used: their ids begin with `config:`.
        """
        every = await self._store.all_provider_keys()
        configured = [
            ProviderKey(name, name.split(":")[1], "", 0.0, "", "", label="(configuration)")
            for name in sorted(self._live() if self._live is not None else ())
            if name.startswith(CONFIGURED)
        ]
        views = [self._view(each) for each in (*every, *configured) if provider in (None, each.provider)]
        return page(views, None)

    async def show(self, *, key: Any) -> View:
        return self._view(await self._find(key))

    def _view(self, key: ProviderKey) -> View:
        live = self._live().get(key.id) if self._live is not None else None
        known = live or {"state": "active" if key.enabled else "disabled", "reason": ""}
        view = provider_key_view(key)
        if key.id.startswith(CONFIGURED):
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
        changed = await self._find(key)
        if account is not KEEP:
            changed = replace(changed, account=values.text("account", account))
        if label is not KEEP:
            changed = replace(changed, label=values.text("label", label, empty=True))
        if weight is not KEEP:
            changed = replace(changed, weight=values.count("weight", weight, least=1))
        if enabled is not KEEP:
            changed = replace(changed, enabled=values.flag("enabled", enabled))
        changed = replace(
            changed, **values.limits({"rpm": rpm, "tpm": tpm, "rpd": rpd, "tpd": tpd, "concurrency": concurrency})
        )
        await self._store.replace(changed)
        return self._view(changed)

    async def enable(self, *, key: Any) -> View:
        return await self.update(key=key, enabled=True)

    async def disable(self, *, key: Any) -> View:
        return await self.update(key=key, enabled=False)

    async def delete(self, *, key: Any) -> View:
        found = await self._find(key)
        await self._store.remove(found)
        return {"id": found.id, "deleted": True}

    async def test(self, *, key: Any) -> View:
        """One cheap call to the provider. Raises AdminError where nothing here can make one."""
        found = await self._find(key)
        if self._probe is None:
            raise AdminError("provider keys are tested by a gateway: start `nexeon serve`, then try again")
        secret = next((plain for each, plain in self._store.provider_keys(found.provider) if each.id == found.id), None)
        if secret is None:
            raise AdminError(f"provider key `{found.id}` is disabled or cannot be decrypted: enable it, or add it anew")
        return {"id": found.id, **await self._probe(found, secret)}

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
        every = await self._store.all_provider_keys()
        found = [each for each in every if each.id == wanted] or [each for each in every if each.label == wanted]
        if len(found) != 1:
            raise NotFound(f"{'several provider keys are' if found else 'no provider key'} `{wanted}`: use an id")
        return found[0]
