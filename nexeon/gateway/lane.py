"""Events of a stream that differ only in their text: what one of them means is found out once, the others are text put
between the same bytes.

A template is made of two neighbours: their JSON is the same but for some scalars, the slots. The mapping is run with
values in the slots that it cannot read (`nexeon.mapping.opaque`), so that what comes of the event holds for any text.
An event that does not fit a template byte by byte, or whose text is not plain JSON text, goes the long way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from nexeon.gateway.alone import Alone
from nexeon.gateway.template import Meaning, Place, Slot, Template
from nexeon.mapping.opaque import OpaqueNumber, OpaqueText, Touched
from nexeon.wire.json import JSONError, loads

_DATA: Final = re.compile(rb"(?:event: ?[^\n]*\n)?data: ?(?=\{)")
_TRIES: Final = 4
_MOST_SLOTS: Final = 4
_MARK: Final = "nexeon-slot-%d-7f3a"
_NUMBER: Final = 712_000_000_000_000_000

Shapes = dict[bytes, dict[int, list[Place]]]
"""Where the slots were in events of earlier streams, by how an event begins, and then by how many quotes it has."""

_MOST_SHAPES: Final = 64

Explain = Callable[[Any, bytes], Meaning | None]
"""Is given an event with opaque slots and its JSON with marks. May raise Touched."""


class Lane:
    """The templates of one stream; there is one at a time."""

    __slots__ = ("_alone", "_guessed", "_previous", "_shapes", "_template", "_tries", "last")

    def __init__(self, shapes: Shapes) -> None:
        """`shapes` is shared by streams of one kind: what one has learned, the next need not."""
        self._shapes = shapes
        self._template: Template | None = None
        self._alone: Alone | None = None
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
            before = data.rfind(b"\n\n", start, end - 2) if end - start > len(template.head) * 2 else -1
            self.last = data[start if before < 0 else before + 2 : end]
        return end, out

    def run_alone(self, data: bytes) -> bytes | None:
        """What the client gets for one event and nothing else; None where the template does not fit."""
        tell = self._alone
        if tell is None:
            template = self._template
            if template is None or not template.meaning.steady.holds:
                return None
            tell = self._alone = template.alone
        out = tell(data)
        if out is not None:
            self.last = data
        return out

    @property
    def is_steady(self) -> bool:
        """Whether an event was told by itself, and nothing else has come since."""
        return self._alone is not None

    def interrupt(self) -> None:
        """Something else has come, and may have changed what an event comes to."""
        self._alone = None

    def saw(self, raw: bytes, explain: Explain) -> None:
        """An event that went the long way, with its empty line."""
        previous, self._previous = self._previous, raw
        if self.last is not None:  # the template has fitted
            self._tries = _TRIES
            self._guessed = False
            self.last = None
        template = self._template
        if template is not None and template.meaning.steady.holds and not _alike(previous, raw):
            return
        self._template = None
        begin = _DATA.match(raw) if self._tries > 0 else None
        if begin is None or raw.find(b"\n", begin.end()) != len(raw) - 2:
            return
        try:
            self._template = self._guess(raw, begin.group(), explain) or self._compare(
                previous, raw, begin.group(), explain
            )
        except (Touched, JSONError, orjson.JSONEncodeError):  # the last one: half of a surrogate pair
            return

    def _guess(self, raw: bytes, begin: bytes, explain: Explain) -> Template | None:
        """As an earlier stream had it, unless the last guess was wrong."""
        known = None if self._guessed else self._shapes.get(begin)
        places = known.get(raw.count(b'"')) if known is not None else None
        if not places:
            return None
        self._guessed = True
        try:
            template = _template(raw, begin, places, explain)
        except (KeyError, IndexError, TypeError):  # there is no such place
            template = None
        if template is None:
            self._tries -= 1
        return template

    def _compare(self, previous: bytes, raw: bytes, begin: bytes, explain: Explain) -> Template | None:
        if not previous.startswith(begin) or not _alike(previous, raw):
            return None
        self._guessed = False
        self._tries -= 1
        places = _differing(loads(previous[len(begin) : -2]), loads(raw[len(begin) : -2]), ())
        template = _template(raw, begin, places, explain) if places else None
        if template is not None and places:
            if sum(map(len, self._shapes.values())) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes.setdefault(begin, {})[raw.count(b'"')] = places
        return template


def _alike(one: bytes, other: bytes) -> bool:
    """Whether it is worth looking whether two events have the same shape."""
    return one[:20] == other[:20] and abs(one.count(b'"') - other.count(b'"')) < 4


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
