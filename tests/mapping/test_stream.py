"""The tracker: whatever order pieces come in, blocks open and close in pairs and the fold is the answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexeon.errors import MappingFailure
from nexeon.mapping import StreamDecoder, StreamEncoder, new_context
from nexeon.mapping.format import Format
from nexeon.mapping.source import parse
from nexeon.mapping.stream import CUT_SHORT

# events are pieces already, and clean pieces are what the client gets
IDENTITY = """
format: identity
wire: {request: {path: /x}, stream: {%s}}
request: {decode: {}, encode: {}}
response: {decode: {}, encode: {}}
stream: {decode: "{{ event }}", encode: {$merge: ["{{ piece }}"]}}
error: {decode: {}, encode: {}}
"""
FINISH = {"type": "finish", "reason": "stop"}


def format_with(stream: str = "") -> Format:
    return Format(parse(IDENTITY % stream, "identity.yaml"))


PLAIN = format_with()
SERIAL = format_with("serial: true, number: n")
GROUPED = format_with("group: [text, refusal]")


def decode(*pieces: dict[str, Any]) -> list[dict[str, Any]]:
    decoder = StreamDecoder(PLAIN, new_context())
    return [clean for piece in pieces for clean in decoder.feed(piece)] + decoder.end()


def kinds(pieces: list[dict[str, Any]]) -> list[str]:
    return [f"{piece['type']}{piece.get('index', '')}" for piece in pieces]


@pytest.mark.parametrize(
    "piece",
    [
        {"type": "delta", "key": 0, "text": 7},
        {"type": "delta", "key": 0, "text": ["a"]},
        {"type": "delta", "key": 0, "summary": 7},
        {"type": "delta", "key": {"a": 1}, "text": "a"},
        {"type": "open", "key": [], "block": {"type": "text"}},
        {"type": "close", "key": {}},
        {"type": "open", "key": 1, "block": {"type": "text", "citations": 7}},
    ],
)
def test_a_piece_of_another_form_is_no_crash(piece: dict[str, Any]) -> None:
    """Whoever feeds it tells the client of a provider that cannot be understood."""
    decoder = StreamDecoder(format_with(), new_context(format="identity"))
    decoder.feed({"type": "open", "key": 0, "block": {"type": "text"}})
    with pytest.raises(MappingFailure):
        decoder.feed(piece)


@pytest.mark.parametrize("part", [-1, -(10**30), 10**30])
def test_a_summarys_part_of_no_number_is_the_one_under_way(part: int) -> None:
    decoder = StreamDecoder(format_with(), new_context(format="identity"))
    decoder.feed({"type": "open", "key": 0, "block": {"type": "reasoning"}})
    for text in ("a", "b"):
        decoder.feed({"type": "delta", "key": 0, "summary": text, "part": part})
    assert decoder.response["blocks"][0]["summary"] == ["ab"]


def test_an_answer_that_only_refuses_ends_as_a_refusal() -> None:
    refusal = {"type": "delta", "block": {"type": "refusal"}, "text": "No."}
    text = {"type": "delta", "block": {"type": "text"}, "text": "Yes, but: "}
    assert decode(refusal, FINISH)[-1]["reason"] == "refusal"
    assert decode(text, refusal, FINISH)[-1]["reason"] == "stop"


def test_numbers_follow_an_event_that_was_not_encoded() -> None:
    encoder = StreamEncoder(SERIAL, new_context())
    encoder.follow({"n": 6})
    encoder.follow({"other": 1})
    encoder.follow(None)
    assert [event["n"] for event in encoder.encode([{"type": "ping"}, {"type": "ping"}])] == [7, 8]


def test_text_without_a_key_runs_until_another_block_begins() -> None:
    text = {"type": "delta", "block": {"type": "text"}}
    call = {"type": "delta", "key": 0, "block": {"type": "tool_call", "call_id": "c", "name": "f"}}
    pieces = decode(
        {**text, "text": "a"}, {**text, "text": "b"}, {**call, "arguments": "{"}, {**call, "arguments": "}"}, FINISH
    )
    assert kinds(pieces) == [
        "start",
        "open0",
        "delta0",
        "delta0",
        "close0",
        "open1",
        "delta1",
        "delta1",
        "close1",
        "finish",
    ]
    assert pieces[-1]["response"]["blocks"] == [
        {"type": "text", "text": "ab"},
        {"type": "tool_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ]
    assert pieces[-1]["reason"] == "tool_calls"


def test_a_call_without_arguments_gets_an_empty_object() -> None:
    pieces = decode({"type": "open", "key": 1, "block": {"type": "tool_call", "call_id": "c", "name": "f"}}, FINISH)
    assert [piece.get("arguments") for piece in pieces if piece["type"] == "delta"] == ["{}"]


def test_closing_fills_what_never_came_and_nothing_twice() -> None:
    head = {"type": "open", "key": 1, "block": {"type": "reasoning"}}
    seal = {"kind": "signature", "data": "s"}
    close = {"type": "close", "key": 1, "block": {"type": "reasoning", "id": "rs_1", "text": "abc", "seal": seal}}
    pieces = decode(head, {"type": "delta", "key": 1, "text": "abc"}, close, FINISH)
    assert kinds(pieces) == ["start", "open0", "delta0", "delta0", "close0", "finish"]
    assert pieces[-1]["response"]["blocks"] == [{"type": "reasoning", "id": "rs_1", "text": "abc", "seal": seal}]


def test_finish_comes_once_and_last_with_the_merged_usage() -> None:
    pieces = decode(
        {"type": "usage", "usage": {"input": 1, "output": 1}},
        FINISH,
        FINISH,
        {"type": "usage", "usage": {"output": 7, "cost": None}},
    )
    assert kinds(pieces) == ["start", "finish"]
    assert pieces[-1]["usage"] == {"input": 1, "output": 7}


def test_a_total_of_cache_writes_leaves_the_part_with_a_lifetime_of_its_own() -> None:
    clean = decode(
        {"type": "start", "usage": {"cache_write": 0, "cache_write_1h": 70, "extra": {"f": {"a": 1}}}},
        {"type": "usage", "usage": {"cache_write_total": 100, "extra": {"f": {"b": 2}}}},
        FINISH,
    )
    assert clean[-1]["usage"] == {"cache_write": 30, "cache_write_1h": 70, "extra": {"f": {"a": 1, "b": 2}}}


def test_an_end_without_finish_is_an_error() -> None:
    pieces = decode({"type": "delta", "block": {"type": "text"}, "text": "a"})
    assert kinds(pieces) == ["start", "open0", "delta0", "error"]
    assert pieces[-1]["error"] == {"kind": "upstream", "message": CUT_SHORT}
    assert pieces[-1]["response"]["blocks"] == [{"type": "text", "text": "a"}]


def test_nothing_follows_an_error() -> None:
    error = {"type": "error", "error": {"kind": "overloaded", "message": "m"}}
    assert kinds(decode(error, error, FINISH)) == ["error"]


def test_nothing_follows_the_end() -> None:
    assert kinds(decode(FINISH, {"type": "end"}, {"type": "delta", "block": {"type": "text"}, "text": "late"})) == [
        "start",
        "finish",
    ]


def test_a_delta_for_a_block_that_never_opened_fails() -> None:
    with pytest.raises(MappingFailure, match="never opened"):
        decode({"type": "delta", "key": "x", "text": "a"})


def test_a_whole_block_streams_its_text_and_keeps_the_rest_in_its_head() -> None:
    block = {"type": "text", "text": "hi", "citations": [{"kind": "url", "url": "u"}]}
    pieces = decode({"type": "block", "block": block}, FINISH)
    assert pieces[1]["block"] == {"type": "text"}
    assert kinds(pieces) == ["start", "open0", "delta0", "delta0", "close0", "finish"]
    assert pieces[-1]["response"]["blocks"] == [block]


def test_an_atomic_block_comes_whole_when_it_opens() -> None:
    block = {"type": "reasoning", "redacted": True, "seal": {"kind": "redacted", "data": "x"}}
    pieces = decode({"type": "block", "block": block}, FINISH)
    assert kinds(pieces) == ["start", "open0", "close0", "finish"]
    assert pieces[1]["block"] == block == pieces[-1]["response"]["blocks"][0]


def test_items_group_neighbours() -> None:
    text = {"type": "block", "block": {"type": "text", "text": "a"}}
    call = {"type": "block", "block": {"type": "tool_call", "call_id": "c", "name": "f", "arguments": "{}"}}
    clean = decode(text, text, call, text, FINISH)
    events = StreamEncoder(GROUPED, new_context()).encode(clean)
    shown = [(event["type"], event.get("item"), event.get("part")) for event in events if event["type"] != "delta"]
    assert shown == [
        ("start", None, None),
        ("item_open", 0, None),
        ("open", 0, 0),
        ("close", 0, 0),
        ("open", 0, 1),
        ("close", 0, 1),
        ("item_close", 0, None),
        ("open", 1, 0),
        ("close", 1, 0),
        ("item_open", 2, None),
        ("open", 2, 0),
        ("close", 2, 0),
        ("item_close", 2, None),
        ("finish", None, None),
    ]
    closed = [event["blocks"] for event in events if event["type"] == "item_close"]
    assert [len(blocks) for blocks in closed] == [2, 1]


@st.composite
def interleavings(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Some calls and texts whose pieces come in any order that keeps each block's own."""
    queues: list[list[dict[str, Any]]] = []
    for key in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["text", "tool_call"]))
        name = "text" if kind == "text" else "arguments"
        head = {"type": kind} if kind == "text" else {"type": kind, "call_id": f"c{key}", "name": "f"}
        parts = draw(st.lists(st.text("ab{}", min_size=1, max_size=3), max_size=4))
        queue = [
            {"type": "open", "key": key, "block": head},
            *({"type": "delta", "key": key, name: part} for part in parts),
        ]
        if draw(st.booleans()):
            queue.append({"type": "close", "key": key})
        queues.append(queue)
    mixed = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        mixed.append(queue.pop(0))
    return [*mixed, FINISH]


