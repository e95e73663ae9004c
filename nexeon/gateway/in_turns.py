"""Long loops that let others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")


async def in_turns(every: Iterable[T], at_once: int) -> AsyncIterator[T]:
    """What there is now, so many in each turn of the event loop."""
    for number, one in enumerate(list(every), 1):
        yield one
        if number % at_once == 0:
            await asyncio.sleep(0)
