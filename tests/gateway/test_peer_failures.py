"""Where gateways of this kind were seen to fail on recorded traffic; each is shown here over HTTP not to happen."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from scripts import says
from shipped import UPSTREAMS, shipped
from upstream import Call, Script, Upstream

Json = dict[str, Any]
MESSAGES, GEMINI, CHAT = "anthropic:anthropic.messages", "gemini:gemini.generate_content", "openai:openai.chat"
RESPONSES, DEEPSEEK, OPENROUTER = "openai:openai.responses", "deepseek:openai.chat", "openrouter:openai.chat"
PDF = base64.b64encode(b"%PDF-1.7\nhello").decode()
SIGNATURE = base64.b64encode(b"a thought signature").decode()
TOOL = {"name": "look", "parametersJsonSchema": {"type": "object", "properties": {"at": {"type": "string"}}}}
CHAT_TOOL = {"type": "function", "function": {"name": "look", "parameters": TOOL["parametersJsonSchema"]}}

GEMINI_ANSWER: Json = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "Two places.", "thought": True},
                    {"functionCall": {"name": "look", "args": {"at": "a"}}, "thoughtSignature": SIGNATURE},
                    {"functionCall": {"name": "look", "args": {"at": "b"}}},
                ],
            },
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 5, "totalTokenCount": 10},
}
CITED = {"type": "web_search_result_location", "url": "https://a.example/x", "title": "X", "cited_text": "said so",
         "encrypted_index": "EI=="}  # fmt: skip
SEARCHED: Json = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "content": [
        {"type": "thinking", "thinking": "Let me look.", "signature": "Sig=="},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
            {"type": "web_search_result", "url": "https://a.example/x", "title": "X", "encrypted_content": "E=="}]},
        {"type": "text", "text": "It is so.", "citations": [CITED]},
    ],
    "usage": {"input_tokens": 5, "output_tokens": 5, "server_tool_use": {"web_search_requests": 1}},
}  # fmt: skip


def messages_stream(answer: Json) -> list[Json]:
    """A Messages answer as the events that its provider sends."""
    events: list[Json] = [{"type": "message_start", "message": {**answer, "content": [], "stop_reason": None}}]
    for i, block in enumerate(answer["content"]):
        start, deltas = dict(block), list[Json]()
        if block["type"] == "thinking":
            start |= {"thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": block["thinking"]}]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif block["type"] == "text":
            start |= {"text": "", "citations": []}
            deltas = [{"type": "citations_delta", "citation": one} for one in block.get("citations", ())]
            deltas.append({"type": "text_delta", "text": block["text"]})
        elif block["type"] in ("server_tool_use", "tool_use"):
            start["input"] = {}
            deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
        events.append({"type": "content_block_start", "index": i, "content_block": start})
        events += [{"type": "content_block_delta", "index": i, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": i})
    delta = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
    return [*events, {"type": "message_delta", "delta": delta, "usage": answer["usage"]}, {"type": "message_stop"}]


def answers(body: Json, events: list[Json] | None = None, *, done: bool = False) -> Script:
    """In the mode that it is asked for; one event holds everything where none are given."""

    async def script(call: Call) -> None:
        if "stream" not in call.path.lower() and not call.json.get("stream"):
            await call.answer(body)
            return
        await call.begin_stream()
        for event in events if events is not None else [body]:
            await call.event(event, event.get("type"))
        if done:
            await call.event(b"[DONE]")
        await call.end_stream()

    return script


def data_of(text: str) -> list[Json]:
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def chunk(delta: Json, reason: str | None = None) -> Json:
    """One event of a chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c", "created": 1, "model": "m", "choices": [choice]}


THOUGHT = [chunk({"role": "assistant", "reasoning_content": "Hm."}), chunk({"content": "So."}), chunk({}, "stop")]


