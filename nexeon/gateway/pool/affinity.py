"""Requests that continue each other: they find their prompt in the cache of the provider key that served the first."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from nexeon.gateway.exchange import Exchange

LEAST: Final = 4096
"""Bytes of a body below which no provider caches its prompt."""

_PREFIX: Final = 2048
"""Bytes that stay as they are when a conversation goes on: its later turns come after them."""


def conversation(exchange: Exchange, raw: bytes) -> str:
    """The same text for requests of one account that continue each other; "" where it does not matter.

    `raw` is the body, or what stands for it: as many bytes of its beginning as matter here.
    """
    path = exchange.format.wire.request.cache_key
    named = path.get(exchange.body) if path is not None else None
    if type(named) is str and named:
        return f"{exchange.account.id}:{named}"
    if len(raw) < LEAST:
        return ""
    return f"{exchange.account.id}:{blake2b(raw[:_PREFIX], digest_size=16).hexdigest()}"
