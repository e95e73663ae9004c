"""What gateways tell each other of provider keys: which one rests, with which model, and until when.

A hash on the server holds what is known, for gateways that start or were away; a channel tells the others at once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import orjson

from nexeon.gateway.limits.shared_windows import SharedWindows
from nexeon.store.rests import Rest

_log = logging.getLogger("nexeon.gateway")

_AGAIN: Final = 1.0
_KEEP: Final = 86_400

Heard = Callable[[str, str, Rest | None], None]


class RestListener(ABC):
    """Hears what other gateways tell, from `listen` to `close`: each goes to the function that `listen` is given, as
    key, model, and the rest, or None where the key works again."""

    def __init__(self) -> None:
        self._listener: asyncio.Task[None] | None = None

    def listen(self, heard: Heard) -> None:
        self._listener = asyncio.get_running_loop().create_task(self._listen(heard))

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    @abstractmethod
    async def _listen(self, heard: Heard) -> None: ...

    @abstractmethod
    async def tell(self, key: str, model: str, rest: Rest | None) -> None:
        """What changes here. Whatever fails, calls go on."""

    def kept(self, key: str, model: str, rest: Rest | None) -> None:  # noqa: B027 (not all want to know)
        """What has changed here is in the store by now."""


class SharedRests(RestListener):
    """Over a server that all gateways share."""

    def __init__(self, windows: SharedWindows) -> None:
        """On the server of the counters."""
        super().__init__()
        self._client = windows.client
        self._errors = windows.errors
        self._name = f"{windows.prefix}:rests"
        self._sender = secrets.token_hex(8)

    async def tell(self, key: str, model: str, rest: Rest | None) -> None:
        body = orjson.dumps([self._sender, key, model, None if rest is None else asdict(rest)])
        place = orjson.dumps([key, model])
        try:
            async with self._client.pipeline(transaction=True) as pipe:
                if rest is None:
                    pipe.hdel(self._name, place)
                else:
                    pipe.hset(self._name, place, body)
                    pipe.expire(self._name, _KEEP)
                pipe.publish(self._name, body)
                await pipe.execute()
        except self._errors as error:
            _log.warning("other gateways are not told of a provider key: %s", error)

    async def _listen(self, heard: Heard) -> None:
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(self._name)
                    for body in (await self._client.hgetall(self._name)).values():
                        self._hear(body, heard)
                    while True:
                        message = await channel.get_message(timeout=30.0)
                        if message is not None:
                            self._hear(message["data"], heard)
            except self._errors:
                await asyncio.sleep(_AGAIN)

    def _hear(self, body: Any, heard: Heard) -> None:
        try:
            sender, key, model, facts = orjson.loads(body)
            if sender != self._sender:
                heard(key, model, None if facts is None else Rest(**facts))
        except (ValueError, TypeError) as error:
            _log.warning("what another gateway told of a provider key is not understood: %s", error)
