"""Events that have the same bytes but for their slots, told together: nothing of them is parsed but the slots."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple

import orjson

from nexeon.gateway.alone import alone
from nexeon.mapping.stream import Steady

Place = tuple[str | int, ...]
_MANY: Final = 8
"""So many events are quicker taken together than one by one."""

_MOST_FAILURES: Final = 3
_ANCHOR: Final = 64
_LAST_ONES: Final = 3
"""Events that may begin as those before, and be cut off or end otherwise."""

_TEXT: Final = rb'([^"\\\n]*+(?:\\.[^"\\\n]*+)*+)'
_PLAIN_TEXT: Final = rb"([0-9A-Za-z]*+)"
_NUMBER: Final = rb"((?!0[0-9])[0-9]{1,15}+)"
"""What may be in a slot: the text that grows, that of another, a number."""


class Meaning(NamedTuple):
    """What an event with marks in its slots comes to: the client's bytes (with the marks), and where its text grows."""

    out: bytes
    steady: Steady
    number: Callable[[int], int | None]
    """Counts so many events for the client: the number of the first, None where they cannot be told like that."""


class Slot(NamedTuple):
    place: Place
    start: int
    end: int
    is_text: bool


class Template:
    """An event's bytes around its slots, and those of what it comes to."""

    __slots__ = (
        "_anchor", "_as_it_is", "_failures", "_fields", "_kinds", "_lengths", "_parts", "_tail", "_text", "_used",
        "alone", "head", "meaning",
    )  # fmt: skip

    def __init__(
        self, parts: list[bytes], slots: list[Slot], text: int, fields: list[bytes], used: list[int], meaning: Meaning
    ) -> None:
        """`text` is the slot that grows; `fields` and `used` are the client's bytes around slots, in their order there;
        slot -1 is the client's number."""
        self.head, self._tail = parts[0], parts[-1]
        self._parts = parts
        self._anchor = self.head[-_ANCHOR:]
        self._lengths = tuple(map(len, parts))
        kinds = [_PLAIN_TEXT if slot.is_text else _NUMBER for slot in slots]
        self._kinds = (*kinds[:text], _TEXT, *kinds[text + 1 :])
        others = [(number, slot.is_text) for number, slot in enumerate(slots) if number != text]
        self._text = text
        self._fields = fields
        self._used = used
        self._as_it_is = fields == parts and used == list(range(len(slots)))
        self.alone = alone(parts, text, others, fields, used, meaning.steady, meaning.number)
        self._failures = 0  # one after the other to take many events together
        self.meaning = meaning

    def run(self, data: bytes, start: int) -> tuple[int, bytes]:
        """Where the events end that fit, from `start` on, and what the client gets for them."""
        if not self.meaning.steady.holds:
            return start, b""
        end = data.find(b"\n\n", start) + 2
        if end < 2:
            return start, b""
        many = data.startswith(self.head, end) and len(data) - start > _MANY * (end - start)
        if many and self._failures < _MOST_FAILURES:
            done = self._run_together(data, start)
            if done is not None:
                self._failures = 0
                return done
            self._failures += 1
        out: list[bytes] = []
        while end >= 2 and (told := self.alone(data[start:end])) is not None:
            out.append(told)
            start = end
            end = data.find(b"\n\n", start) + 2 if data.startswith(self.head, start) else 0
        return start, out[0] if len(out) == 1 else b"".join(out)

    def _run_together(self, data: bytes, start: int) -> tuple[int, bytes] | None:
        """All events until the last one that begins and ends alike; None where one of them does not fit.

        What is in the slots is found by how long the bytes around them are, and these are compared after that, all at
        once.
        """
        end = last = len(data)
        for _ in range(_LAST_ONES):
            last = data.rfind(self._anchor, start, last)
            end = data.find(b"\n\n", last) + 2
            if end >= 2 and data.startswith(self._tail, end - self._lengths[-1]):
                break
        else:
            return None
        found = _cutter(self._lengths, self._kinds).findall(data, start, end)
        count = len(found)
        columns: list[Sequence[bytes]] = list(zip(*found, strict=True)) if len(self._kinds) > 1 else [found]
        whole = _woven(self._parts, columns, count)
        if len(whole) != end - start or not data.startswith(whole, start):
            return None
        said = _said_all(columns[self._text])
        if not said or (first := self.meaning.number(count)) is None:
            return None
        self.meaning.steady.add(said)
        if self._as_it_is:
            return end, whole
        numbers = [b"%d" % number for number in range(first, first + count)] if -1 in self._used else []
        return end, _woven(self._fields, [columns[slot] if slot >= 0 else numbers for slot in self._used], count)


@lru_cache(maxsize=512)
def _cutter(lengths: tuple[int, ...], kinds: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Finds what is in the slots of one event after the other. Where one has other bytes than these, it takes anything
    for its slots, or the rest of the data at once: whoever uses it has to compare."""
    around = [b"(?s:.{%d})" % length for length in lengths]
    return re.compile(b"".join(chain.from_iterable(zip(around, (*kinds, b""), strict=True))) + b"|(?s:.+)")


def _woven(fields: list[bytes], columns: Sequence[Sequence[bytes]], count: int) -> bytes:
    """So many rows of the columns' values, with the fields around."""
    if not columns:
        return fields[0] * count
    head, *middles, tail = fields
    width = 2 * len(columns)
    cells = [tail + head] * (width * count)
    for number, column in enumerate(columns):
        cells[2 * number :: width] = column
    for number, middle in enumerate(middles):
        cells[2 * number + 1 :: width] = [middle] * count
    cells[0] = head + cells[0]
    cells[-1] = tail
    return b"".join(cells)


def _said_all(texts: Sequence[bytes]) -> str | None:
    """What the insides of JSON texts mean together; None where one is empty, or is none.

    None of them has a bare line feed, so those that stand between them here cannot be in a text.
    """
    if not all(texts):
        return None
    try:
        return "".join(orjson.loads(b'["' + b'",\n"'.join(texts) + b'"]'))
    except orjson.JSONDecodeError:
        return None
