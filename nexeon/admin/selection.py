"""A page of records that are in memory: found by a part of their text, without holding up what else runs."""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from nexeon.admin import values

_SLICE: Final = 2000
"""So many records are looked at before others may run: about a millisecond."""

_AT_ONCE: Final = 20
"""The same in slices whose texts are known."""


_BETWEEN: Final = "\0"


class Named(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=Named)


@dataclass(frozen=True, slots=True)
class _Part:
    """Records and their texts, one after the other; `starts` is where each record's begin."""

    records: Sequence[Any]
    text: str
    starts: array[int]

    def matching(self, wanted: str, also: Collection[int], start: int) -> Iterator[int]:
        """Places of records from `start` on whose texts hold it, and those of `also`, in their order."""
        others = iter(sorted(place for place in also if place >= start))
        other = next(others, None)
        place = start
        while place < len(self.records):
            at = self.text.find(wanted, self.starts[place])
            place = bisect_right(self.starts, at) - 1 if at >= 0 else len(self.records)
            while other is not None and other <= place:
                if other < place:
                    yield other
                other = next(others, None)
            if at >= 0:
                yield place
            place += 1


class Texts(Generic[R]):
    """The texts of records, kept joined from one search to the next: to look through 100,000 takes 3 ms, where asking
    each for its texts takes 50. What has changed meanwhile is joined anew."""

    def __init__(self, texts: Callable[[R], tuple[str, ...]]) -> None:
        self._texts = texts
        self._parts: list[_Part] = []

    async def select(
        self, every: Sequence[R], search: Any, after: Any, limit: Any, also: Callable[[R], bool] | None = None
    ) -> tuple[list[R], str | None]:
        """Up to `limit` records after the one with the id `after`, and the next page's `after`.

        With `search`, those where one of their texts holds it, whatever the case, and those of `also`. Raises
        AdminError.
        """
        most = values.count("limit", limit, least=1)
        start = 0
        if after is not None:
            start = next((place for place, each in enumerate(every, 1) if each.id == after), 0)
        found: list[R] = []
        if search is None:
            end = start + most
            found += every[start:end]
            return found, found[-1].id if end < len(every) and found else None
        wanted = values.text("search", search).casefold()
        for number, begin in enumerate(range(0, len(every), _SLICE)):
            if begin + _SLICE <= start or _BETWEEN in wanted:
                continue
            part, made = self._part(number, every[begin : begin + _SLICE])
            others = [place for place, each in enumerate(part.records) if also(each)] if also is not None else ()
            for place in part.matching(wanted, others, max(start - begin, 0)):
                found.append(part.records[place])
                if len(found) > most:
                    return found[:most], found[most - 1].id
            if made or others or not number % _AT_ONCE:
                await asyncio.sleep(0)
        return found, None

    def _part(self, number: int, records: Sequence[R]) -> tuple[_Part, bool]:
        """The part of that number, and whether it was made anew."""
        known = self._parts[number] if number < len(self._parts) else None
        if known is not None and known.records == records:
            return known, False
        lines = [_BETWEEN.join(self._texts(each)).casefold() for each in records]
        starts = array("Q")
        at = 0
        for line in lines:
            starts.append(at)
            at += len(line) + 1
        part = _Part(records, _BETWEEN.join(lines), starts)
        while len(self._parts) <= number:
            self._parts.append(_Part((), "", array("Q")))
        self._parts[number] = part
        return part, True
