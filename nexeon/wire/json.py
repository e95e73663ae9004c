"""JSON in and out: orjson, and the standard library where exactness asks for it.

orjson turns integers beyond 64 bits into floats and refuses lone surrogates; both occur in real traffic and must pass
unchanged. What only looks special costs time, never correctness.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

import orjson

# An integer of up to 18 digits always fits 64 bits, so only longer runs of digits need the exact parser.
_LONG_RUN: Final = b"0" * 19
_STRIDE: Final = 6
_SAMPLED_RUN: Final = b"0" * (len(_LONG_RUN) // _STRIDE)
"""Of a long run, every sixth byte: what has no such sample has no long run."""
_SAMPLED_FROM: Final = 4096
_ZEROS: Final = re.compile(b"0*")
_BEFORE_NUMBERS: Final = frozenset(b":,[-+.eE \t\r\n")
_DIGITS_TO_ZERO: Final = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))


class JSONError(ValueError):
    """The text is not JSON; the message says where, and never quotes the text."""


def loads(data: bytes) -> Any:
    """The value of a JSON text in UTF-8. Integers of any size and lone surrogates survive. Raises JSONError."""
    if not _has_long_number(data):
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
    return _loads_exactly(data)


def _has_long_number(data: bytes) -> bool:
    """Whether a number of more digits than orjson is exact for may stand in it. Digits in an identifier are none."""
    if len(data) > _SAMPLED_FROM and _SAMPLED_RUN not in data[::_STRIDE].translate(_DIGITS_TO_ZERO):
        return False
    zeros = data.translate(_DIGITS_TO_ZERO)
    place = zeros.find(_LONG_RUN)
    while place >= 0:
        if place == 0 or data[place - 1] in _BEFORE_NUMBERS:
            return True
        found = _ZEROS.match(zeros, place)
        assert found is not None
        place = zeros.find(_LONG_RUN, found.end())
    return False


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8. `orjson.Fragment` values are embedded. Raises TypeError for what JSON cannot say."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return _dumps_exactly(value)


def is_object(text: str) -> bool:
    """True where `text` is the JSON text of an object."""
    try:
        return type(orjson.loads(text)) is dict  # what it takes, it takes for what it is: exact or not
    except orjson.JSONDecodeError:
        pass
    try:
        return isinstance(loads(text.encode("utf-8", "surrogatepass")), dict)
    except JSONError:
        return False


def _loads_exactly(data: bytes) -> Any:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JSONError(f"is not UTF-8 (byte {error.start})") from None
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise JSONError(f"{error.msg}: line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise JSONError("nested too deeply") from None
    except JSONError:
        raise
    except ValueError:
        raise JSONError("an integer has too many digits") from None


def _dumps_exactly(value: Any) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_leaf)
    except RecursionError:
        raise TypeError("nested too deeply for JSON") from None
    except ValueError as error:
        raise TypeError(f"cannot be said in JSON: {error}") from None
    try:
        return text.encode()
    except UnicodeEncodeError:  # lone surrogates have no UTF-8: they travel as the escapes they came as
        return _escape_surrogates(text)


def _escape_surrogates(text: str) -> bytes:
    return "".join(f"\\u{ord(char):04x}" if "\ud800" <= char <= "\udfff" else char for char in text).encode()


def _leaf(value: Any) -> Any:
    if isinstance(value, orjson.Fragment):
        return loads(orjson.dumps(value))
    raise TypeError(f"a {type(value).__name__} cannot be said in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise JSONError("a number is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise JSONError(f"{name} is not JSON")
