"""Events of a stream that differ only in their text: what one of them means is found out once, the others are text put
between the same bytes.

A template is made of two neighbours: their JSON is the same but for some scalars, the slots. The mapping is run with
values in the slots that it cannot read (`nexeon.mapping.opaque`), so that what comes of the event holds for any text.
An event that does not fit a template byte by byte, or whose text is not plain JSON text, goes the long way.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from typing import Any, Final, NamedTuple

import orjson

from nexeon.mapping.opaque import OpaqueNumber, OpaqueText, Touched
from nexeon.mapping.stream import Steady
from nexeon.wire.json import JSONError, loads

_DATA: Final = re.compile(rb"(?:event: ?[^\n]*\n)?data: ?(?=\{)")
_CONTROLS: Final = bytes(range(32))
_TRIES: Final = 4
_MOST_SLOTS: Final = 4
_MARK: Final = "nexeon-slot-%d-7f3a"
_NUMBER: Final = 712_000_000_000_000_000

Place = tuple[str | int, ...]
Shapes = dict[tuple[bytes, int], list[Place]]
"""Where the slots were in events of earlier streams, by how an event begins and how many quotes it has."""

_MOST_SHAPES: Final = 64


class Meaning(NamedTuple):
    """What an event with marks in its slots comes to: the client's bytes (with the marks), and where its text grows."""

    out: bytes
    steady: Steady
    number: Callable[[int], int | None]
    """Counts so many events for the client: the number of the first, None where they cannot be told like that."""


Explain = Callable[[Any, bytes], Meaning | None]
"""Is given an event with opaque slots and its JSON with marks. May raise Touched."""


class Slot(NamedTuple):
    place: Place
    start: int
    end: int
    is_text: bool


class Lane:
    """The templates of one stream; there is one at a time."""

    __slots__ = ("_guessed", "_previous", "_shapes", "_template", "_tries", "last")

    def __init__(self, shapes: Shapes) -> None:
        """`shapes` is shared by streams of one kind: what one has learned, the next need not."""
        self._shapes = shapes
        self._template: Template | None = None
        self._previous = b""
        self._tries = _TRIES
        self._guessed = False  # the template is from an earlier stream, and has fitted nothing yet
        self.last: bytes | None = None
        """The event that a run ended with."""

    @property
    def given_up(self) -> bool:
        return self._template is None and self._tries <= 0

    def run(self, data: bytes, start: int) -> tuple[int, bytes]:
        """Where the events end that the template fits, and what the client gets for them."""
        template = self._template
        if template is None or not data.startswith(template.head, start):
            return start, b""
        end, out = template.run(data, start)
        if end > start:
            before = data.rfind(b"\n\n", start, end - 2)
            self.last = data[start if before < 0 else before + 2 : end]
            self._tries = _TRIES
            self._guessed = False
        return end, out

    def saw(self, raw: bytes, explain: Explain) -> None:
        """An event that went the long way, with its empty line."""
        previous, self._previous = self._previous, raw
        self.last = None
        template = self._template
        if template is not None and template.meaning.steady.holds and not _alike(previous, raw):
            return
        self._template = None
        begin = _DATA.match(raw) if self._tries > 0 else None
        if begin is None or raw.count(b"\n") != begin.group().count(b"\n") + 2:
            return
        shape = begin.group(), raw.count(b'"')
        try:
            self._template = self._guess(raw, shape, explain) or self._compare(previous, raw, shape, explain)
        except (Touched, JSONError, orjson.JSONEncodeError):  # the last one: half of a surrogate pair
            return

    def _guess(self, raw: bytes, shape: tuple[bytes, int], explain: Explain) -> Template | None:
        """As an earlier stream had it, unless the last guess was wrong."""
        places = None if self._guessed else self._shapes.get(shape)
        if not places:
            return None
        self._guessed = True
        try:
            template = _template(raw, shape[0], places, explain)
        except (KeyError, IndexError, TypeError):  # there is no such place
            template = None
        if template is None:
            self._tries -= 1
        return template

    def _compare(self, previous: bytes, raw: bytes, shape: tuple[bytes, int], explain: Explain) -> Template | None:
        begin = shape[0]
        if not _alike(previous, raw) or not previous.startswith(begin):
            return None
        self._guessed = False
        self._tries -= 1
        places = _differing(loads(previous[len(begin) : -2]), loads(raw[len(begin) : -2]), ())
        template = _template(raw, begin, places, explain) if places else None
        if template is not None and places:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes[shape] = places
        return template


def _alike(one: bytes, other: bytes) -> bool:
    """Whether it is worth looking whether two events have the same shape."""
    return one[:20] == other[:20] and abs(one.count(b'"') - other.count(b'"')) < 4


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


