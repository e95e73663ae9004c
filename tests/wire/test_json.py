"""JSON keeps what it is given."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexeon.wire.json import JSONError, dumps, is_object, loads

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_round_trip(value: object) -> None:
    assert loads(dumps(value)) == value
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "text",
    [
        "12345678901234567890123",
        "-9223372036854775809",
        "18446744073709551616",
        "-99999999999999999999",
    ],
)
def test_big_integers_survive(text: str) -> None:
    value = loads(b'{"n": %s}' % text.encode())
    assert value == {"n": int(text)}
    assert dumps(value) == b'{"n":%s}' % text.encode()


@pytest.mark.parametrize("before", ["", "x" * 5000, "1 " * 4000])
@pytest.mark.parametrize("number", [10**18, 10**19 - 1, 2**64, -(2**63) - 1, 10**40 + 7])
@pytest.mark.parametrize("form", ['{{"a":"{0}","b":{1}}}', '{{"a":"{0}","b":[1,{1}]}}', '{{"b":\n {1} ,"a":"{0}"}}'])
def test_big_integers_survive_wherever_they_stand(form: str, number: int, before: str) -> None:
    for filling in range(7):  # wherever a sample of it falls
        text = before + "y" * filling
        found = loads(form.format(text, number).encode())
        last = found["b"][1] if isinstance(found["b"], list) else found["b"]
        assert (found["a"], last, type(last)) == (text, number, int)


def test_long_digits_in_text_leave_numbers_alone() -> None:
    digits = "call_" + "0" * 40
    assert loads(f'["{digits}","{digits}",{2**70},1.5]'.encode()) == [digits, digits, 2**70, 1.5]


def test_lone_surrogates_survive() -> None:
    value = loads(b'{"a": "x\\ud83d"}')
    assert value == {"a": "x\ud83d"}
    assert loads(dumps(value)) == value
    assert dumps({"a": "x\ud83d", "b": "é😀"}) == '{"a":"x\\ud83d","b":"é😀"}'.encode()


def test_a_byte_order_mark_is_borne() -> None:
    assert loads(b"\xef\xbb\xbf{}") == {}


def test_fragments_are_embedded_with_and_without_the_fallback() -> None:
    fragment = orjson.Fragment('{"n": 1e2}')
    assert dumps({"a": fragment}) == b'{"a":{"n": 1e2}}'
    assert loads(dumps({"a": fragment, "big": 2**70})) == {"a": {"n": 100.0}, "big": 2**70}
    assert loads(dumps({"a": orjson.Fragment(str(2**80)), "big": 2**70})) == {"a": 2**80, "big": 2**70}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[1,]",
        b"{'a': 1}",
        b"NaN",
        b"[Infinity]",
        b"1e999",
        b"\xff",
        b'{"a": "\xff"}',
        b"[" * 200_000,
        b"1" * 5000,
        b"\xef\xbb\xbf",
    ],
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(JSONError):
        loads(text)


def test_messages_say_where_and_quote_nothing() -> None:
    with pytest.raises(JSONError, match="line 2 column 1") as caught:
        loads(b'{"secret": 1,\nsecret}')
    assert "secret" not in str(caught.value)


def test_unknown_objects_are_named() -> None:
    with pytest.raises(TypeError, match="a object cannot be said in JSON"):
        dumps({"a": object()})
    with pytest.raises(TypeError):
        dumps({"a": float("inf"), "b": 2**70})


def test_deep_nesting_survives_both_ways() -> None:
    value: list[object] = []
    for _ in range(400):
        value = [value]
    assert loads(dumps(value)) == value


@pytest.mark.parametrize(("text", "answer"), [("{}", True), ('{"a":1}', True), ("[]", False), ("x", False)])
def test_is_object(text: str, answer: bool) -> None:
    assert is_object(text) is answer
