"""The Anthropic SDK's Messages, against every upstream."""

from __future__ import annotations

import anthropic as sdk
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message

from tests.sdk.flowing import MINUTES, begins

ASK = "Please call the tool get_weather"
BOTH = "Please call the tools get_weather and get_time"
ARGUMENTS = {"city": "example", "days": 1}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
THINKING = {"type": "enabled", "budget_tokens": 1024}


def user(content):
    return [{"role": "user", "content": content}]


@pytest.fixture(scope="session")
def tools(parameters):
    return [{"name": name, "description": "Tells.", "input_schema": parameters} for name in ("get_weather", "get_time")]


def text(message):
    return "".join(block.text for block in message.content if block.type == "text")


def thoughts(message):
    return "".join(block.thinking for block in message.content if block.type == "thinking")


def calls(message):
    return [block for block in message.content if block.type == "tool_use"]


def results(message, said):
    content = [{"type": "tool_result", "tool_use_id": call.id, "content": said} for call in calls(message)]
    return [{"role": "assistant", "content": message.content}, {"role": "user", "content": content}]


def test_quickstart(anthropic, upstream):
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello there"},
        {"role": "user", "content": "Hello!"},
    ]
    raw = anthropic.messages.with_raw_response.create(
        model=upstream.model, max_tokens=100, system="Be brief.", messages=messages
    )
    answer = raw.parse()
    assert isinstance(answer, Message)
    assert raw.headers["x-nexeon-provider"] == upstream.provider
    assert raw.headers["x-nexeon-model"] == upstream.model
    assert raw.headers["x-request-id"]
    assert answer.id.startswith("msg_nex-")
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn")
    assert [(block.type, block.text) for block in answer.content] == [("text", "Echo: Hello!")]
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


def test_streaming(anthropic, upstream):
    events = list(anthropic.messages.create(model=upstream.model, max_tokens=100, messages=user("Hello!"), stream=True))
    kinds = [event.type for event in events if event.type != "ping"]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert events[0].message.id.startswith("msg_nex-")
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    assert "".join(delta.text for delta in deltas if delta.type == "text_delta") == "Echo: Hello!"
    assert events[-2].delta.stop_reason == "end_turn"
    assert events[-2].usage.output_tokens > 0


def test_stream_flows(anthropic, upstream):
    """The first words reach the client while the provider is still speaking."""
    with anthropic.messages.stream(model=upstream.model, max_tokens=30_000, messages=user(MINUTES)) as stream:
        begins(stream.text_stream)


def test_stream_helper(anthropic, upstream):
    options = {"model": upstream.model, "max_tokens": 100, "messages": user("Hello!")}
    with anthropic.messages.stream(**options) as stream:
        assert "".join(stream.text_stream) == "Echo: Hello!"
        answer = stream.get_final_message()
    whole = anthropic.messages.create(**options)
    assert text(answer) == "Echo: Hello!"
    assert answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (
        whole.usage.input_tokens,
        whole.usage.output_tokens,
    )


def test_tool_loop(anthropic, upstream, tools):
    options = {"model": upstream.model, "max_tokens": 200, "tools": tools}
    messages = user(ASK)
    answer = anthropic.messages.create(messages=messages, **options)
    assert answer.stop_reason == "tool_use"
    (call,) = calls(answer)
    assert call.id
    assert (call.name, call.input) == ("get_weather", ARGUMENTS)
    messages += results(answer, "sunny")
    answer = anthropic.messages.create(messages=messages, **options)
    assert text(answer).startswith("Tool said:")
    assert answer.stop_reason == "end_turn"


def test_tool_loop_streamed(anthropic, upstream, tools):
    options = {"model": upstream.model, "max_tokens": 200, "tools": tools}
    messages = user(ASK)
    with anthropic.messages.stream(messages=messages, **options) as stream:
        answer = stream.get_final_message()
    assert answer.stop_reason == "tool_use"
    assert [(call.name, call.input) for call in calls(answer)] == [("get_weather", ARGUMENTS)]
    messages += results(answer, [{"type": "text", "text": "sunny"}])
    with anthropic.messages.stream(messages=messages, **options) as stream:
        assert stream.get_final_text().startswith("Tool said:")


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_parallel_calls(anthropic, upstream, tools, streamed):
    options = {"model": upstream.model, "max_tokens": 200, "tools": tools}
    messages = user(BOTH)
    if streamed:
        with anthropic.messages.stream(messages=messages, **options) as stream:
            answer = stream.get_final_message()
    else:
        answer = anthropic.messages.create(messages=messages, **options)
    made = calls(answer)
    assert [(call.name, call.input) for call in made] == [("get_weather", ARGUMENTS), ("get_time", ARGUMENTS)]
    assert len({call.id for call in made}) == 2
    messages += results(answer, "fine")
    assert text(anthropic.messages.create(messages=messages, **options)).startswith("Tool said:")


