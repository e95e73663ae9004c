"""Server-sent events at every byte split."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexeon.wire.sse import Event, SSEError, SSEParser, encode_comment, encode_event, first_event


def parse(*chunks: bytes) -> list[Event]:
    parser = SSEParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.end()


SAMPLES = {
    "lf": (b"event: a\ndata: 1\n\ndata: 2\n\n", [("a", b"1"), (None, b"2")]),
    "crlf": (b"event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", [("a", b"1"), (None, b"2")]),
    "cr": (b"event: a\rdata: 1\r\rdata: 2\r\r", [("a", b"1"), (None, b"2")]),
    "mixed ends": (b"data: 1\r\n\ndata: 2\n\r\ndata: 3\r\r\n", [(None, b"1"), (None, b"2"), (None, b"3")]),
    "several data lines": (b"data: a\ndata: b\ndata:\ndata: c\n\n", [(None, b"a\nb\n\nc")]),
    "one space is taken": (b"data:x\n\ndata:  y\n\n", [(None, b"x"), (None, b" y")]),
    "comments": (b": hello\n\ndata: 1\n: between\ndata: 2\n\n:\n\n", [(None, b"1\n2")]),
    "bom": (b"\xef\xbb\xbfdata: 1\n\n", [(None, b"1")]),
    "bom only at the start": (b"data: 1\n\n\xef\xbb\xbfdata: 2\n\n", [(None, b"1")]),
    "utf-8": ("event: é\ndata: 日本 😀\n\n".encode(), [("é", "日本 😀".encode())]),
    "no blank line at the end": (b"data: 1\n\ndata: 2", [(None, b"1"), (None, b"2")]),
    "one line end at the end": (b"data: 1\n\ndata: 2\n", [(None, b"1"), (None, b"2")]),
    "no data, no event": (b"event: a\n\nid: 3\nretry: 5\n\ndata: 1\n\n", [(None, b"1")]),
    "field without colon": (b"data\n\ndatax: 2\n\n", [(None, b"")]),
    "last event line wins": (b"event: a\nevent: b\ndata: 1\n\n", [("b", b"1")]),
    "an empty event name is none": (b"event:\ndata: 1\n\n", [(None, b"1")]),
    "blank lines between": (b"\n\n\ndata: 1\n\n\n\n\ndata: 2\n\n", [(None, b"1"), (None, b"2")]),
    "event after data": (b"data: 1\nevent: a\nid: 7\n\n", [("a", b"1")]),
    "empty": (b"", []),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_split_in_two_and_byte_by_byte(name: str) -> None:
    data, expected = SAMPLES[name]
    assert parse(data) == expected
    assert parse(*(data[i : i + 1] for i in range(len(data)))) == expected
    for cut in range(len(data) + 1):
        assert parse(data[:cut], data[cut:]) == expected, f"cut at {cut}"


LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
DATA = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=12).map(str.encode)
EVENTS = st.lists(
    st.tuples(
        st.none()
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1).filter(
            lambda name: not name.startswith(" ")
        ),
        st.lists(DATA, min_size=1, max_size=3),
    ),
    max_size=6,
)


@given(EVENTS, LINE_ENDS, st.lists(st.integers(0, 400), max_size=8), st.booleans())
def test_random_events_at_random_splits(
    events: list[tuple[str | None, list[bytes]]], end: bytes, cuts: list[int], comments: bool
) -> None:
    out = b""
    for name, lines in events:
        if comments:
            out += b": keep" + end
        if name is not None:
            out += b"event: " + name.encode() + end
        out += b"".join(b"data: " + line + end for line in lines) + end
    bounds = sorted({0, len(out), *(cut for cut in cuts if cut < len(out))})
    chunks = [out[a:b] for a, b in itertools.pairwise(bounds)]
    assert parse(*chunks) == [(name, b"\n".join(lines)) for name, lines in events]


@given(st.none() | st.sampled_from(["message", "a.b"]), st.binary(max_size=40))
def test_what_is_encoded_is_parsed_back(name: str | None, data: bytes) -> None:
    expected = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert parse(encode_event(data, name)) == [(name, expected)]


def test_a_comment_is_no_event() -> None:
    assert parse(encode_comment("keep-alive"), encode_event(b"1")) == [(None, b"1")]


def test_an_event_beyond_the_limit_is_refused() -> None:
    parser = SSEParser(limit=100)
    assert parser.feed(b"data: " + b"x" * 60) == []
    with pytest.raises(SSEError, match="larger than 100 bytes"):
        parser.feed(b"x" * 60)


def test_many_events_beyond_the_limit_together_are_not() -> None:
    parser = SSEParser(limit=100)
    assert len(parser.feed(b"data: 12345678\n\n" * 50)) == 50


def test_a_large_event_in_small_chunks_is_joined_once() -> None:
    data = b"x" * 3_000_000
    whole = encode_event(data)
    assert parse(*(whole[i : i + 1000] for i in range(0, len(whole), 1000))) == [(None, data)]


LINES = ("event: a", "event: ", "event:b", "data: 1", "data: {}", "data:2", "data", ": no", "id: 3", "é", "", "")


@given(lines=st.lists(st.sampled_from(LINES), max_size=12), more=st.sampled_from(["", "\n", "\n\n"]))
def test_one_event_after_the_other(lines: list[str], more: str) -> None:
    raw = ("\n".join(lines) + more).encode()
    found: list[Event] = []
    position = 0
    while True:
        event, end = first_event(raw, position)
        if not end:
            break
        assert end > position
        assert raw[end - 2 : end] == b"\n\n"
        found += [event] if event is not None else []
        position = end
    assert b"\n\n" not in raw[position:]
    assert found == SSEParser().feed(raw)
