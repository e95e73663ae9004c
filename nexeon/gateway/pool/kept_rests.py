"""What gateways on one database learn of provider keys where no other channel is shared: what the others have kept.

`KeyPool` keeps every rest there anyway; here it is looked for what has changed since the last look.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from nexeon.errors import StoreError
from nexeon.gateway.pool.shared_rests import Heard, RestListener
from nexeon.store.rests import Rest, RestStore

_log = logging.getLogger("nexeon.gateway")

_LOOK: Final = 0.8
"""Seconds between two looks."""


class KeptRests(RestListener):
    """Over the database that all gateways share."""

    def __init__(self, kept: RestStore) -> None:
        super().__init__()
        self._kept = kept
        self._known: dict[tuple[str, str], Rest] = {}
        self._own: dict[tuple[str, str], Rest | None] = {}
        """What was kept here since the last look began."""

    async def tell(self, key: str, model: str, rest: Rest | None) -> None:
        """It is kept: that tells it."""

    def kept(self, key: str, model: str, rest: Rest | None) -> None:
        """Its end at another gateway is to be noticed even where no look has found it."""
        self._own[key, model] = rest
        _put(self._known, (key, model), rest)

    async def _listen(self, heard: Heard) -> None:
        failing = False
        while True:
            self._own.clear()
            try:
                found = {(rest.key, rest.model): rest for rest in await self._kept.load()}
                for place, own in self._own.items():
                    _put(found, place, own)
                self._compare(found, heard)
                failing = False
            except StoreError as error:
                if not failing:
                    _log.warning("what other gateways know of provider keys cannot be read: %s", error)
                failing = True
            await asyncio.sleep(_LOOK)

    def _compare(self, found: dict[tuple[str, str], Rest], heard: Heard) -> None:
        before, self._known = self._known, found
        for (key, model), rest in found.items():
            if before.get((key, model)) != rest:
                heard(key, model, rest)
        for key, model in before.keys() - found.keys():
            heard(key, model, None)


def _put(rests: dict[tuple[str, str], Rest], place: tuple[str, str], rest: Rest | None) -> None:
    if rest is None:
        rests.pop(place, None)
    else:
        rests[place] = rest
