"""The OpenAI SDK's Responses, against every upstream."""

from __future__ import annotations

import json

import openai as sdk
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response

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
        {"type": "function", "name": name, "description": "Tells.", "parameters": parameters, "strict": True}
        for name in ("get_weather", "get_time")
    ]


def counted(usage):
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


def calls(response):
    return [item for item in response.output if item.type == "function_call"]


def thoughts(response):
    """The reasoning's text, summarised or whole."""
    items = [item for item in response.output if item.type == "reasoning"]
    return "".join(part.text for item in items for part in [*item.summary, *(item.content or [])])


def result(call, text):
    return {"type": "function_call_output", "call_id": call.call_id, "output": text}


def test_quickstart(openai, upstream):
    raw = openai.responses.with_raw_response.create(
        model=upstream.model, instructions="Be brief.", input="Hello!", max_output_tokens=100
    )
    answer = raw.parse()
    assert isinstance(answer, Response)
    assert raw.headers["x-nexeon-provider"] == upstream.provider
    assert raw.headers["x-nexeon-model"] == upstream.model
    assert raw.headers["x-request-id"]
    assert answer.id.startswith("resp_nex-")
    assert (answer.object, answer.status) == ("response", "completed")
    assert answer.output_text == "Echo: Hello!"
    assert [(item.type, item.role) for item in answer.output] == [("message", "assistant")]
    assert answer.created_at > 0
    assert answer.error is None
    counted(answer.usage)


def test_turns(openai, upstream):
    items = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello there"},
        {"role": "user", "content": [{"type": "input_text", "text": "Hello!"}]},
    ]
    answer = openai.responses.create(model=upstream.model, input=items)
    assert answer.output_text == "Echo: Hello!"
    again = [*items, *answer.output, {"role": "user", "content": "And on"}]
    assert openai.responses.create(model=upstream.model, input=again).output_text == "Echo: And on"


def test_streaming(openai, upstream):
    events = list(openai.responses.create(model=upstream.model, input="Hello!", stream=True))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Echo: Hello!"
    final = events[-1]
    assert final.type == "response.completed"
    assert final.response.output_text == "Echo: Hello!"
    assert final.response.id == events[0].response.id
    assert final.response.id.startswith("resp_nex-")
    counted(final.response.usage)


def test_stream_flows(openai, upstream):
    """The first words reach the client while the provider is still speaking."""
    with openai.responses.create(model=upstream.model, input=MINUTES, stream=True) as stream:
        begins(event for event in stream if event.type == "response.output_text.delta")


def test_stream_helper(openai, upstream):
    with openai.responses.stream(model=upstream.model, input="Hello!") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        answer = stream.get_final_response()
    assert "".join(deltas) == answer.output_text == "Echo: Hello!"
    counted(answer.usage)


def test_tool_loop(openai, upstream, tools):
    items = user(ASK)
    answer = openai.responses.create(model=upstream.model, input=items, tools=tools)
    assert answer.status == "completed"
    (call,) = calls(answer)
    assert call.call_id
    assert (call.name, json.loads(call.arguments)) == ("get_weather", ARGUMENTS)
    items += [*answer.output, result(call, "sunny")]
    answer = openai.responses.create(model=upstream.model, input=items, tools=tools)
    assert answer.output_text.startswith("Tool said:")
    assert not calls(answer)


