"""The Google Gen AI SDK, against every upstream."""

from __future__ import annotations

import base64

import httpx
import pytest
from google import genai
from google.genai import errors, types

from tests.sdk.flowing import MINUTES, begins

ASK = "Please call the tool get_weather"
BOTH = "Please call the tools get_weather and get_time"
ARGUMENTS = {"city": "example", "days": 1}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
)
BY_HAND = types.AutomaticFunctionCallingConfig(disable=True)
THINKING = types.ThinkingConfig(include_thoughts=True, thinking_budget=2048)


@pytest.fixture(scope="session")
def tool(parameters):
    return types.Tool(
        function_declarations=[
            types.FunctionDeclaration(name=name, description="Tells.", parameters_json_schema=parameters)
            for name in ("get_weather", "get_time")
        ]
    )


def said(text):
    return types.Content(role="user", parts=[types.Part(text=text)])


def thoughts(answer):
    return "".join(part.text for part in answer.candidates[0].content.parts or () if part.thought and part.text)


def results(answer, text):
    """The assistant's turn as it came, and the results of its calls."""
    parts = []
    for call in answer.function_calls:
        part = types.Part.from_function_response(name=call.name, response={"result": text})
        part.function_response.id = call.id
        parts.append(part)
    return [answer.candidates[0].content, types.Content(role="user", parts=parts)]


def counted(usage):
    assert usage.prompt_token_count > 0
    assert usage.candidates_token_count > 0
    thinking = usage.thoughts_token_count or 0
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count + thinking


def test_quickstart(google, upstream):
    config = types.GenerateContentConfig(system_instruction="Be brief.", max_output_tokens=100)
    contents = [said("Hi"), types.Content(role="model", parts=[types.Part(text="Hello there")]), said("Hello!")]
    answer = google.models.generate_content(model=upstream.model, contents=contents, config=config)
    assert answer.text == "Echo: Hello!"
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.response_id
    assert answer.sdk_http_response.headers["x-nexeon-provider"] == upstream.provider
    counted(answer.usage_metadata)


def test_streaming(google, upstream):
    chunks = list(google.models.generate_content_stream(model=upstream.model, contents="Hello!"))
    assert "".join(chunk.text or "" for chunk in chunks) == "Echo: Hello!"
    assert len({chunk.response_id for chunk in chunks}) == 1
    reasons = [c.candidates[0].finish_reason for c in chunks if c.candidates and c.candidates[0].finish_reason]
    assert reasons == [types.FinishReason.STOP]
    counted(chunks[-1].usage_metadata)


def test_stream_flows(google, upstream):
    """The first words reach the client while the provider is still speaking."""
    stream = google.models.generate_content_stream(model=upstream.model, contents=MINUTES)
    begins(chunk for chunk in stream if chunk.text)
    stream.close()


def test_chat(google, upstream):
    chat = google.chats.create(model=upstream.model)
    assert chat.send_message("Hello!").text == "Echo: Hello!"
    assert "".join(chunk.text or "" for chunk in chat.send_message_stream("And on")) == "Echo: And on"
    assert chat.send_message("Once more").text == "Echo: Once more"


def test_tool_loop(google, upstream, tool):
    config = types.GenerateContentConfig(tools=[tool], automatic_function_calling=BY_HAND)
    contents = [said(ASK)]
    answer = google.models.generate_content(model=upstream.model, contents=contents, config=config)
    (call,) = answer.function_calls
    assert (call.name, call.args) == ("get_weather", ARGUMENTS)
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    contents += results(answer, "sunny")
    answer = google.models.generate_content(model=upstream.model, contents=contents, config=config)
    assert answer.text.startswith("Tool said:")
    assert not answer.function_calls


def test_tool_loop_streamed(google, upstream, tool):
    config = types.GenerateContentConfig(tools=[tool], automatic_function_calling=BY_HAND)
    contents = [said(ASK)]
    chunks = list(google.models.generate_content_stream(model=upstream.model, contents=contents, config=config))
    (answer,) = [chunk for chunk in chunks if chunk.function_calls]
    assert [(call.name, call.args) for call in answer.function_calls] == [("get_weather", ARGUMENTS)]
    contents += results(answer, "sunny")
    chunks = google.models.generate_content_stream(model=upstream.model, contents=contents, config=config)
    assert "".join(chunk.text or "" for chunk in chunks).startswith("Tool said:")