@given(interleavings())
def test_every_interleaving_folds_to_the_same_answer_in_a_row(pieces: list[dict[str, Any]]) -> None:
    clean = decode(*pieces)
    answer = clean[-1]["response"]["blocks"]
    for form in (PLAIN, SERIAL, GROUPED):
        events = StreamEncoder(form, new_context()).encode(clean)
        folded: dict[int, dict[str, Any]] = {}
        running: set[int] = set()
        for event in events:
            if event["type"] == "open":
                assert event["index"] not in folded
                folded[event["index"]] = {**event["block"], "text": "", "arguments": ""}
                running.add(event["index"])
                if form is SERIAL:
                    assert running == {event["index"]}
            elif event["type"] == "delta":
                assert event["index"] in running
                for name in ("text", "arguments"):
                    folded[event["index"]][name] += event.get(name, "")
            elif event["type"] == "close":
                running.remove(event["index"])
        assert not running
        assert events[-1]["type"] == "finish"
        assert sum(event["type"] == "finish" for event in events) == 1
        shown = [folded[index] for index in sorted(folded)]
        assert [block["text"] for block in shown] == [block.get("text", "") for block in answer]
        assert [block["arguments"] for block in shown] == [block.get("arguments", "") for block in answer]
        if form is SERIAL:
            assert [event["n"] for event in events] == list(range(len(events)))


