"""What may come in: documented oddities are understood, and nothing at all breaks a reader."""

import pathlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexeon.errors import RequestError
from nexeon.sandbox.anthropic_messages import AnthropicMessages
from nexeon.sandbox.app import _read
from nexeon.sandbox.content import make_plan, tokens_of
from nexeon.sandbox.gemini import Gemini
from nexeon.sandbox.openai_chat import OpenAIChat
from nexeon.sandbox.openai_responses import OpenAIResponses

WIRES: dict[str, Any] = {
    "chat": OpenAIChat(),
    "responses": OpenAIResponses(),
    "messages": AnthropicMessages(),
    "gemini": Gemini(),
}
_KEYS = (
    *("type", "role", "content", "text", "parts", "name", "function", "parameters", "input_schema", "output"),
    *("functionDeclarations", "functionCall", "functionResponse", "response", "schema", "format", "json_schema"),
    *("mode", "effort", "summary", "tools", "allowedFunctionNames", "functionCallingConfig", "include_usage"),
)
_TOP = (
    *("tools", "tool_choice", "toolConfig", "response_format", "text", "output_config", "reasoning", "thinking"),
    *("stop", "stop_sequences", "generationConfig", "stream_options", "systemInstruction", "instructions"),
    *("system", "max_tokens", "include"),
)
_VALUES = ("user", "assistant", "tool", "function", "function_call_output", "tool_result", "json_schema", "any", "ANY")
_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.sampled_from(_VALUES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", WIRES)
@given(turns=st.lists(_json, min_size=1, max_size=3), rest=st.dictionaries(st.sampled_from(_TOP), _json, max_size=4))
def test_no_request_breaks_a_reader(name: str, turns: list[Any], rest: dict[str, Any]) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": turns, "input": turns, "contents": turns} | rest
    wire = WIRES[name]
    try:
        ask = _read(wire, body, "m", False, False)
        plan = make_plan(ask)
    except RequestError as problem:
        status = problem.status
    else:
        status = 200
        orjson.loads(wire.reply(ask, plan))
        assert list(wire.events(ask, plan))
    assert status in (200, 400)


@given(st.text())
def test_tokens_are_the_whole_text(text: str) -> None:
    assert "".join(tokens_of(text)) == text


def read(name: str, **body: Any) -> Any:
    return WIRES[name].read({"model": "m", "max_tokens": 9} | body, "m", False, False)


def test_the_last_turn_is_found_behind_system_turns_and_pictures() -> None:
    user = {"role": "user", "content": "Hello"}
    call = {"role": "assistant", "tool_calls": []}
    result = {"role": "tool", "tool_call_id": "1", "content": "done"}
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}
    system = {"role": "system", "content": "Be brief"}
    assert read("chat", messages=[user, system]).last == "user"
    assert read("chat", messages=[user, call, result, picture]).last == "tool"
    assert read("chat", messages=[user, call, result, user]).last == "user"
    assert read("chat", messages=[user, {"role": "assistant", "content": "Hi"}]).last == "model"
    assert read("chat", messages=[picture]).images == 1


def test_a_result_with_a_text_after_it_is_a_users_turn() -> None:
    result = {"type": "tool_result", "tool_use_id": "1", "content": "done"}
    text = {"type": "text", "text": "And?"}
    assert read("messages", messages=[{"role": "user", "content": [result, text]}]).text == "And?"
    assert read("messages", messages=[{"role": "user", "content": [text, result]}]).last == "tool"
    assert read("messages", messages=[{"role": "user", "content": [result]}]).result == "done"


def test_allowed_tools_and_those_the_provider_runs() -> None:
    tools = [{"type": "function", "name": n, "parameters": {}} for n in ("a", "b")]
    search = {"type": "web_search"}
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "b"}]}
    ask = read("responses", input="x", tools=[*tools, search], tool_choice=allowed)
    assert (list(ask.tools), ask.must_call) == (["b"], True)
    assert make_plan(read("responses", input="x", tools=[search], tool_choice="required")).calls == []
    chat = [{"type": "function", "function": {"name": "a"}}]
    nested = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": chat}}
    ask = read("chat", messages=[{"role": "user", "content": "x"}], tools=chat, tool_choice=nested)
    assert (list(ask.tools), ask.must_call) == (["a"], False)
    server = {"type": "web_search_20250305", "name": "web_search"}
    choice = {"type": "tool", "name": "web_search"}
    assert read("messages", messages=[{"role": "user", "content": "x"}], tools=[server], tool_choice=choice).tools == {}


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        ({}, False),
        ({"reasoning_effort": "none"}, False),
        ({"thinking": {"type": "enabled"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"reasoning": {"enabled": True}}, True),
        ({"reasoning": {"effort": "none"}}, False),
        ({"model": "deepseek-reasoner"}, True),
    ],
)
def test_who_asks_for_reasoning(body: dict[str, Any], reasons: bool) -> None:
    assert read("chat", messages=[{"role": "user", "content": "x"}], **body).reasoning is reasons


def test_snake_case_is_understood() -> None:
    ask = read(
        "gemini",
        contents=[{"parts": [{"text": "x"}, {"inline_data": {"mime_type": "image/png", "data": "AAAA"}}]}],
        system_instruction={"parts": [{"text": "Be brief"}]},
        generation_config={
            "max_output_tokens": 5,
            "response_mime_type": "application/json",
            "response_schema": {"type": "STRING"},
            "thinking_config": {"include_thoughts": True},
        },
        tools=[{"function_declarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}],
        tool_config={"function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}},
    )
    assert (ask.limit, ask.schema, ask.reasoning, ask.images) == (5, {"type": "string"}, True, 1)
    assert (ask.tools, ask.must_call) == ({"f": {"type": "object"}}, True)


@pytest.mark.parametrize(
    ("folder", "name"),
    [("*.chat", "chat"), ("*.responses", "responses"), ("anthropic.messages", "messages"), ("gemini.*", "gemini")],
)
def test_recorded_requests_are_answered(request: pytest.FixtureRequest, folder: str, name: str) -> None:
    root = request.config.getoption("--recordings", default=None)
    if not root:
        pytest.skip("no --recordings")
    seen = 0
    for path in pathlib.Path(root).glob(f"{folder}/*/request.json"):
        body = orjson.loads(path.read_bytes())
        meta = orjson.loads((path.parent / "meta.json").read_bytes())
        if meta["status"] != 200:
            continue
        wire = WIRES[name]
        ask = wire.read(body, "m", False, False)
        plan = make_plan(ask)
        assert orjson.loads(wire.reply(ask, plan)), path.parent.name
        assert plan.finish in ("stop", "calls", "length"), path.parent.name
        seen += 1
    assert seen
