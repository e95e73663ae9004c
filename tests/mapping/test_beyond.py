"""What a stream says only as it ends: told then, once, in every format."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexeon.mapping import StreamDecoder, StreamEncoder, new_context
from tests.mapping.laws import FORMATS, library

Json = dict[str, Any]
CHAT, RESPONSES, MESSAGES, GEMINI = (
    "openai.chat",
    "openai.responses",
    "anthropic.messages",
    "gemini.generate_content",
)
assert set(FORMATS) == {CHAT, RESPONSES, MESSAGES, GEMINI}


def text_item(*texts: str, id: str = "msg_1") -> Json:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []} for text in texts]
    return {"id": id, "type": "message", "role": "assistant", "status": "completed", "content": content}


THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"a": 1}'}
USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


def ended(output: list[Json], kind: str = "completed", **more: Any) -> Json:
    answer = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": kind, "usage": USAGE}
    return {"type": f"response.{kind}", "response": {**answer, "output": output, **more}}


WHOLE: dict[str, Json] = {
    RESPONSES: ended([THOUGHT, text_item("Hello"), CALL]),
    CHAT: {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{
            "index": 0, "finish_reason": "tool_calls",
            "message": {
                "role": "assistant", "content": "Hello", "reasoning_content": "Hm",
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
                ],
            },
        }],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    },
    MESSAGES: {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "s"},
            {"type": "text", "text": "Hello"},
            {"type": "tool_use", "id": "call_1", "name": "look", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 2},
    },
    GEMINI: {
        "candidates": [{
            "content": {"role": "model", "parts": [
                {"text": "Hm", "thought": True}, {"text": "Hello"},
                {"functionCall": {"id": "call_1", "name": "look", "args": {"a": 1}}},
            ]},
            "finishReason": "STOP",
        }],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
    },
}  # fmt: skip


def folded(name: str, events: list[Json]) -> tuple[Json, list[Json]]:
    decoder = StreamDecoder(library().format(name), new_context(format=name, provider="p", account="a", model="m"))
    pieces = [piece for event in events for piece in decoder.feed(event)] + decoder.end()
    assert decoder.finished, decoder.failed
    return decoder.response, pieces


def said(response: Json) -> list[Any]:
    return [
        block.get("text") or block.get("arguments") or "".join(block.get("summary", ())) for block in response["blocks"]
    ]


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_a_stream_of_its_last_event_alone(source: str, target: str) -> None:
    """In every format it says what the answer in one piece says."""
    event = WHOLE[source]
    ctx = new_context(format=source, provider="p", account="a", model="m")
    whole = library().format(source).decode_response(event.get("response", event), ctx)
    response, pieces = folded(source, [event])
    assert said(response) == said(whole) == ["Hm", "Hello", '{"a":1}' if source in (MESSAGES, GEMINI) else '{"a": 1}']
    assert response["finish"]["reason"] == whole["finish"]["reason"] == "tool_calls"
    assert response["usage"] == whole["usage"]
    encoder = StreamEncoder(library().format(target), new_context(format=target, model="m", body={}))
    again, _ = folded(target, encoder.encode(pieces))
    assert said(again)[-2:] == said(response)[-2:]


@pytest.mark.parametrize("reason", ["completed", "incomplete"])
def test_an_answer_repeated_is_not_told_twice(reason: str) -> None:
    item = text_item("Hello", " there")
    events: list[Json] = [
        {"type": "response.created", "response": {"id": "resp_1"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**THOUGHT, "summary": []}},
        {"type": "response.output_item.done", "output_index": 0, "item": THOUGHT},
        {"type": "response.output_item.added", "output_index": 1, "item": {**item, "content": []}},
        {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "He"},
        {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "llo"},
        {"type": "response.output_text.delta", "output_index": 1, "content_index": 1, "delta": " there"},
        {"type": "response.output_item.done", "output_index": 1, "item": item},
        {"type": "response.output_item.added", "output_index": 2, "item": {**CALL, "arguments": ""}},
        {"type": "response.output_item.done", "output_index": 2, "item": CALL},
    ]  # fmt: skip
    plain, before = folded(RESPONSES, [*events, ended([], reason)])
    told, pieces = folded(RESPONSES, [*events, ended([THOUGHT, item, CALL], reason)])
    assert told["blocks"] == plain["blocks"]
    assert [p for p in pieces if p["type"] != "finish"] == [p for p in before if p["type"] != "finish"]


def test_items_that_come_only_at_the_end() -> None:
    events: list[Json] = [
        {"type": "response.output_item.added", "output_index": 0, "item": text_item()},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hello"},
        {"type": "response.output_item.done", "output_index": 0, "item": text_item("Hello")},
    ]
    second = {**CALL, "id": "fc_2", "call_id": "call_2"}
    response, _ = folded(RESPONSES, [*events, ended([text_item("Hello"), CALL, second, text_item("Bye", id="msg_2")])])
    assert said(response) == ["Hello", '{"a": 1}', '{"a": 1}', "Bye"]
    assert response["finish"]["reason"] == "tool_calls"


def test_a_failed_answer_tells_how_far_it_came() -> None:
    decoder = StreamDecoder(library().format(RESPONSES), new_context(format=RESPONSES))
    pieces = decoder.feed(ended([text_item("Hel")], "failed", error={"code": "server_error", "message": "no"}))
    assert [piece["type"] for piece in pieces] == ["start", "open", "delta", "close", "error"]
    assert decoder.produced == 3


def test_another_text_does_not_join_the_streamed_one() -> None:
    """What was streamed was told: nothing can take it back."""
    delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hello"}
    response, _ = folded(RESPONSES, [delta, ended([text_item("Good day")])])
    assert said(response) == ["Hello"]


def test_calls_under_other_ids_are_the_same_calls() -> None:
    call = {**CALL, "id": "fc_9", "call_id": "call_9"}
    added = {"type": "response.output_item.added", "output_index": 0, "item": {**CALL, "arguments": ""}}
    done = {"type": "response.output_item.done", "output_index": 0, "item": CALL}
    response, _ = folded(RESPONSES, [added, done, ended([call])])
    assert said(response) == ['{"a": 1}']


def test_citations_that_only_the_whole_answer_has() -> None:
    delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hello"}
    item = text_item("Hello")
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    cited = text_item("Hello")
    cited["content"][0]["annotations"] = [
        {"type": "url_citation", "url": "https://example.com", "title": "t", "start_index": 0, "end_index": 5}
    ]
    response, pieces = folded(RESPONSES, [delta, done, ended([cited])])
    assert [c["url"] for c in response["blocks"][0]["citations"]] == ["https://example.com"]
    encoder = StreamEncoder(library().format(MESSAGES), new_context(format=MESSAGES, model="m", body={}))
    told = [event["delta"] for event in encoder.encode(pieces) if event["type"] == "content_block_delta"]
    assert [one["type"] for one in told] == ["text_delta", "citations_delta"]


@given(st.lists(st.text("ab\u00e9", max_size=4), max_size=4), st.integers(0, 8), st.integers(0, 3))
def test_law_streamed_and_closing_text_make_the_whole(texts: list[str], told: int, close: int) -> None:
    """Wherever the deltas stop, whichever parts were done: the fold is the whole text, and no block opens twice."""
    events: list[Json] = []
    left = told
    for number, text in enumerate(texts):
        place = {"output_index": 0, "content_index": number}
        if left <= 0:
            break
        if text:
            events.append({"type": "response.output_text.delta", **place, "delta": text[:left]})
        left -= len(text)
    if left > 0 and close == 0:
        events.append({"type": "response.output_item.done", "output_index": 0, "item": text_item(*texts)})
    response, pieces = folded(RESPONSES, [*events, ended([text_item(*texts)])])
    assert "".join(said(response)) == "".join(texts)
    assert "".join(piece.get("text", "") for piece in pieces if piece["type"] == "delta") == "".join(texts)
    assert [piece["index"] for piece in pieces if piece["type"] == "open"] == list(range(len(response["blocks"])))


def test_a_chunk_that_repeats_the_message() -> None:
    """Some servers give the message so far beside each delta, or the whole beside the last one."""

    def chunk(delta: Json, message: Json, reason: str | None = None) -> Json:
        return {"id": "c", "choices": [{"index": 0, "delta": delta, "message": message, "finish_reason": reason}]}

    events = [
        chunk({"role": "assistant", "content": "Hel"}, {"role": "assistant", "content": "Hel"}),
        chunk({"content": "lo"}, {"role": "assistant", "content": "Hello"}),
        chunk({"content": ""}, {"role": "assistant", "content": "Hello, you"}, "stop"),
    ]
    response, _ = folded(CHAT, events)
    assert said(response) == ["Hello, you"]