def test_a_python_function_as_a_tool(google, upstream):
    heard = []

    def get_weather(city: str, days: int) -> str:
        """The weather."""
        heard.append((city, days))
        return "sunny"

    config = types.GenerateContentConfig(tools=[get_weather])
    answer = google.models.generate_content(model=upstream.model, contents=ASK, config=config)
    assert heard == [("example", 1)]
    assert answer.text.startswith("Tool said:")


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_parallel_calls(google, upstream, tool, streamed):
    config = types.GenerateContentConfig(tools=[tool], automatic_function_calling=BY_HAND)
    contents = [said(BOTH)]
    options = {"model": upstream.model, "contents": contents, "config": config}
    if streamed:
        chunks = list(google.models.generate_content_stream(**options))
        parts = [part for c in chunks if c.candidates for part in c.candidates[0].content.parts or ()]
        turn = types.Content(role="model", parts=parts)
        answer = types.GenerateContentResponse(candidates=[types.Candidate(content=turn)])
    else:
        answer = google.models.generate_content(**options)
    assert [(call.name, call.args) for call in answer.function_calls] == [
        ("get_weather", ARGUMENTS),
        ("get_time", ARGUMENTS),
    ]
    contents += results(answer, "fine")
    assert google.models.generate_content(**options).text.startswith("Tool said:")


def test_tool_choice(google, upstream, tool):
    for names, name in ((None, "get_weather"), (["get_time"], "get_time")):
        calling = types.FunctionCallingConfig(mode="ANY", allowed_function_names=names)
        config = types.GenerateContentConfig(
            tools=[tool],
            automatic_function_calling=BY_HAND,
            tool_config=types.ToolConfig(function_calling_config=calling),
        )
        answer = google.models.generate_content(model=upstream.model, contents="Hi", config=config)
        assert [call.name for call in answer.function_calls] == [name]
    config.tool_config.function_calling_config = types.FunctionCallingConfig(mode="NONE")
    answer = google.models.generate_content(model=upstream.model, contents=ASK, config=config)
    assert not answer.function_calls


@pytest.mark.parametrize("key", ["response_schema", "response_json_schema"])
def test_structured_output(google, upstream, key):
    schema = upstream.form if key == "response_schema" else upstream.form.model_json_schema()
    config = types.GenerateContentConfig(response_mime_type="application/json", **{key: schema})
    answer = google.models.generate_content(model=upstream.model, contents="Which city?", config=config)
    assert upstream.form.model_validate_json(answer.text)
    if key == "response_schema":
        assert isinstance(answer.parsed, upstream.form)
    chunks = google.models.generate_content_stream(model=upstream.model, contents="Which city?", config=config)
    assert upstream.form.model_validate_json("".join(chunk.text or "" for chunk in chunks))


def test_reasoning(google, upstream, tool):
    config = types.GenerateContentConfig(tools=[tool], automatic_function_calling=BY_HAND, thinking_config=THINKING)
    contents = [said(ASK)]
    answer = google.models.generate_content(model=upstream.model, contents=contents, config=config)
    assert thoughts(answer)
    assert answer.usage_metadata.thoughts_token_count > 0
    contents += results(answer, "sunny")
    answer = google.models.generate_content(model=upstream.model, contents=contents, config=config)
    assert answer.text.startswith("Tool said:")
    assert thoughts(answer)


def test_reasoning_streamed(google, upstream, tool):
    config = types.GenerateContentConfig(tools=[tool], automatic_function_calling=BY_HAND, thinking_config=THINKING)
    options = {"model": upstream.model, "contents": [said(ASK)], "config": config}
    chunks = list(google.models.generate_content_stream(**options))
    reasoning = "".join(thoughts(chunk) for chunk in chunks if chunk.candidates)
    assert reasoning == thoughts(google.models.generate_content(**options))
    assert reasoning
    parts = [part for c in chunks if c.candidates for part in c.candidates[0].content.parts or ()]
    turn = types.Content(role="model", parts=parts)
    whole = types.GenerateContentResponse(candidates=[types.Candidate(content=turn)])
    options["contents"] += results(whole, "sunny")
    chunks = list(google.models.generate_content_stream(**options))
    assert "".join(chunk.text or "" for chunk in chunks).startswith("Tool said:")


def test_another_model_goes_on(google, upstream, models, tool):
    """A conversation with reasoning and a call goes on with a model of any other provider, and comes back."""
    config = types.GenerateContentConfig(tools=[tool], automatic_function_calling=BY_HAND, thinking_config=THINKING)
    contents = [said(ASK)]
    answer = google.models.generate_content(model=upstream.model, contents=contents, config=config)
    contents += results(answer, "sunny")
    for model in [*models, upstream.model]:
        answer = google.models.generate_content(model=model, contents=contents, config=config)
        assert answer.text.startswith("Tool said:"), model
        more = [*contents, answer.candidates[0].content, said("And on")]
        answer = google.models.generate_content(model=upstream.model, contents=more, config=config)
        assert answer.text == "Echo: And on", model