def test_failed_tool(anthropic, upstream, tools):
    options = {"model": upstream.model, "max_tokens": 200, "tools": tools}
    messages = user(ASK)
    messages += results(anthropic.messages.create(messages=messages, **options), "no signal")
    messages[-1]["content"][0]["is_error"] = True
    assert text(anthropic.messages.create(messages=messages, **options)).startswith("Tool said:")


def test_tool_choice(anthropic, upstream, tools):
    options = {"model": upstream.model, "max_tokens": 200, "tools": tools}
    for choice, name in (({"type": "any"}, "get_weather"), ({"type": "tool", "name": "get_time"}, "get_time")):
        answer = anthropic.messages.create(messages=user("Hi"), tool_choice=choice, **options)
        assert [call.name for call in calls(answer)] == [name]
    assert not calls(anthropic.messages.create(messages=user(ASK), tool_choice={"type": "none"}, **options))


def test_structured_output(anthropic, upstream):
    options = {
        "model": upstream.model,
        "max_tokens": 200,
        "messages": user("Which city?"),
        "output_format": upstream.form,
    }
    assert isinstance(anthropic.messages.parse(**options).parsed_output, upstream.form)
    with anthropic.messages.stream(**options) as stream:
        assert isinstance(stream.get_final_message().parsed_output, upstream.form)


@pytest.mark.parametrize("thinking", [THINKING, {"type": "adaptive"}], ids=["budget", "adaptive"])
def test_reasoning(anthropic, upstream, tools, thinking):
    options = {"model": upstream.model, "max_tokens": 2000, "tools": tools, "thinking": thinking}
    messages = user(ASK)
    answer = anthropic.messages.create(messages=messages, **options)
    assert thoughts(answer)
    assert answer.content[0].type == "thinking"
    messages += results(answer, "sunny")
    answer = anthropic.messages.create(messages=messages, **options)
    assert text(answer).startswith("Tool said:")
    assert thoughts(answer)


def test_reasoning_streamed(anthropic, upstream, tools):
    options = {"model": upstream.model, "max_tokens": 2000, "tools": tools, "thinking": THINKING}
    messages = user(ASK)
    with anthropic.messages.stream(messages=messages, **options) as stream:
        reasoning = "".join(event.thinking for event in stream if event.type == "thinking")
        answer = stream.get_final_message()
    assert reasoning == thoughts(answer)
    assert reasoning
    messages += results(answer, "sunny")
    with anthropic.messages.stream(messages=messages, **options) as stream:
        assert stream.get_final_text().startswith("Tool said:")


def test_another_model_goes_on(anthropic, upstream, models, tools):
    """A conversation with reasoning and a call goes on with a model of any other provider, and comes back."""
    options = {"max_tokens": 2000, "tools": tools, "thinking": THINKING}
    messages = user(ASK)
    messages += results(anthropic.messages.create(model=upstream.model, messages=messages, **options), "sunny")
    for model in [*models, upstream.model]:
        answer = anthropic.messages.create(model=model, messages=messages, **options)
        assert text(answer).startswith("Tool said:"), model
        more = [*messages, {"role": "assistant", "content": answer.content}, *user("And on")]
        answer = anthropic.messages.create(model=upstream.model, messages=more, **options)
        assert text(answer) == "Echo: And on", model


def test_image(anthropic, upstream):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "Look"}]
    options = {"model": upstream.model, "max_tokens": 100, "messages": user(content)}
    if upstream.provider == "deepseek":
        with pytest.raises(sdk.BadRequestError, match="images"):
            anthropic.messages.create(**options)
        return
    assert text(anthropic.messages.create(**options)) == "Echo: Look +1 image"


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_limit(anthropic, upstream, streamed):
    options = {"model": upstream.model, "max_tokens": 20, "messages": user("[[tokens 60]]")}
    if streamed:
        with anthropic.messages.stream(**options) as stream:
            answer = stream.get_final_message()
    else:
        answer = anthropic.messages.create(**options)
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == 20


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_refusal(anthropic, upstream, streamed):
    options = {"model": upstream.model, "max_tokens": 100, "messages": user("[[refuse]] Hello")}
    if streamed:
        with anthropic.messages.stream(**options) as stream:
            answer = stream.get_final_message()
    else:
        answer = anthropic.messages.create(**options)
    assert answer.stop_reason == "refusal"


