"""The OpenAI SDK's Chat Completions, against every upstream."""

from __future__ import annotations

import json

import openai as sdk
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion

from tests.sdk.flowing import MINUTES, begins

ASK = "Please call the tool get_weather"
BOTH = "Please call the tools get_weather and get_time"
ARGUMENTS = {"city": "example", "days": 1}
PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
)


def user(text):
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="session")
def tools(parameters):
    return [
        {
            "type": "function",
            "function": {"name": name, "description": "Tells.", "parameters": parameters, "strict": True},
        }
        for name in ("get_weather", "get_time")
    ]


def thought(message):
    """The reasoning's text: in the field that a gateway answers with, or in the provider's own on the way of a pipe."""
    return getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)


def counted(usage):
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_quickstart(openai, upstream):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello there"},
        {"role": "user", "content": "Hello!"},
    ]
    raw = openai.chat.completions.with_raw_response.create(model=upstream.model, messages=messages, max_tokens=100)
    answer = raw.parse()
    assert isinstance(answer, ChatCompletion)
    assert raw.headers["x-nexeon-provider"] == upstream.provider
    assert raw.headers["x-nexeon-model"] == upstream.model
    assert raw.headers["x-request-id"]
    assert answer.id.startswith("chatcmpl-nex-")
    assert answer.object == "chat.completion"
    assert [choice.message.content for choice in answer.choices] == ["Echo: Hello!"]
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.created > 0
    counted(answer.usage)