def test_image(google, upstream):
    contents = [types.Part.from_bytes(data=PIXEL, mime_type="image/png"), "Look"]
    options = {"model": upstream.model, "contents": contents}
    if upstream.provider == "deepseek":
        with pytest.raises(errors.ClientError, match="images"):
            google.models.generate_content(**options)
        return
    assert google.models.generate_content(**options).text == "Echo: Look +1 image"


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_limit(google, upstream, streamed):
    config = types.GenerateContentConfig(max_output_tokens=20)
    options = {"model": upstream.model, "contents": "[[tokens 60]]", "config": config}
    answer = (
        list(google.models.generate_content_stream(**options))[-1]
        if streamed
        else google.models.generate_content(**options)
    )
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert answer.usage_metadata.candidates_token_count == 20


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_refusal(google, upstream, streamed):
    options = {"model": upstream.model, "contents": "[[refuse]] Hello"}
    answer = (
        list(google.models.generate_content_stream(**options))[-1]
        if streamed
        else google.models.generate_content(**options)
    )
    assert answer.candidates[0].finish_reason == types.FinishReason.SAFETY


def test_cached_tokens(google, upstream):
    answer = google.models.generate_content(model=upstream.model, contents="[[cached 7]] " + "word " * 40)
    assert answer.usage_metadata.cached_content_token_count == 7
    assert answer.usage_metadata.prompt_token_count > 40
    counted(answer.usage_metadata)


def test_upstream_limits_the_rate(google, upstream):
    with pytest.raises(errors.ClientError) as caught:
        google.models.generate_content(model=upstream.model, contents="[[error 429 retry-after=1]] Hi")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert caught.value.message
    assert caught.value.response.headers["retry-after"] == "1"


def test_upstream_refuses_the_request(google, upstream):
    with pytest.raises(errors.ClientError, match="too-blue") as caught:
        google.models.generate_content(model=upstream.model, contents="[[error 400 message=too-blue]] Hi")
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")


def test_upstream_refuses_the_key(google, upstream):
    with pytest.raises(errors.ServerError, match="no active key") as caught:
        google.models.generate_content(model=upstream.model, contents="[[error 401 message=secret]] Hi")
    assert (caught.value.code, caught.value.status) == (503, "UNAVAILABLE")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("fault", ["error-after", "cut-after"])
def test_stream_fails(google, upstream, fault):
    stream = google.models.generate_content_stream(model=upstream.model, contents=f"[[tokens 40]] [[{fault} 12]]")
    heard = []
    with pytest.raises(errors.APIError) as caught:
        heard.extend(chunk.text or "" for chunk in stream)
    assert "The quick" in "".join(heard)
    assert caught.value.message


def test_unknown_model(google):
    with pytest.raises(errors.ClientError, match="Model 'nobody' is not available") as caught:
        google.models.generate_content(model="nobody", contents="Hi")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_bad_key(gateway):
    options = types.HttpOptions(base_url=gateway.url)
    with (
        genai.Client(api_key="nex-sk-wrong", http_options=options) as client,
        pytest.raises(errors.ClientError) as caught,
    ):
        client.models.generate_content(model="gpt-5", contents="Hi")
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


def test_invalid(google):
    config = types.GenerateContentConfig(http_options=types.HttpOptions(extra_body={"contents": "Hi"}))
    with pytest.raises(errors.ClientError) as caught:
        google.models.generate_content(model="gpt-5", contents="Hi", config=config)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert "contents" in caught.value.message


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_versions(gateway, upstream, version):
    options = types.HttpOptions(base_url=gateway.url, api_version=version)
    with genai.Client(api_key=gateway.key, http_options=options) as client:
        assert client.models.generate_content(model=upstream.model, contents="Hello!").text == "Echo: Hello!"


async def test_async(gateway, upstream):
    async with httpx.AsyncClient() as http:  # the SDK's own aiohttp session warns when it is made
        options = types.HttpOptions(base_url=gateway.url, httpx_async_client=http)
        client = genai.Client(api_key=gateway.key, http_options=options)
        async with client.aio as aio:
            answer = await aio.models.generate_content(model=upstream.model, contents="Hello!")
            stream = await aio.models.generate_content_stream(model=upstream.model, contents="Hello!")
            chunks = [chunk async for chunk in stream]
        client.close()
    assert answer.text == "".join(chunk.text or "" for chunk in chunks) == "Echo: Hello!"
