"""What keys have spent in the current day, week and month (UTC; weeks begin on Monday), and in all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from nexeon.store.records import Period

_DAY: Final = 86_400
# 1 January 1970 was a Thursday.
_TO_MONDAY: Final = 3


@dataclass(slots=True)
class Spending:
    """Nano-USD: what charges took and refunds gave back, by the periods of the last one; `reserved` is held for calls
    under way."""

    day: int = 0
    week: int = 0
    month: int = 0
    in_day: int = 0
    in_week: int = 0
    in_month: int = 0
    total: int = 0
    reserved: int = 0

    def add(self, when: float, amount: int) -> None:
        """A charge of that moment; a refund, which is negative, gives back no more than its periods have spent. One
        from before the current periods is not of them."""
        day = int(when // _DAY)
        if day > self.day:
            week, month = (day + _TO_MONDAY) // 7, _month(day)
            if week > self.week:
                self.week, self.in_week = week, 0
            if month > self.month:
                self.month, self.in_month = month, 0
            self.day, self.in_day = day, 0
            self.in_week += amount
            self.in_month += amount
            self.in_day += amount
        else:
            self.in_day += amount if day == self.day else 0
            self.in_week += amount if (day + _TO_MONDAY) // 7 == self.week else 0
            self.in_month += amount if _month(day) == self.month else 0
        self.total += amount
        if amount < 0:
            self.in_day, self.in_week = max(0, self.in_day), max(0, self.in_week)
            self.in_month, self.total = max(0, self.in_month), max(0, self.total)

    def counts(self) -> list[int]:
        """All but what is reserved, in the order of the fields."""
        return [self.day, self.week, self.month, self.in_day, self.in_week, self.in_month, self.total]

    def spent(self, period: Period, now: float) -> int:
        """In the period that `now` is in; in all, for a budget without one."""
        day = int(now // _DAY)
        if period == "day":
            return self.in_day if day <= self.day else 0
        if period == "week":
            return self.in_week if (day + _TO_MONDAY) // 7 <= self.week else 0
        if period == "month":
            return self.in_month if _month(day) <= self.month else 0
        return self.total


def period_end(period: Period, now: float) -> float | None:
    """When the next period begins; never, without one."""
    day = int(now // _DAY)
    if period == "day":
        return float((day + 1) * _DAY)
    if period == "week":
        return float((day - (day + _TO_MONDAY) % 7 + 7) * _DAY)
    if period == "month":
        year, month = divmod(_month(day) + 1, 12)
        return datetime(year, month + 1, 1, tzinfo=UTC).timestamp()
    return None


@lru_cache(maxsize=64)
def _month(day: int) -> int:
    """Months since the year 0."""
    date = datetime.fromtimestamp(day * _DAY, UTC)
    return date.year * 12 + date.month - 1
