"""Events that have the same bytes but for their slots, told together: nothing of them is parsed but the slots."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from typing import Final, NamedTuple

import orjson

from nexeon.mapping.stream import Steady

Place = tuple[str | int, ...]
_CONTROLS: Final = bytes(range(32))


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
        "_fields", "_joint", "_last_line", "_lines", "_middles", "_others", "_plain", "_tail", "_text", "_used",
        "head", "meaning",
    )  # fmt: skip

    def __init__(
        self, parts: list[bytes], slots: list[Slot], text: int, fields: list[bytes], used: list[int], meaning: Meaning
    ) -> None:
        """`text` is the slot that grows; `fields` and `used` are the client's bytes around slots, in their order there;
        slot -1 is the client's number."""
        self.head, *middles, self._tail = parts
        self._middles = [(middle, middle[:2], middle[2:], slice(len(middle) - 2, None)) for middle in middles]
        self._joint = self._tail + self.head
        self._lines = self.head.count(b"\n") + 2
        self._last_line = self.head.rpartition(b"\n")[2]
        self._text = text
        self._others = [(number, slot.is_text) for number, slot in enumerate(slots) if number != text]
        self._fields = fields
        self._used = used
        self._plain = used == list(range(len(slots))) and fields[1:-1] == middles
        self.meaning = meaning

    def run(self, data: bytes, start: int) -> tuple[int, bytes]:
        steady = self.meaning.steady
        if not steady.holds:
            return start, b""
        if start == 0 and data.find(b"\n\n") == len(data) - 2:
            return self._run_alone(data)
        pieces = self._pieces(data[start:])
        columns = self._columns(pieces)
        taken, said = _said_all(columns[self._text])
        if not taken or (first := self.meaning.number(taken)) is None:
            return start, b""
        steady.add(said)
        if taken < len(pieces):
            pieces = pieces[:taken]
        end = start + sum(map(len, pieces)) + taken * len(self._joint)
        if not self._plain:
            return end, self._told(columns, taken, first)
        head, tail = self._fields[0], self._fields[-1]
        return end, head + (tail + head).join(pieces) + tail

    def _run_alone(self, data: bytes) -> tuple[int, bytes]:
        """The same for one event, as they come where a model takes its time."""
        rest = data[len(self.head) : -len(self._tail)]
        if len(data) < len(self._joint) or not data.endswith(self._tail):
            return 0, b""
        values: list[bytes] = []
        for middle, _, _, _ in self._middles:
            value, there, rest = rest.partition(middle)
            if not there:
                return 0, b""
            values.append(value)
        values.append(rest)
        for slot, is_text in self._others:
            if not _fitting([values[slot]], is_text):
                return 0, b""
        try:
            said = _said(values[self._text])
        except ValueError:
            return 0, b""
        number = self.meaning.number(1)
        if number is None:
            return 0, b""
        self.meaning.steady.add(said)
        told = [self._fields[0]]
        for slot, field in zip(self._used, self._fields[1:], strict=True):
            told.append(values[slot] if slot >= 0 else b"%d" % number)
            told.append(field)
        return len(data), b"".join(told)

    def _pieces(self, data: bytes) -> list[bytes]:
        """What stands between head and tail of each event, of as many as have these."""
        lines = data.split(b"\n")
        count = (len(lines) - 1) // self._lines
        lines = lines[self._lines - 2 :: self._lines]
        head, tail = self._last_line, self._tail[:-2]

        def fits(number: int) -> bool:
            return lines[number].startswith(head) and lines[number].endswith(tail)

        if count and not fits(count - 1):
            count = bisect_left(range(count), True, key=lambda number: not fits(number))
        inner = slice(len(head), -len(tail))
        pieces = [line[inner] for line in lines[:count]]
        whole = self.head + self._joint.join(pieces) + self._tail
        if data.startswith(whole):
            return pieces
        return self._pieces_one_by_one(data)

    def _pieces_one_by_one(self, data: bytes) -> list[bytes]:
        head, tail = self.head, self._tail
        pieces: list[bytes] = []
        start = 0
        while data.startswith(head, start):
            end = data.find(b"\n\n", start) + 2 - len(tail)
            start += len(head)
            if end < start or not data.startswith(tail, end):
                break
            pieces.append(data[start:end])
            start = end + len(tail)
        return pieces

    def _columns(self, pieces: list[bytes]) -> list[list[bytes]]:
        """The slots' bytes, slot by slot, of as many pieces as fit."""
        rests = pieces
        columns: list[list[bytes]] = []
        for middle, begin, more, beyond in self._middles:
            cut = [rest.partition(begin) for rest in rests]
            tails = [rest for _, _, rest in cut]
            rests_after = [rest[beyond] for rest in tails]
            if more.join([b"", *rests_after]) != b"".join(tails):  # one has these bytes in its slot
                cut = [rest.partition(middle) for rest in rests]
                count = next((number for number, (_, there, _) in enumerate(cut) if not there), len(cut))
                del cut[count:]
                rests_after = [rest for _, _, rest in cut]
            columns.append([value for value, _, _ in cut])
            rests = rests_after
        columns.append(rests)
        count = len(rests)
        for number, is_text in self._others:
            count = min(count, _fitting(columns[number], is_text))
        return columns if count == len(pieces) else [column[:count] for column in columns]

    def _told(self, columns: list[list[bytes]], taken: int, first: int) -> bytes:
        fields = self._fields
        rows: list[Iterable[bytes]] = [repeat(fields[0], taken)]
        for slot, field in zip(self._used, fields[1:], strict=True):
            rows.append(columns[slot] if slot >= 0 else [b"%d" % number for number in range(first, first + taken)])
            rows.append(repeat(field))
        return b"".join(chain.from_iterable(zip(*rows, strict=False)))