def test_tool_loop_streamed(openai, upstream, tools):
    items = user(ASK)
    with openai.responses.stream(model=upstream.model, input=items, tools=tools) as stream:
        answer = stream.get_final_response()
    (call,) = calls(answer)
    assert (call.name, call.parsed_arguments) == ("get_weather", ARGUMENTS)
    assert call.call_id
    items += [item.to_dict(exclude_none=True) for item in answer.output]
    for item in items:
        item.pop("parsed_arguments", None)  # the helper's own, not the format's
    items.append(result(call, "sunny"))
    with openai.responses.stream(model=upstream.model, input=items, tools=tools) as stream:
        assert stream.get_final_response().output_text.startswith("Tool said:")


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_parallel_calls(openai, upstream, tools, streamed):
    items = user(BOTH)
    options = {"model": upstream.model, "input": items, "tools": tools}
    if streamed:
        events = list(openai.responses.create(stream=True, **options))
        answer = events[-1].response
        arguments = [e.arguments for e in events if e.type == "response.function_call_arguments.done"]
        assert [json.loads(text) for text in arguments] == [ARGUMENTS, ARGUMENTS]
    else:
        answer = openai.responses.create(**options)
    made = calls(answer)
    assert [call.name for call in made] == ["get_weather", "get_time"]
    assert [json.loads(call.arguments) for call in made] == [ARGUMENTS, ARGUMENTS]
    assert len({call.call_id for call in made}) == 2
    items += [*answer.output, *(result(call, "fine") for call in made)]
    assert openai.responses.create(**options).output_text.startswith("Tool said:")


def test_tool_choice(openai, upstream, tools):
    for choice, name in (("required", "get_weather"), ({"type": "function", "name": "get_time"}, "get_time")):
        answer = openai.responses.create(model=upstream.model, input="Hi", tools=tools, tool_choice=choice)
        assert [call.name for call in calls(answer)] == [name]
    answer = openai.responses.create(model=upstream.model, input=ASK, tools=tools, tool_choice="none")
    assert not calls(answer)


def test_structured_output(openai, upstream):
    answer = openai.responses.parse(model=upstream.model, input="Which city?", text_format=upstream.form)
    assert isinstance(answer.output_parsed, upstream.form)
    with openai.responses.stream(model=upstream.model, input="Which city?", text_format=upstream.form) as stream:
        assert isinstance(stream.get_final_response().output_parsed, upstream.form)