def test_streaming(openai, upstream):
    chunks = list(
        openai.chat.completions.create(
            model=upstream.model, messages=user("Hello!"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Echo: Hello!"
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].id.startswith("chatcmpl-nex-")
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert [chunk.usage is not None for chunk in chunks].count(True) == 1
    counted(chunks[-1].usage)


def test_stream_flows(openai, upstream):
    """The first words reach the client while the provider is still speaking."""
    with openai.chat.completions.create(model=upstream.model, messages=user(MINUTES), stream=True) as stream:
        begins(chunk for chunk in stream if chunk.choices[0].delta.content)


def test_streaming_without_usage(openai, upstream):
    chunks = list(openai.chat.completions.create(model=upstream.model, messages=user("Hello!"), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Echo: Hello!"
    assert all(chunk.usage is None for chunk in chunks)


def test_stream_helper(openai, upstream):
    with openai.chat.completions.stream(model=upstream.model, messages=user("Hello!")) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        answer = stream.get_final_completion()
    assert "".join(deltas) == answer.choices[0].message.content == "Echo: Hello!"
    assert answer.choices[0].finish_reason == "stop"


def result(call, text):
    return {"role": "tool", "tool_call_id": call.id, "content": text}


def test_tool_loop(openai, upstream, tools):
    messages = user(ASK)
    answer = openai.chat.completions.create(model=upstream.model, messages=messages, tools=tools)
    assert answer.choices[0].finish_reason == "tool_calls"
    message = answer.choices[0].message
    (call,) = message.tool_calls
    assert call.id
    assert (call.type, call.function.name, json.loads(call.function.arguments)) == (
        "function",
        "get_weather",
        ARGUMENTS,
    )
    messages += [message, result(call, "sunny")]
    answer = openai.chat.completions.create(model=upstream.model, messages=messages, tools=tools)
    assert answer.choices[0].message.content.startswith("Tool said:")
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"


def test_tool_loop_streamed(openai, upstream, tools):
    messages = user(ASK)
    with openai.chat.completions.stream(model=upstream.model, messages=messages, tools=tools) as stream:
        answer = stream.get_final_completion()
    assert answer.choices[0].finish_reason == "tool_calls"
    message = answer.choices[0].message
    (call,) = message.tool_calls
    assert (call.function.name, call.function.parsed_arguments) == ("get_weather", ARGUMENTS)
    assert call.id
    messages += [message.model_dump(exclude_none=True), result(call, "sunny")]
    with openai.chat.completions.stream(model=upstream.model, messages=messages, tools=tools) as stream:
        answer = stream.get_final_completion()
    assert answer.choices[0].message.content.startswith("Tool said:")


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_parallel_calls(openai, upstream, tools, streamed):
    messages = user(BOTH)
    if streamed:
        with openai.chat.completions.stream(model=upstream.model, messages=messages, tools=tools) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        message = (
            openai.chat.completions.create(model=upstream.model, messages=messages, tools=tools).choices[0].message
        )
    assert [call.function.name for call in message.tool_calls] == ["get_weather", "get_time"]
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == [ARGUMENTS, ARGUMENTS]
    assert len({call.id for call in message.tool_calls}) == 2
    messages += [message, *(result(call, "fine") for call in message.tool_calls)]
    answer = openai.chat.completions.create(model=upstream.model, messages=messages, tools=tools)
    assert answer.choices[0].message.content.startswith("Tool said:")


def test_tool_choice(openai, upstream, tools):
    named = {"type": "function", "function": {"name": "get_time"}}
    for choice, name in (("required", "get_weather"), (named, "get_time")):
        answer = openai.chat.completions.create(
            model=upstream.model, messages=user("Hi"), tools=tools, tool_choice=choice
        )
        assert [call.function.name for call in answer.choices[0].message.tool_calls] == [name]
    answer = openai.chat.completions.create(model=upstream.model, messages=user(ASK), tools=tools, tool_choice="none")
    assert not answer.choices[0].message.tool_calls


def test_structured_output(openai, upstream):
    answer = openai.chat.completions.parse(
        model=upstream.model, messages=user("Which city?"), response_format=upstream.form
    )
    assert isinstance(answer.choices[0].message.parsed, upstream.form)
    options = {"model": upstream.model, "messages": user("Which city?"), "response_format": upstream.form}
    with openai.chat.completions.stream(**options) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, upstream.form)


def test_reasoning(openai, upstream, tools):
    options = {"model": upstream.model, "reasoning_effort": "high", "tools": tools}
    messages = user(ASK)
    answer = openai.chat.completions.create(messages=messages, **options)
    message = answer.choices[0].message
    assert thought(message)
    assert answer.usage.completion_tokens > 0
    assert answer.usage.completion_tokens_details.reasoning_tokens > 0
    (call,) = message.tool_calls
    messages += [message, result(call, "sunny")]
    answer = openai.chat.completions.create(messages=messages, **options)
    assert answer.choices[0].message.content.startswith("Tool said:")
    assert thought(answer.choices[0].message)


def test_reasoning_streamed(openai, upstream, tools):
    options = {"model": upstream.model, "reasoning_effort": "high", "tools": tools}
    messages = user(ASK)
    stream = openai.chat.completions.create(messages=messages, stream=True, **options)
    deltas = [chunk.choices[0].delta for chunk in stream if chunk.choices]
    reasoning = "".join(thought(delta) or "" for delta in deltas)
    whole = openai.chat.completions.create(messages=messages, **options).choices[0].message
    assert reasoning == thought(whole)
    assert reasoning
    with openai.chat.completions.stream(messages=messages, **options) as stream:
        message = stream.get_final_completion().choices[0].message
    messages += [message.model_dump(exclude_none=True), result(message.tool_calls[0], "sunny")]
    with openai.chat.completions.stream(messages=messages, **options) as stream:
        assert stream.get_final_completion().choices[0].message.content.startswith("Tool said:")


def test_another_model_goes_on(openai, upstream, models, tools):
    """A conversation with reasoning and a call goes on with a model of any other provider, and comes back."""
    options = {"reasoning_effort": "high", "tools": tools}
    messages = user(ASK)
    message = openai.chat.completions.create(model=upstream.model, messages=messages, **options).choices[0].message
    messages += [message, result(message.tool_calls[0], "sunny")]
    for model in [*models, upstream.model]:
        message = openai.chat.completions.create(model=model, messages=messages, **options).choices[0].message
        assert message.content.startswith("Tool said:"), model
        more = [*messages, message, {"role": "user", "content": "And on"}]
        message = openai.chat.completions.create(model=upstream.model, messages=more, **options).choices[0].message
        assert message.content == "Echo: And on", model


def test_image(openai, upstream):
    content = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    options = {"model": upstream.model, "messages": user(content)}
    if upstream.provider == "deepseek":
        with pytest.raises(sdk.BadRequestError, match="images"):
            openai.chat.completions.create(**options)
        return
    answer = openai.chat.completions.create(**options)
    assert answer.choices[0].message.content == "Echo: Look +1 image"


def test_limit(openai, upstream):
    answer = openai.chat.completions.create(
        model=upstream.model, messages=user("[[tokens 60]]"), max_completion_tokens=20
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 20


def test_refusal(openai, upstream):
    choice = openai.chat.completions.create(model=upstream.model, messages=user("[[refuse]] Hello")).choices[0]
    said = choice.message.refusal or choice.message.content
    assert said == "I cannot help with that." or choice.finish_reason == "content_filter"


def test_cached_tokens(openai, upstream):
    messages = user("[[cached 7]] " + "word " * 40)
    usage = openai.chat.completions.create(model=upstream.model, messages=messages).usage
    assert usage.prompt_tokens_details.cached_tokens == 7
    assert usage.prompt_tokens > 40
    counted(usage)


def test_upstream_limits_the_rate(openai, upstream):
    with pytest.raises(sdk.RateLimitError) as caught:
        openai.chat.completions.create(model=upstream.model, messages=user("[[error 429 retry-after=1]] Hi"))
    error = caught.value
    assert error.code == "rate_limit_exceeded"
    assert error.response.headers["retry-after"] == "1"
    assert error.response.headers["x-nexeon-provider"] == upstream.provider


def test_upstream_refuses_the_request(openai, upstream):
    with pytest.raises(sdk.BadRequestError, match="too-blue") as caught:
        openai.chat.completions.create(model=upstream.model, messages=user("[[error 400 message=too-blue]] Hi"))
    assert caught.value.type == "invalid_request_error"


def test_upstream_refuses_the_key(openai, upstream):
    with pytest.raises(sdk.InternalServerError, match="no active key") as caught:
        openai.chat.completions.create(model=upstream.model, messages=user("[[error 401 message=secret]] Hi"))
    assert caught.value.status_code == 503
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("fault", ["error-after", "cut-after"])
def test_stream_fails(openai, upstream, fault):
    stream = openai.chat.completions.create(
        model=upstream.model, messages=user(f"[[tokens 40]] [[{fault} 12]]"), stream=True
    )
    heard = []
    with pytest.raises(sdk.APIError) as caught:
        heard.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "The quick" in "".join(heard)
    assert caught.value.message


def test_unknown_model(openai):
    with pytest.raises(sdk.NotFoundError, match="Model 'nobody' is not available") as caught:
        openai.chat.completions.create(model="nobody", messages=user("Hi"))
    error = caught.value
    assert (error.type, error.param, error.code) == ("invalid_request_error", "model", "model_not_found")


def test_bad_key(gateway):
    with (
        OpenAI(base_url=f"{gateway.url}/v1", api_key="nex-sk-wrong", max_retries=0) as client,
        pytest.raises(sdk.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model="gpt-5", messages=user("Hi"))
    assert caught.value.code == "invalid_api_key"
    assert "nex-sk-wrong" not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": "Hi"}, "messages"),
        ({"temperature": "hot"}, "temperature"),
        ({"messages": [{"role": "stranger", "content": "Hi"}]}, "messages[0].role"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid(openai, changes, param):
    with pytest.raises(sdk.BadRequestError) as caught:
        openai.chat.completions.create(**{"model": "gpt-5", "messages": user("Hi")} | changes)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    assert caught.value.message


async def test_async(gateway, upstream):
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        options = {"model": upstream.model, "messages": user("Hello!")}
        answer = await client.chat.completions.create(**options)
        chunks = [chunk async for chunk in await client.chat.completions.create(stream=True, **options)]
    assert answer.choices[0].message.content == "Echo: Hello!"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Echo: Hello!"