def test_tool_runner(anthropic, upstream):
    heard = []

    @sdk.beta_tool
    def get_weather(city: str, days: int) -> str:
        """The weather."""
        heard.append((city, days))
        return "sunny"

    options = {"model": upstream.model, "max_tokens": 200, "messages": user(ASK), "tools": [get_weather]}
    answer = anthropic.beta.messages.tool_runner(**options).until_done()
    assert heard == [("example", 1)]
    assert text(answer).startswith("Tool said:")


def test_cached_tokens(anthropic, upstream):
    messages = user("[[cached 7]] " + "word " * 40)
    usage = anthropic.messages.create(model=upstream.model, max_tokens=100, messages=messages).usage
    assert usage.cache_read_input_tokens == 7
    assert usage.input_tokens > 33


def test_upstream_limits_the_rate(anthropic, upstream):
    with pytest.raises(sdk.RateLimitError) as caught:
        anthropic.messages.create(model=upstream.model, max_tokens=100, messages=user("[[error 429 retry-after=1]] Hi"))
    error = caught.value
    assert error.body["error"]["type"] == "rate_limit_error"
    assert error.response.headers["retry-after"] == "1"
    assert error.response.headers["x-nexeon-provider"] == upstream.provider


def test_upstream_refuses_the_request(anthropic, upstream):
    with pytest.raises(sdk.BadRequestError, match="too-blue") as caught:
        anthropic.messages.create(
            model=upstream.model, max_tokens=100, messages=user("[[error 400 message=too-blue]] Hi")
        )
    assert caught.value.body["error"]["type"] == "invalid_request_error"


def test_upstream_refuses_the_key(anthropic, upstream):
    with pytest.raises(sdk.InternalServerError, match="no active key") as caught:
        anthropic.messages.create(
            model=upstream.model, max_tokens=100, messages=user("[[error 401 message=secret]] Hi")
        )
    assert caught.value.status_code == 503
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("fault", ["error-after", "cut-after"])
def test_stream_fails(anthropic, upstream, fault):
    heard = []
    with (
        anthropic.messages.stream(
            model=upstream.model, max_tokens=100, messages=user(f"[[tokens 40]] [[{fault} 12]]")
        ) as stream,
        pytest.raises(sdk.APIStatusError) as caught,
    ):
        heard.extend(stream.text_stream)
    assert "The quick" in "".join(heard) or "The quick" in text(stream.current_message_snapshot)
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["message"]


def test_unknown_model(anthropic):
    with pytest.raises(sdk.NotFoundError, match="Model 'nobody' is not available") as caught:
        anthropic.messages.create(model="nobody", max_tokens=100, messages=user("Hi"))
    error = caught.value.body["error"]
    assert (error["type"], error["param"], error["code"]) == ("not_found_error", "model", "model_not_found")
    assert caught.value.body["request_id"] == caught.value.response.headers["x-request-id"]


def test_bad_key(gateway):
    with (
        Anthropic(base_url=gateway.url, api_key="nex-sk-wrong", max_retries=0) as client,
        pytest.raises(sdk.AuthenticationError) as caught,
    ):
        client.messages.create(model="gpt-5", max_tokens=100, messages=user("Hi"))
    assert caught.value.body["error"]["type"] == "authentication_error"


def test_bearer(gateway, upstream):
    with Anthropic(base_url=gateway.url, auth_token=gateway.key, api_key=None, max_retries=0) as client:
        answer = client.messages.create(model=upstream.model, max_tokens=100, messages=user("Hello!"))
    assert text(answer) == "Echo: Hello!"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": "Hi"}, "messages"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"messages": [{"role": "stranger", "content": "Hi"}]}, "messages[0].role"),
        ({"tools": [{"input_schema": {"type": "object"}}]}, "tools[0].name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid(anthropic, changes, param):
    with pytest.raises(sdk.BadRequestError) as caught:
        anthropic.messages.create(**{"model": "gpt-5", "max_tokens": 100, "messages": user("Hi")} | changes)
    error = caught.value.body["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"]


async def test_async(gateway, upstream):
    options = {"model": upstream.model, "max_tokens": 100, "messages": user("Hello!")}
    async with AsyncAnthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client:
        answer = await client.messages.create(**options)
        async with client.messages.stream(**options) as stream:
            final = await stream.get_final_message()
    assert text(answer) == text(final) == "Echo: Hello!"