@pytest.mark.parametrize(
    ("model", "script"),
    [
        (MESSAGES, answers(SEARCHED, messages_stream(SEARCHED))),
        (GEMINI, answers(GEMINI_ANSWER)),
        (
            DEEPSEEK,
            answers({}, THOUGHT, done=True),
        ),
    ],
    ids=["messages", "gemini", "chat"],
)  # fmt: skip
async def test_a_responses_stream_is_whole_whoever_answers(
    upstream: Upstream, tmp_path: Path, model: str, script: Script
) -> None:
    upstream.plays(script)
    async with shipped(upstream, tmp_path) as gate:
        body = {"model": model, "input": "hi", "stream": True, "reasoning": {"effort": "high", "summary": "auto"}}
        answer = await gate.client.post("/v1/responses", json=body)
    events = data_of(answer.text)
    named = [line.removeprefix("event: ") for line in answer.text.split("\n") if line.startswith("event: ")]
    assert named == [event["type"] for event in events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    known: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    for event in events:
        known.validate_python(event, strict=False)
        if event["type"] in ("response.output_text.delta", "response.output_text.done"):
            assert event["logprobs"] == []
        items = [event["item"]] if "item" in event else event.get("response", {}).get("output", [])
        for item in items:
            if item["type"] == "reasoning":
                assert isinstance(item["summary"], list)
                assert {part["type"] for part in item.get("content") or []} <= {"reasoning_text"}
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    Response.model_validate(events[-1]["response"])


@pytest.mark.parametrize("stream", [False, True], ids=["json", "sse"])
async def test_a_thought_without_a_signature_has_an_empty_one(upstream: Upstream, tmp_path: Path, stream: bool) -> None:
    message = {"role": "assistant", "reasoning_content": "Hm.", "content": "So."}
    body = {
        "id": "c",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    chunks = [
        {"id": "c", "created": 1, "model": "m", "choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]}
    ]
    upstream.plays(answers(body, chunks, done=True))
    async with shipped(upstream, tmp_path) as gate:
        thinking = {"type": "enabled", "budget_tokens": 1024}
        question: Json = {"model": DEEPSEEK, "max_tokens": 2000, "thinking": thinking, "stream": stream}
        history: list[Json] = [{"role": "user", "content": "hi"}]
        answer = await gate.client.post("/v1/messages", json={**question, "messages": history})
        if stream:
            events = data_of(answer.text)
            assert events[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
            assert "null" not in json.dumps([event for event in events if event["type"].startswith("content_block")])
            return
        content = answer.json()["content"]
        assert content[0] == {"type": "thinking", "thinking": "Hm.", "signature": ""}
        # and what a client made of it comes back without harm, to its maker and to a provider that verifies it
        history += [{"role": "assistant", "content": content}, {"role": "user", "content": "more"}]
        again = await gate.client.post("/v1/messages", json={**question, "messages": history})
        assert again.status_code == 200, again.text
        upstream.plays(says(SEARCHED))
        other = await gate.client.post("/v1/messages", json={**question, "model": MESSAGES, "messages": history})
        assert other.status_code == 200, other.text
        assert "thinking" not in json.dumps(upstream.calls[-1].json["messages"])


@pytest.mark.parametrize("stream", [False, True], ids=["json", "sse"])
@pytest.mark.parametrize("client", ["chat", "responses", "messages"])
async def test_a_thought_signature_comes_back_to_its_maker(
    upstream: Upstream, tmp_path: Path, client: str, stream: bool
) -> None:
    """Also: parallel calls of one function have an id each."""
    upstream.plays(answers(GEMINI_ANSWER))
    async with shipped(upstream, tmp_path) as gate:
        if client == "chat":
            question: Json = {"model": GEMINI, "stream": stream, "tools": [CHAT_TOOL], "reasoning_effort": "low"}
            history: list[Json] = [{"role": "user", "content": "hi"}]
            answer = await gate.client.post("/v1/chat/completions", json={**question, "messages": history})
            if stream:
                deltas = [event["choices"][0]["delta"] for event in data_of(answer.text) if event["choices"]]
                begun = [call for delta in deltas for call in delta.get("tool_calls", ()) if "id" in call]
                assert [call["index"] for call in begun] == [0, 1]
                ids = [call["id"] for call in begun]
            else:
                ids = [call["id"] for call in answer.json()["choices"][0]["message"]["tool_calls"]]
            calls = [
                {"id": call_id, "type": "function", "function": {"name": "look", "arguments": f'{{"at": "{at}"}}'}}
                for call_id, at in zip(ids, "ab", strict=True)
            ]
            history += [{"role": "assistant", "content": None, "tool_calls": calls}]
            history += [{"role": "tool", "tool_call_id": call_id, "content": "7"} for call_id in ids]
            await gate.client.post("/v1/chat/completions", json={**question, "messages": history})
        elif client == "responses":
            tool = {"type": "function", "name": "look", "parameters": TOOL["parametersJsonSchema"], "strict": False}
            question = {"model": GEMINI, "stream": stream, "tools": [tool]}
            answer = await gate.client.post("/v1/responses", json={**question, "input": "hi"})
            whole = data_of(answer.text)[-1]["response"] if stream else answer.json()
            calls = [item for item in whole["output"] if item["type"] == "function_call"]
            ids = [item["call_id"] for item in calls]
            plain = [{name: item[name] for name in ("type", "call_id", "name", "arguments")} for item in calls]
            outputs = [{"type": "function_call_output", "call_id": call_id, "output": "7"} for call_id in ids]
            items = [{"role": "user", "content": "hi"}, *plain, *outputs]
            await gate.client.post("/v1/responses", json={**question, "input": items})
        else:
            tool = {"name": "look", "input_schema": TOOL["parametersJsonSchema"]}
            question = {"model": GEMINI, "stream": stream, "tools": [tool], "max_tokens": 500}
            history = [{"role": "user", "content": "hi"}]
            answer = await gate.client.post("/v1/messages", json={**question, "messages": history})
            if stream:
                begun = [e["content_block"] for e in data_of(answer.text) if e["type"] == "content_block_start"]
            else:
                begun = answer.json()["content"]
            ids = [block["id"] for block in begun if block["type"] == "tool_use"]
            used = [
                {"type": "tool_use", "id": call_id, "name": "look", "input": {"at": at}}
                for call_id, at in zip(ids, "ab", strict=True)
            ]
            results = [{"type": "tool_result", "tool_use_id": call_id, "content": "7"} for call_id in ids]
            history += [{"role": "assistant", "content": used}, {"role": "user", "content": results}]
            await gate.client.post("/v1/messages", json={**question, "messages": history})
    assert len(ids) == len(set(ids)) == 2
    sent = upstream.calls[1].json["contents"][1]["parts"]
    made = [part for part in sent if "functionCall" in part]
    assert [part.get("thoughtSignature") for part in made] == [SIGNATURE, None]
    assert [part["functionCall"]["args"] for part in made] == [{"at": "a"}, {"at": "b"}]


SNAKE = {
    "system_instruction": {"parts": [{"text": "Be brief."}]},
    "contents": [{"role": "user", "parts": [{"inline_data": {"mime_type": "image/png", "data": "iVBORw0KGgo="}}]}],
    "tools": [{"function_declarations": [{"name": "look", "parameters_json_schema": TOOL["parametersJsonSchema"]}]}],
    "tool_config": {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["look"]}},
    "generation_config": {"max_output_tokens": 77, "stop_sequences": ["END"]},
}


def camel(value: Any) -> Any:
    if isinstance(value, list):
        return [camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        re.sub("_(.)", lambda found: found[1].upper(), key): part if key == "parameters_json_schema" else camel(part)
        for key, part in value.items()
    }


@pytest.mark.parametrize("model", [CHAT, RESPONSES, MESSAGES])
async def test_both_spellings_of_a_request_are_one(upstream: Upstream, tmp_path: Path, model: str) -> None:
    upstream.plays(says(SEARCHED))  # whatever the answer: the requests count
    async with shipped(upstream, tmp_path) as gate:
        for body in (SNAKE, camel(SNAKE)):
            await gate.client.post(f"/v1beta/models/{model}:generateContent", json=body)
    snake, other = (call.json for call in (upstream.calls[0], upstream.calls[-1]))
    assert snake == other
    text = json.dumps(snake)
    for word in ("iVBORw0KGgo=", '"at"', "Be brief.", "77", "look"):
        assert word in text


@pytest.mark.parametrize("model", UPSTREAMS)
async def test_documents_in_a_tool_result_stay_documents(upstream: Upstream, tmp_path: Path, model: str) -> None:
    upstream.plays(says(SEARCHED))
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "the plain words"}}
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [pdf, text]}]},
    ]
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    async with shipped(upstream, tmp_path) as gate:
        body = {"model": model, "max_tokens": 500, "messages": history, "tools": tools}
        answer = await gate.client.post("/v1/messages", json=body)
    if answer.status_code == 400:  # a model that takes no documents says so
        assert model.startswith(("deepseek", "xai")), answer.text
        return
    texts: list[str] = []
    media: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for name, value in node.items():
                if name in ("text", "content", "output") and isinstance(value, str):
                    texts.append(value)
                elif name in ("data", "file_data") and isinstance(value, str):
                    media.append(value)
                else:
                    walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(upstream.calls[0].json)
    assert any(value.endswith(PDF) for value in media)
    assert not any(PDF in value for value in texts)
    plain = base64.b64encode(b"the plain words").decode()
    assert any("the plain words" in value for value in [*texts, *media]) or any(v.endswith(plain) for v in media)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "sse"])