def test_a_delta_says_where_text_and_summary_parts_begin_and_which_part_ended() -> None:
    thought = {"type": "delta", "key": 0, "block": {"type": "reasoning"}}
    pieces = decode(
        {**thought, "summary": "a", "part": 0},
        {**thought, "summary": "b", "part": 0},
        {**thought, "summary": "c", "part": 1},
        {**thought, "text": "d"},
        {**thought, "text": "e"},
        FINISH,
    )
    deltas = [piece for piece in pieces if piece["type"] == "delta"]
    assert [piece.get("begins", False) for piece in deltas] == [True, False, True, True, False]
    assert [piece.get("before") for piece in deltas] == [None, None, "ab", None, None]


def test_neighbours_with_other_ids_are_other_items() -> None:
    blocks = [{"type": "text", "id": name, "text": name} for name in ("m1", "m1", "m2")]
    clean = decode(*({"type": "block", "key": n, "block": block} for n, block in enumerate(blocks)), FINISH)
    placed = StreamEncoder(GROUPED, new_context()).encode(clean)
    assert [(p["item"], p["part"]) for p in placed if p["type"] == "open"] == [(0, 0), (0, 1), (1, 0)]
    closed = [p for p in placed if p["type"] == "item_close"]
    assert [[block["id"] for block in p["blocks"]] for p in closed] == [["m1", "m1"], ["m2"]]
    assert [p.get("reason") for p in closed] == [None, "stop"]


def test_blocks_with_no_place_leave_no_hole_in_the_numbers() -> None:
    skipping = format_with("group: [text], skip: [opaque]")
    own = {"type": "opaque", "format": "identity", "data": 1}
    blocks = [{"type": "text", "text": "a"}, {"type": "opaque", "format": "other", "data": 1}, own]
    clean = decode(*({"type": "block", "key": n, "block": block} for n, block in enumerate(blocks)), FINISH)
    opened = [p for p in StreamEncoder(skipping, new_context()).encode(clean) if p["type"] == "open"]
    assert [(p["item"], p["block"]["type"]) for p in opened] == [(0, "text"), (1, "opaque")]
