"""A page of records that are in memory: found by a part of their text, without holding up what else runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from nexeon.admin import values

_SLICE: Final = 2000
"""So many records are looked at before others may run: about a millisecond."""


class Named(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=Named)


async def select(
    every: Sequence[R], search: Any, after: Any, limit: Any, texts: Callable[[R], tuple[str, ...]]
) -> tuple[list[R], str | None]:
    """Up to `limit` records after the one with the id `after`, and the next page's `after`.

    With `search`, those where one of `texts` holds it, whatever the case. Raises AdminError.
    """
    most = values.count("limit", limit, least=1)
    start = 0
    if after is not None:
        start = next((place for place, each in enumerate(every, 1) if each.id == after), 0)
    if search is None:
        end = start + most
        found = list(every[start:end])
        return found, found[-1].id if end < len(every) and found else None
    wanted = values.text("search", search).casefold()
    matching: list[R] = []
    for begin in range(start, len(every), _SLICE):
        for each in every[begin : begin + _SLICE]:
            if any(wanted in text.casefold() for text in texts(each)):
                matching.append(each)
                if len(matching) > most:
                    return matching[:most], matching[most - 1].id
        await asyncio.sleep(0)
    return matching, None