async def test_a_search_by_the_provider_is_no_call_of_the_clients(
    upstream: Upstream, tmp_path: Path, stream: bool
) -> None:
    """… and its citations arrive, in each format's own shape."""
    upstream.plays(answers(SEARCHED, messages_stream(SEARCHED)))
    async with shipped(upstream, tmp_path) as gate:
        chat = {"model": MESSAGES, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        answer = await gate.client.post("/v1/chat/completions", json=chat)
        if stream:
            parts = [event["choices"][0] for event in data_of(answer.text) if event["choices"]]
            deltas = [part["delta"] for part in parts]
            said = {"content": "".join(delta.get("content") or "" for delta in deltas)}
            said["annotations"] = [one for delta in deltas for one in delta.get("annotations", ())]
            assert not any("tool_calls" in delta for delta in deltas)
            assert parts[-1]["finish_reason"] == "stop"
        else:
            said = answer.json()["choices"][0]["message"]
            assert "tool_calls" not in said
            assert answer.json()["choices"][0]["finish_reason"] == "stop"
        assert said["content"] == "It is so."
        assert [one["type"] for one in said["annotations"]] == ["url_citation"]
        assert said["annotations"][0]["url_citation"]["url"] == "https://a.example/x"

        asked = {"model": MESSAGES, "input": "hi", "stream": stream}
        answer = await gate.client.post("/v1/responses", json=asked)
        whole = data_of(answer.text)[-1]["response"] if stream else answer.json()
        assert [item["type"] for item in whole["output"]] == ["reasoning", "web_search_call", "message"]
        (cited,) = whole["output"][-1]["content"][0]["annotations"]
        assert (cited["type"], cited["url"], cited["title"]) == ("url_citation", "https://a.example/x", "X")

        way = "streamGenerateContent?alt=sse" if stream else "generateContent"
        wish = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        answer = await gate.client.post(f"/v1beta/models/{MESSAGES}:{way}", json=wish)
        told = data_of(answer.text) if stream else [answer.json()]
        assert not any("functionCall" in part for e in told for part in e["candidates"][0]["content"]["parts"])
        last = told[-1]["candidates"][0]
        assert last["finishReason"] == "STOP"
        assert last["groundingMetadata"]["groundingChunks"][0]["web"]["uri"] == "https://a.example/x"


@pytest.mark.parametrize("model", [name for name in UPSTREAMS if name.endswith("openai.chat")])
async def test_a_streams_numbers_do_not_come_back(upstream: Upstream, tmp_path: Path, model: str) -> None:
    """Clients that put a stream together send its `index` in their history; providers refuse it."""
    upstream.plays(says({}, 500))
    calls = [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "7"},
    ]
    async with shipped(upstream, tmp_path) as gate:
        body = {"model": model, "messages": history, "tools": [CHAT_TOOL]}
        await gate.client.post("/v1/chat/completions", json=body)
    (call,) = upstream.calls[0].json["messages"][1]["tool_calls"]
    assert call == {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize("model", [MESSAGES, GEMINI, RESPONSES, DEEPSEEK, OPENROUTER])
async def test_the_usage_chunk_has_no_choices(upstream: Upstream, tmp_path: Path, model: str) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    counting = {**chunk({"role": "assistant", "content": "So."}, "stop"), "usage": usage}
    part = {"type": "output_text", "text": "So.", "annotations": []}
    output = [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}]
    counted = {"input_tokens": 5, "output_tokens": 5, "total_tokens": 10}
    response = {"id": "r", "status": "completed", "created_at": 1, "model": "m", "output": output, "usage": counted}
    scripts = {
        MESSAGES: answers(SEARCHED, messages_stream(SEARCHED)),
        GEMINI: answers(GEMINI_ANSWER),
        RESPONSES: answers({}, [
            {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0,
             "delta": "So."},
            {"type": "response.completed", "response": response},
        ]),
    }  # fmt: skip
    upstream.plays(scripts.get(model) or answers({}, [counting], done=True))
    async with shipped(upstream, tmp_path) as gate:
        asked: Json = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": True}
        told = await gate.client.post("/v1/chat/completions", json={**asked, "stream_options": {"include_usage": True}})
        silent = await gate.client.post("/v1/chat/completions", json=asked)
    events = data_of(told.text)
    if model not in (DEEPSEEK, OPENROUTER):  # their own clients get what they send
        assert events[-1]["choices"] == []
        assert events[-1]["usage"]["prompt_tokens"] == 5
        assert all(event["usage"] is None for event in events[:-1])
    assert [event for event in data_of(silent.text) if event.get("usage")] == []


STRANGE = {"guided_json": {}, "min_p": 0.1, "made_up_field": True, "top_a": 1}


@pytest.mark.parametrize("model", UPSTREAMS)
async def test_unknown_parameters_do_not_reach_another_format(upstream: Upstream, tmp_path: Path, model: str) -> None:
    upstream.plays(says({}, 500))
    async with shipped(upstream, tmp_path) as gate:
        body = {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}], **STRANGE}
        answer = await gate.client.post("/v1/messages", json=body)
    if model == MESSAGES:
        return  # the same format: the provider judges for itself
    assert set(upstream.calls[0].json) & set(STRANGE) == set()
    assert set(STRANGE) <= set(answer.headers["x-nexeon-dropped"].split(", "))
