"""Whether a provider takes a key: one call that costs nothing."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httpx

from nexeon.admin.provider_keys import Probe
from nexeon.config import Config, Provider
from nexeon.errors import AdminError
from nexeon.gateway.transport import TRANSPORT_ERRORS, TransportFactory, aiohttp_transport
from nexeon.store import ProviderKey

_PATIENCE: Final = 20.0


def probe(config: Config, *, transport: TransportFactory = aiohttp_transport) -> Probe:
    """For the admin service: `{"ok", "status", "message"}`; `status` is None where no answer came."""

    async def tried(key: ProviderKey, secret: str) -> dict[str, Any]:
        """Raises AdminError where the configuration has no such provider."""
        provider = config.providers.get(key.provider)
        if provider is None:
            raise AdminError(f"the configuration has no provider `{key.provider}`")
        try:
            async with asyncio.timeout(_PATIENCE):
                status = await _status(provider, secret, transport)
        except TimeoutError:
            return _result(None, f"no answer from {provider.base_url} within {_PATIENCE:g} s")
        except TRANSPORT_ERRORS:
            return _result(None, f"{provider.base_url} cannot be reached")
        # The body is not shown: some providers repeat a part of the key in it.
        return _result(status, _words(status))

    return tried


async def _status(provider: Provider, secret: str, transport: TransportFactory) -> int:
    headers = {**provider.headers, provider.auth.header: provider.auth.render(secret)}
    async with (
        httpx.AsyncClient(transport=transport(provider), timeout=_PATIENCE, trust_env=False) as client,
        client.stream("GET", provider.base_url + provider.probe, headers=headers) as answer,
    ):
        return answer.status_code


def _result(status: int | None, message: str) -> dict[str, Any]:
    return {"ok": status is not None and status < 300, "status": status, "message": message}


def _words(status: int) -> str:
    if status < 300:
        return "the provider takes the key"
    if status == 429:
        return "the provider limits the key at the moment"
    if status in (404, 405, 408) or not 400 <= status < 500:
        return f"the provider answered {status}, which does not tell whether the key is good"
    return f"the provider refuses the key ({status})"
