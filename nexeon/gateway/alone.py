"""One event of a stream that has the same bytes as those before but for its slots, told by itself, as they come where a
model takes its time.

Between two such events the machine does other things, and what is needed for one is in no cache by then: what it takes
goes by how much code and how many objects are touched, not by how often. So it is done in one function, without what
only serves many events at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import orjson

from nexeon.mapping.stream import Steady

Alone = Callable[[bytes], bytes | None]
"""The client's bytes for one event; None where it does not fit, and nothing has happened then. Who uses it sees to it
that nothing but events that fit came since the template was made."""

_MOST_DIGITS: Final = 15


def alone(
    parts: Sequence[bytes],
    text: int,
    others: Sequence[tuple[int, bool]],
    fields: Sequence[bytes],
    used: Sequence[int],
    steady: Steady,
    number: Callable[[int], int | None],
) -> Alone:
    """`parts` are the event's bytes around its slots; slot `text` is the one that grows, `others` are the numbers of
    those that must be plain text (True) or a number. `fields` and `used` are as a template has them."""
    head, *middles, tail = parts
    begin, end, least = len(head), -len(tail), len(head) + len(tail)
    count = len(middles) + 1
    add = steady.add
    in_order = list(used) == list(range(count)) and list(fields[1:-1]) == middles
    first, last = fields[0], fields[-1]
    rows = list(zip(used, fields[1:], strict=True))

    def tell(data: bytes) -> bytes | None:
        if len(data) < least or not data.startswith(head) or not data.endswith(tail):
            return None
        inner = rest = data[begin:end]
        values = []
        for middle in middles:
            value, there, rest = rest.partition(middle)
            if not there:
                return None
            values.append(value)
        values.append(rest)
        for slot, is_text in others:
            value = values[slot]
            if is_text:
                if value and not value.isalnum():
                    return None
            elif not value.isdigit() or len(value) > _MOST_DIGITS or (value != b"0" and value.startswith(b"0")):
                return None
        said = _said(values[text])
        if not said:
            return None
        told = number(1)
        if told is None:
            return None
        add(said)
        if in_order:
            return first + inner + last
        out = [first]
        for slot, field in rows:
            out.append(values[slot] if slot >= 0 else b"%d" % told)
            out.append(field)
        return b"".join(out)

    return tell


def _said(text: bytes) -> str:
    """What the inside of a JSON text means, "" where the bytes are none."""
    try:
        said = text.decode()
        if said.isprintable() and '"' not in said and "\\" not in said:
            return said
        value = orjson.loads(b'"' + text + b'"')
    except ValueError:
        return ""
    return value if type(value) is str else ""