def plain(value: Any) -> bytes:
    """JSON in which opaque values are their marks."""
    return orjson.dumps(value)


def _template(raw: bytes, begin: bytes, places: list[Place], explain: Explain) -> Template | None:
    """What `raw`, which begins with `begin`, has in common with others that differ in these places; None where that
    does not decide what it comes to. Raises Touched, JSONError."""
    json = raw[len(begin) : -2]
    body = loads(json)
    if len(places) > _MOST_SLOTS:
        return None
    slots = [_slot(body, json, place) for place in places]
    found = sorted((slot for slot in slots if slot is not None), key=lambda slot: slot.start)
    if len(found) != len(slots):
        return None
    parts, marked, opaque = _cut(json, found, body)
    meaning = explain(opaque, marked)
    if meaning is None:
        return None
    text = next((n for n, slot in enumerate(found) if _at(opaque, slot.place) is meaning.steady.slot), None)
    if text is None:
        return None
    cut = _fields(meaning.out, found)
    if cut is None:
        return None
    parts[0] = begin + parts[0]
    parts[-1] += b"\n\n"
    return Template(parts, found, text, *cut, meaning)


def _differing(one: Any, other: Any, place: Place) -> list[Place] | None:
    """Where two values of the same shape hold other texts or integers; None where their shapes differ."""
    if type(one) is not type(other):
        return None
    found: list[Place] = []
    if type(one) is dict:
        if list(one) != list(other):
            return None
        inner: Any = one.items()
    elif type(one) is list:
        if len(one) != len(other):
            return None
        inner = enumerate(one)
    elif one == other:
        return found
    else:
        return [place] if type(one) in (str, int) and one != "" and other != "" else None
    for key, value in inner:
        more = _differing(value, other[key], (*place, key))
        if more is None:
            return None
        found += more
    return found


def _slot(body: Any, json: bytes, place: Place) -> Slot | None:
    """The bytes of a scalar under a key, where they can be told from all others."""
    key = place[-1]
    if type(key) is not str:
        return None
    value = _at(body, place)
    if type(value) not in (str, int) or value == "":
        return None
    literal = orjson.dumps(value)
    name = orjson.dumps(key)
    for colon in (b":", b": "):
        whole = name + colon + literal
        if json.count(whole) == 1:
            end = json.index(whole) + len(whole)
            is_text = type(value) is str
            if not is_text and json[end : end + 1] not in (b",", b"}"):
                return None
            return Slot(place, end - len(literal) + is_text, end - is_text, is_text)
    return None


def _cut(json: bytes, slots: list[Slot], body: Any) -> tuple[list[bytes], bytes, Any]:
    """The bytes around the slots, the JSON with marks in them, and its value with opaque values in their places."""
    parts: list[bytes] = []
    marked: list[bytes] = []
    position = 0
    for number, slot in enumerate(slots):
        parts.append(json[position : slot.start])
        marked += [parts[-1], _mark(number, slot)]
        position = slot.end
    parts.append(json[position:])
    text = b"".join([*marked, parts[-1]])
    opaque = loads(text)
    for number, slot in enumerate(slots):
        mark = _mark(number, slot).decode()
        value = _at(opaque, slot.place)
        if value != (mark if slot.is_text else int(mark)):
            raise Touched
        _put(opaque, slot.place, OpaqueText(mark) if slot.is_text else OpaqueNumber(mark))
    return parts, text, opaque


def _mark(number: int, slot: Slot) -> bytes:
    return (_MARK % number if slot.is_text else str(_NUMBER + number)).encode()


CLIENT_NUMBER: Final = _NUMBER + 99
"""Stands for the client's number of an event."""


def _fields(out: bytes, slots: list[Slot]) -> tuple[list[bytes], list[int]] | None:
    """The client's bytes around the marks, and whose these are; None where a mark is not a whole value there."""
    marks = [*(_mark(number, slot) for number, slot in enumerate(slots)), str(CLIENT_NUMBER).encode()]
    fields: list[bytes] = []
    used: list[int] = []
    position = 0
    for match in re.finditer(b"|".join(marks), out):
        number = marks.index(match.group())
        is_text = number < len(slots) and slots[number].is_text
        around = out[match.start() - 1 : match.start()], out[match.end() : match.end() + 1]
        if (is_text and around != (b'"', b'"')) or (not is_text and around[1] not in (b",", b"}")):
            return None
        fields.append(out[position : match.start()])
        used.append(number if number < len(slots) else -1)
        position = match.end()
    return [*fields, out[position:]], used


def _at(value: Any, place: Place) -> Any:
    for step in place:
        value = value[step]
    return value


def _put(value: Any, place: Place, new: Any) -> None:
    _at(value, place[:-1])[place[-1]] = new