def _fitting(values: list[bytes], is_text: bool) -> int:
    """How many, from the first one on, are plain texts, or numbers."""
    whole = b"".join(values)
    if is_text:
        if whole.isalnum() or not whole:
            return len(values)
        return next((number for number, value in enumerate(values) if value and not value.isalnum()), len(values))
    if whole.isdigit() and all(values) and max(map(len, values)) < 16 and b"\n0" not in b"\n".join((b"", *values)):
        return len(values)
    return next((number for number, value in enumerate(values) if not _is_number(value)), len(values))


def _said_all(texts: list[bytes]) -> tuple[int, str]:
    """How many texts, from the first one on, are JSON texts, and what these mean together."""
    whole = b"".join(texts)
    if all(texts):
        if not (b"\\" in whole or b'"' in whole):
            if whole.translate(None, _CONTROLS) == whole:
                try:
                    if whole.isascii():
                        return len(texts), whole.decode()
                    return len(texts), "".join([text.decode() for text in texts])
                except UnicodeDecodeError:
                    pass
        elif _are_closed(texts):
            try:
                return len(texts), "".join(orjson.loads(b'["' + b'","'.join(texts) + b'"]'))
            except orjson.JSONDecodeError:
                pass
    said: list[str] = []
    for text in texts:
        try:
            said.append(_said(text))
        except ValueError:
            break
    return len(said), "".join(said)


def _are_closed(texts: list[bytes]) -> bool:
    """Whether each, between quotes, would be one text and no less: its own quotes are escaped, its last byte is not an
    escape for ours."""
    bare = b"\n".join([*texts, b""]).replace(rb"\\", b"").replace(rb"\"", b"")
    return b'"' not in bare and b"\\\n" not in bare


def _said(text: bytes) -> str:
    """A JSON text's meaning. Raises ValueError where the bytes are not the inside of one, or it is empty."""
    said = orjson.loads(b'"' + text + b'"')
    if type(said) is not str or not said:
        raise ValueError
    return said


def _is_number(value: bytes) -> bool:
    return value.isdigit() and len(value) < 16 and (value[:1] != b"0" or value == b"0")