def test_reasoning(openai, upstream, tools):
    options = {
        "model": upstream.model,
        "reasoning": {"effort": "high", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "tools": tools,
    }
    items = user(ASK)
    answer = openai.responses.create(input=items, **options)
    assert thoughts(answer)
    assert answer.output[0].type == "reasoning"
    assert answer.usage.output_tokens_details.reasoning_tokens > 0
    items += [*answer.output, result(calls(answer)[0], "sunny")]
    answer = openai.responses.create(input=items, **options)
    assert answer.output_text.startswith("Tool said:")
    assert thoughts(answer)


def test_reasoning_streamed(openai, upstream, tools):
    options = {
        "model": upstream.model,
        "reasoning": {"effort": "high", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "tools": tools,
    }
    items = user(ASK)
    kinds = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
    with openai.responses.stream(input=items, **options) as stream:
        reasoning = "".join(event.delta for event in stream if event.type in kinds)
        answer = stream.get_final_response()
    assert reasoning == thoughts(answer)
    assert reasoning
    items += [*answer.output, result(calls(answer)[0], "sunny")]
    with openai.responses.stream(input=items, **options) as stream:
        assert stream.get_final_response().output_text.startswith("Tool said:")


def test_another_model_goes_on(openai, upstream, models, tools):
    """A conversation with reasoning and a call goes on with a model of any other provider, and comes back."""
    options = {
        "reasoning": {"effort": "high", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "tools": tools,
    }
    items = user(ASK)
    answer = openai.responses.create(model=upstream.model, input=items, **options)
    items += [*answer.output, result(calls(answer)[0], "sunny")]
    for model in [*models, upstream.model]:
        answer = openai.responses.create(model=model, input=items, **options)
        assert answer.output_text.startswith("Tool said:"), model
        more = [*items, *answer.output, *user("And on")]
        answer = openai.responses.create(model=upstream.model, input=more, **options)
        assert answer.output_text == "Echo: And on", model


def test_image(openai, upstream):
    content = [{"type": "input_text", "text": "Look"}, {"type": "input_image", "image_url": PIXEL, "detail": "auto"}]
    options = {"model": upstream.model, "input": user(content)}
    if upstream.provider == "deepseek":
        with pytest.raises(sdk.BadRequestError, match="images"):
            openai.responses.create(**options)
        return
    assert openai.responses.create(**options).output_text == "Echo: Look +1 image"


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_limit(openai, upstream, streamed):
    options = {"model": upstream.model, "input": "[[tokens 60]]", "max_output_tokens": 20}
    if streamed:
        final = list(openai.responses.create(stream=True, **options))[-1]
        assert final.type == "response.incomplete"
        answer = final.response
    else:
        answer = openai.responses.create(**options)
    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage.output_tokens == 20


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_refusal(openai, upstream, streamed):
    options = {"model": upstream.model, "input": "[[refuse]] Hello"}
    if streamed:
        answer = list(openai.responses.create(stream=True, **options))[-1].response
    else:
        answer = openai.responses.create(**options)
    parts = [part for item in answer.output if item.type == "message" for part in item.content]
    if answer.status == "incomplete":
        assert answer.incomplete_details.reason == "content_filter"
    else:
        assert [(part.type, part.refusal) for part in parts] == [("refusal", "I cannot help with that.")]


def test_cached_tokens(openai, upstream):
    usage = openai.responses.create(model=upstream.model, input="[[cached 7]] " + "word " * 40).usage
    assert usage.input_tokens_details.cached_tokens == 7
    assert usage.input_tokens > 40
    counted(usage)


def test_upstream_limits_the_rate(openai, upstream):
    with pytest.raises(sdk.RateLimitError) as caught:
        openai.responses.create(model=upstream.model, input="[[error 429 retry-after=1]] Hi")
    error = caught.value
    assert error.code == "rate_limit_exceeded"
    assert error.response.headers["retry-after"] == "1"
    assert error.response.headers["x-nexeon-provider"] == upstream.provider


def test_upstream_refuses_the_request(openai, upstream):
    with pytest.raises(sdk.BadRequestError, match="too-blue") as caught:
        openai.responses.create(model=upstream.model, input="[[error 400 message=too-blue]] Hi")
    assert caught.value.type == "invalid_request_error"


def test_upstream_refuses_the_key(openai, upstream):
    with pytest.raises(sdk.InternalServerError, match="no active key") as caught:
        openai.responses.create(model=upstream.model, input="[[error 401 message=secret]] Hi")
    assert caught.value.status_code == 503
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("fault", ["error-after", "cut-after"])
def test_stream_fails(openai, upstream, fault):
    """The SDK tells a failure in the middle of a stream as events; its helper gives no final response then."""
    prompt = f"[[tokens 40]] [[{fault} 12]]"
    events = list(openai.responses.create(model=upstream.model, input=prompt, stream=True))
    assert "The quick" in "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2].message
    assert events[-1].response.status == "failed"
    assert events[-1].response.error.message
    assert events[-1].response.id == events[0].response.id
    assert [event.sequence_number for event in events] == list(range(len(events)))
    with (
        openai.responses.stream(model=upstream.model, input=prompt) as stream,
        pytest.raises((RuntimeError, sdk.APIError)),
    ):
        stream.get_final_response()


def test_unknown_model(openai):
    with pytest.raises(sdk.NotFoundError, match="Model 'nobody' is not available") as caught:
        openai.responses.create(model="nobody", input="Hi")
    error = caught.value
    assert (error.type, error.param, error.code) == ("invalid_request_error", "model", "model_not_found")


def test_bad_key(gateway):
    with (
        OpenAI(base_url=f"{gateway.url}/v1", api_key="nex-sk-wrong", max_retries=0) as client,
        pytest.raises(sdk.AuthenticationError) as caught,
    ):
        client.responses.create(model="gpt-5", input="Hi")
    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input": 7}, "input"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid(openai, changes, param):
    with pytest.raises(sdk.BadRequestError) as caught:
        openai.responses.create(**{"model": "gpt-5", "input": "Hi"} | changes)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    assert caught.value.message


async def test_async(gateway, upstream):
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        answer = await client.responses.create(model=upstream.model, input="Hello!")
        async with client.responses.stream(model=upstream.model, input="Hello!") as stream:
            final = await stream.get_final_response()
    assert answer.output_text == final.output_text == "Echo: Hello!"
