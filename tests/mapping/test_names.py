"""Ids and names that are none: of a number the text, of anything else nothing, and no client's stream fails for it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from nexeon.errors import MappingFailure
from nexeon.mapping import StreamDecoder, StreamEncoder, new_context
from tests.mapping.laws import FORMATS, library
from tests.mapping.test_beyond import CALL, CHAT, GEMINI, MESSAGES, RESPONSES, THOUGHT, WHOLE, ended, text_item

Json = dict[str, Any]
Place = tuple[Any, ...]
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
RESULT = {"type": "web_search_result", "url": "https://a.b", "title": "t", "encrypted_content": "e"}
CITED = {"type": "web_search_result_location", "url": "https://a.b", "title": "t", "encrypted_index": "e"}
URL = {"url": "https://a.b", "title": "t", "start_index": 0, "end_index": 2}


def chunk(delta: Json, reason: str | None = None) -> Json:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def block(index: int, head: Json, **delta: Any) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": head},
        *({"type": "content_block_delta", "index": index, "delta": one} for one in delta.values()),
        {"type": "content_block_stop", "index": index},
    ]


STREAMS: dict[str, list[Json]] = {
    RESPONSES: [
        {"type": "response.created", "response": {"id": "resp_1", "model": "m", "created_at": 1}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**THOUGHT, "summary": []}},
        {"type": "response.output_item.done", "output_index": 0, "item": THOUGHT},
        {"type": "response.output_item.added", "output_index": 1, "item": {**text_item(), "content": []}},
        {
            "type": "response.output_text.delta",
            "item_id": "msg_1",
            "output_index": 1,
            "content_index": 0,
            "delta": "Hi",
        },
        {"type": "response.output_item.done", "output_index": 1, "item": text_item("Hi")},
        {"type": "response.output_item.added", "output_index": 2, "item": {**CALL, "arguments": ""}},
        {"type": "response.output_item.done", "output_index": 2, "item": CALL},
        {"type": "response.output_item.done", "output_index": 3, "item": SEARCH},
        ended([THOUGHT, text_item("Hi"), CALL, SEARCH]),
    ],
    CHAT: [
        chunk({"role": "assistant", "reasoning_content": "Hm"}),
        chunk({"content": "Hi", "annotations": [{"type": "url_citation", "url_citation": URL}]}),
        chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f"}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
        chunk({}, "tool_calls"),
    ],
    MESSAGES: [
        {"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "model": "m", "content": []}},
        *block(0, {"type": "text", "text": ""}, text={"type": "text_delta", "text": "Hi"}),
        *block(1, {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}}),
        *block(2, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [RESULT]}),
        *block(3, {"type": "text", "text": "Ho"}, cited={"type": "citations_delta", "citation": CITED}),
        *block(4, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ],
    GEMINI: [{**WHOLE[GEMINI], "responseId": "r", "modelVersion": "m"}],
}
NAMES = {"id", "call_id", "item_id", "tool_use_id", "responseId", "model", "modelVersion", "start_index", "end_index"}
ODD: list[Any] = [{"a": 1}, [1], 5, None]


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        if key in NAMES:
            yield (*path, key)
        yield from places(each, (*path, key))


def put(value: Any, path: Place, new: Any) -> Any:
    value = copy.deepcopy(value)
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = new
    return value


def pieces_of(name: str, events: list[Json]) -> tuple[list[Json], Json]:
    decoder = StreamDecoder(library().format(name), new_context(format=name, provider="p", account="a", model="m"))
    pieces = [piece for event in events for piece in decoder.feed(event)] + decoder.end()
    assert decoder.finished, decoder.failed
    return pieces, decoder.response


@pytest.mark.parametrize("name", FORMATS)
def test_odd_ids_fail_nobody(name: str) -> None:
    events = STREAMS[name]
    for number, event in enumerate(events):
        for place in places(event):
            for odd in ODD:
                changed = [*events[:number], put(event, place, odd), *events[number + 1 :]]
                pieces, answer = pieces_of(name, changed)
                texts = "".join(block.get("text") or "" for block in answer["blocks"] if block["type"] == "text")
                assert texts == ("Hello" if name == GEMINI else "HiHo" if name == MESSAGES else "Hi"), (place, odd)
                calls = [block["call_id"] for block in answer["blocks"] if block["type"] == "tool_call"]
                assert len(calls) == 1, (place, odd)
                assert all(isinstance(call, str) and call for call in calls), (place, odd)
                for target in FORMATS:
                    own = new_context(format=target, model="m", body={})
                    StreamEncoder(library().format(target), own).encode(pieces)
                    library().format(target).encode_response(answer, own)


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_ids_in_an_answer_in_one_piece(odd: Any) -> None:
    for name in FORMATS:
        event = WHOLE[name]
        whole = event.get("response", event)
        for place in places(whole):
            own = new_context(format=name, provider="p", account="a", model="m")
            answer = library().format(name).decode_response(put(whole, place, odd), own)
            (call,) = [block for block in answer["blocks"] if block["type"] == "tool_call"]
            assert isinstance(call["call_id"], str)
            assert call["call_id"]
            for target in FORMATS:
                library().format(target).encode_response(answer, new_context(format=target, model="m", body={}))


def test_a_number_is_an_id_as_text() -> None:
    changed = put(STREAMS[CHAT][2], ("choices", 0, "delta", "tool_calls", 0, "id"), 17)
    _, answer = pieces_of(CHAT, [*STREAMS[CHAT][:2], changed, *STREAMS[CHAT][3:]])
    assert [block["call_id"] for block in answer["blocks"] if block["type"] == "tool_call"] == ["17"]


def test_a_piece_out_of_its_form_is_a_failure_of_the_mapping() -> None:
    encoder = StreamEncoder(library().format(RESPONSES), new_context(format=RESPONSES, model="m", body={}))
    head = {"type": "server_tool_call", "name": "web_search", "call_id": {"a": 1}}
    with pytest.raises(MappingFailure, match="not of its form"):
        encoder.encode([{"type": "close", "index": 0, "ordinal": 0, "block": head}])


def test_an_id_that_comes_late_is_not_taken() -> None:
    """Clients have been told another one by then."""
    first = {name: value for name, value in STREAMS[CHAT][0].items() if name != "id"}
    pieces, answer = pieces_of(CHAT, [first, chunk({"role": "assistant", "content": "Hi"}), *STREAMS[CHAT][1:]])
    assert "id" not in answer
    events = StreamEncoder(library().format(RESPONSES), new_context(format=RESPONSES, model="m", body={})).encode(
        pieces
    )
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1


def test_a_call_whose_beginning_was_lost() -> None:
    _, answer = pieces_of(CHAT, [STREAMS[CHAT][0], *STREAMS[CHAT][3:]])
    (call,) = [block for block in answer["blocks"] if block["type"] == "tool_call"]
    assert call["name"] == ""
    assert call["call_id"]


def test_a_block_without_its_number() -> None:
    event = {"type": "content_block_start", "content_block": {"type": "text", "text": ""}}
    with pytest.raises(MappingFailure, match="not of its form"):
        pieces_of(MESSAGES, [STREAMS[MESSAGES][0], event])


@pytest.mark.parametrize("odd", [5, {"a": 1}, ["a"], True], ids=repr)
def test_a_text_that_is_none_fails_the_answer(odd: Any) -> None:
    """As it fails a stream: what would be told in its place is not what the provider meant."""
    message = {**WHOLE[MESSAGES], "content": [{"type": "text", "text": odd}]}
    with pytest.raises(MappingFailure, match="must be text"):
        library().format(MESSAGES).decode_response(message, new_context(format=MESSAGES))
    item = {**CALL, "arguments": odd}
    with pytest.raises(MappingFailure, match="must be text"):
        library().format(RESPONSES).decode_response(ended([item])["response"], new_context(format=RESPONSES))
    thought = {**THOUGHT, "summary": [{"type": "summary_text", "text": odd}]}
    with pytest.raises(MappingFailure, match="must be text"):
        library().format(RESPONSES).decode_response(ended([thought])["response"], new_context(format=RESPONSES))


def test_a_text_that_is_missing_is_empty() -> None:
    message = {**WHOLE[MESSAGES], "content": [{"type": "text"}]}
    answer = library().format(MESSAGES).decode_response(message, new_context(format=MESSAGES))
    assert answer["blocks"] == [{"type": "text", "text": ""}]
    bare = ended([{name: value for name, value in CALL.items() if name != "arguments"}])["response"]
    answer = library().format(RESPONSES).decode_response(bare, new_context(format=RESPONSES))
    assert [block["arguments"] for block in answer["blocks"]] == ["{}"]
