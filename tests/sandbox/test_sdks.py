"""The official SDKs as clients: quickstart, streaming, tool loop, structured output, reasoning."""

import json
from collections.abc import AsyncIterator
from typing import ClassVar

import httpx
import pytest
from anthropic import APIStatusError as AnthropicStatusError
from anthropic import AsyncAnthropic
from google import genai
from google.genai import errors, types
from openai import APIStatusError, AsyncOpenAI
from pydantic import BaseModel


class City(BaseModel):
    name: str
    population: int
    tags: list[str]


PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
ASK = "call the tool get_weather"


@pytest.fixture
async def openai(base_url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{base_url}/openai", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic(base_url: str) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=f"{base_url}/anthropic", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def gemini(base_url: str) -> AsyncIterator[genai.client.AsyncClient]:
    async with httpx.AsyncClient() as http:  # the SDK's own aiohttp session warns when it is made
        options = types.HttpOptions(base_url=f"{base_url}/gemini", api_version="v1beta", httpx_async_client=http)
        client = genai.Client(api_key="none", http_options=options)
        async with client.aio as aio:
            yield aio
        client.close()


class TestChat:
    tool: ClassVar = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS, "strict": True}}

    async def test_quickstart(self, openai):
        messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
        answer = await openai.chat.completions.create(model="gpt-5", messages=messages)
        assert answer.choices[0].message.content == "Echo: Hello!"
        assert answer.model == "gpt-5"

    async def test_streaming(self, openai):
        stream = await openai.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hello!"}], stream=True
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Echo: Hello!"
        assert all(chunk.usage is None for chunk in chunks)

    async def test_tool_loop(self, openai):
        messages = [{"role": "user", "content": ASK}]
        async with openai.chat.completions.stream(model="m", messages=messages, tools=[self.tool]) as stream:
            answer = await stream.get_final_completion()
        message = answer.choices[0].message
        assert message.tool_calls[0].function.parsed_arguments == {"city": "example", "days": 1}
        messages += [
            message.model_dump(include={"role", "content", "tool_calls"}),
            {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"},
        ]
        answer = await openai.chat.completions.create(model="m", messages=messages, tools=[self.tool])
        assert answer.choices[0].message.content == "Tool said: sunny"

    async def test_structured_output(self, openai):
        answer = await openai.chat.completions.parse(
            model="m", messages=[{"role": "user", "content": "Which?"}], response_format=City
        )
        assert isinstance(answer.choices[0].message.parsed, City)
        messages = [{"role": "user", "content": "JSON, please"}]
        answer = await openai.chat.completions.create(
            model="m", messages=messages, response_format={"type": "json_object"}
        )
        assert answer.choices[0].message.content == '{"echo":"JSON, please"}'

    async def test_output_schema_in_words(self, openai):
        words = {"role": "system", "content": f"Fit this JSON Schema:\n{json.dumps(City.model_json_schema())}\nAlways."}
        for more in ({}, {"response_format": {"type": "json_object"}}):
            answer = await openai.chat.completions.create(
                model="m", messages=[words, {"role": "user", "content": "Which?"}], **more
            )
            assert City.model_validate_json(answer.choices[0].message.content)

    @pytest.mark.parametrize(("effort", "reasons"), [("high", True), ("minimal", True), ("none", False)])
    async def test_reasoning(self, openai, effort, reasons):
        answer = await openai.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hello"}], reasoning_effort=effort
        )
        assert hasattr(answer.choices[0].message, "reasoning_content") == reasons
        assert (answer.usage.completion_tokens_details.reasoning_tokens > 0) == reasons

    async def test_flavours(self, base_url):
        facts = {}
        for provider in ("openai", "deepseek", "xai", "openrouter"):
            async with AsyncOpenAI(base_url=f"{base_url}/{provider}", api_key="none", max_retries=0) as client:
                answer = await client.chat.completions.create(
                    model="m",
                    messages=[{"role": "user", "content": "Hello"}],
                    extra_body={"reasoning": {"effort": "low"}},
                )
                facts[provider] = (answer.usage, answer.choices[0].message)
        assert facts["deepseek"][0].prompt_cache_miss_tokens == facts["openai"][0].prompt_tokens
        usage = facts["xai"][0]
        reasoning = usage.completion_tokens_details.reasoning_tokens
        assert usage.completion_tokens + reasoning == facts["openai"][0].completion_tokens
        assert usage.total_tokens == facts["openai"][0].total_tokens
        assert facts["openrouter"][1].reasoning == facts["openai"][1].reasoning_content
        assert facts["openrouter"][1].reasoning_details[0]["signature"]

    @pytest.mark.parametrize("provider", ["deepseek", "openrouter"])
    async def test_flavours_of_streams(self, base_url, provider):
        options = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        async with AsyncOpenAI(base_url=f"{base_url}/{provider}", api_key="none", max_retries=0) as client:
            stream = await client.chat.completions.create(stream_options={"include_usage": True}, **options)
            chunks = [chunk async for chunk in stream]
            plain = [chunk async for chunk in await client.chat.completions.create(**options)]
        assert len([chunk for chunk in chunks if chunk.usage]) == 1
        assert bool(chunks[-1].choices) == (provider == "deepseek")
        assert all(chunk.usage is None for chunk in plain)

    async def test_errors(self, openai):
        messages = [{"role": "user", "content": "[[error 429 retry-after=1]]"}]
        with pytest.raises(APIStatusError) as caught:
            await openai.chat.completions.create(model="m", messages=messages)
        assert (caught.value.status_code, caught.value.code) == (429, "rate_limit_exceeded")


class TestResponses:
    tool: ClassVar = {"type": "function", "name": "get_weather", "parameters": PARAMETERS, "strict": True}

    async def test_quickstart(self, openai):
        answer = await openai.responses.create(model="gpt-5", instructions="Be brief.", input="Hello!")
        assert answer.output_text == "Echo: Hello!"
        assert answer.instructions == "Be brief."
        assert answer.usage.output_tokens > 0

    async def test_streaming(self, openai):
        async with openai.responses.stream(model="m", input="Hello!") as stream:
            deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            final = await stream.get_final_response()
        assert "".join(deltas) == final.output_text == "Echo: Hello!"

    async def test_tool_loop(self, openai):
        turns = [{"role": "user", "content": ASK}]
        async with openai.responses.stream(model="m", input=turns, tools=[self.tool]) as stream:
            answer = await stream.get_final_response()
        call = answer.output[0]
        assert call.parsed_arguments == {"city": "example", "days": 1}
        plain = await openai.responses.create(model="m", input=turns, tools=[self.tool])
        turns += [
            plain.output[0].to_dict(),
            {"type": "function_call_output", "call_id": plain.output[0].call_id, "output": "sunny"},
        ]
        answer = await openai.responses.create(model="m", input=turns, tools=[self.tool])
        assert answer.output_text == "Tool said: sunny"

    async def test_structured_output(self, openai):
        answer = await openai.responses.parse(model="m", input="Which?", text_format=City)
        assert isinstance(answer.output_parsed, City)

    async def test_reasoning(self, openai):
        answer = await openai.responses.create(model="m", input="Hello", reasoning={"effort": "high"})
        assert answer.output[0].summary[0].text
        assert answer.output[0].encrypted_content is None
        assert answer.usage.output_tokens_details.reasoning_tokens > 0
        sealed = await openai.responses.create(
            model="m", input="Hello", reasoning={"summary": "auto"}, include=["reasoning.encrypted_content"]
        )
        assert sealed.output[0].encrypted_content
        items = [item.to_dict() for item in sealed.output]
        again = await openai.responses.create(model="m", input=[*items, {"role": "user", "content": "And on"}])
        assert again.output_text == "Echo: And on"
        quiet = await openai.responses.create(model="m", input="Hello", reasoning={"effort": "none"})
        assert quiet.output[0].type == "message"

    async def test_errors(self, openai):
        with pytest.raises(APIStatusError) as caught:
            await openai.responses.create(model="m", input="[[error 503]]")
        assert caught.value.status_code == 503


class TestMessages:
    tool: ClassVar = {"name": "get_weather", "input_schema": PARAMETERS}

    async def test_quickstart(self, anthropic):
        answer = await anthropic.messages.create(
            model="m", max_tokens=100, system="Be brief.", messages=[{"role": "user", "content": "Hello!"}]
        )
        assert answer.content[0].text == "Echo: Hello!"
        assert answer.stop_reason == "end_turn"

    async def test_streaming(self, anthropic):
        messages = [{"role": "user", "content": "Hello!"}]
        async with anthropic.messages.stream(model="m", max_tokens=100, messages=messages) as stream:
            assert "".join([text async for text in stream.text_stream]) == "Echo: Hello!"
            assert (await stream.get_final_message()).usage.output_tokens == 4

    async def test_tool_loop(self, anthropic):
        messages = [{"role": "user", "content": ASK}]
        options = {"model": "m", "max_tokens": 100, "tools": [self.tool], "thinking": {"type": "adaptive"}}
        async with anthropic.messages.stream(messages=messages, **options) as stream:
            answer = await stream.get_final_message()
        thinking, call = answer.content
        assert thinking.signature
        assert call.input == {"city": "example", "days": 1}
        result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sunny"}]}
        messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
        answer = await anthropic.messages.create(messages=messages, **options)
        assert answer.content[1].text == "Tool said: sunny"

    async def test_structured_output(self, anthropic):
        answer = await anthropic.messages.parse(
            model="m", max_tokens=200, messages=[{"role": "user", "content": "Which?"}], output_format=City
        )
        assert isinstance(answer.parsed_output, City)

    async def test_reasoning(self, anthropic):
        options = {"model": "m", "max_tokens": 2000, "messages": [{"role": "user", "content": "Hello"}]}
        thinking = {"type": "enabled", "budget_tokens": 1024}
        answer = await anthropic.messages.create(thinking=thinking, **options)
        assert answer.content[0].thinking
        assert answer.usage.output_tokens_details.thinking_tokens > 0
        hidden = await anthropic.messages.create(thinking=thinking | {"display": "omitted"}, **options)
        assert (hidden.content[0].thinking, hidden.content[0].signature) == ("", answer.content[0].signature)
        quiet = await anthropic.messages.create(thinking={"type": "disabled"}, **options)
        assert quiet.content[0].type == "text"

    async def test_counting(self, anthropic):
        messages = [{"role": "user", "content": "Hello"}]
        counted = await anthropic.messages.count_tokens(model="m", messages=messages)
        answer = await anthropic.messages.create(model="m", max_tokens=9, messages=messages)
        assert counted.input_tokens == answer.usage.input_tokens

    async def test_errors(self, anthropic):
        messages = [{"role": "user", "content": "[[error 529]]"}]
        with pytest.raises(AnthropicStatusError) as caught:
            await anthropic.messages.create(model="m", max_tokens=9, messages=messages)
        assert caught.value.status_code == 529
        messages = [{"role": "user", "content": "[[error-after 4]] Hello"}]
        with pytest.raises(AnthropicStatusError, match="fail"):
            async with anthropic.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
                await stream.until_done()


class TestGemini:
    tool = types.Tool(
        function_declarations=[types.FunctionDeclaration(name="get_weather", parameters_json_schema=PARAMETERS)]
    )

    async def test_quickstart(self, gemini):
        config = types.GenerateContentConfig(system_instruction="Be brief.", max_output_tokens=100)
        answer = await gemini.models.generate_content(model="m", contents="Hello!", config=config)
        assert answer.text == "Echo: Hello!"
        assert answer.candidates[0].finish_reason == types.FinishReason.STOP

    async def test_streaming(self, gemini):
        stream = await gemini.models.generate_content_stream(model="m", contents="Hello!")
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.text for chunk in chunks) == "Echo: Hello!"
        assert chunks[-1].usage_metadata.candidates_token_count == 4

    async def test_tool_loop(self, gemini):
        off = types.AutomaticFunctionCallingConfig(disable=True)
        config = types.GenerateContentConfig(tools=[self.tool], automatic_function_calling=off)
        contents = [types.Content(role="user", parts=[types.Part(text=ASK)])]
        answer = await gemini.models.generate_content(model="m", contents=contents, config=config)
        call = answer.function_calls[0]
        assert call.args == {"city": "example", "days": 1}
        part = types.Part.from_function_response(name=call.name, response={"result": "sunny"})
        contents += [answer.candidates[0].content, types.Content(role="user", parts=[part])]
        answer = await gemini.models.generate_content(model="m", contents=contents, config=config)
        assert answer.text.startswith("Tool said:")

    async def test_a_python_function_as_a_tool(self, gemini):
        heard = []

        def get_weather(city: str, days: int) -> str:
            """The weather."""
            heard.append((city, days))
            return "sunny"

        config = types.GenerateContentConfig(tools=[get_weather])
        answer = await gemini.models.generate_content(model="m", contents=ASK, config=config)
        assert heard == [("example", 1)]
        assert answer.text.startswith("Tool said:")

    @pytest.mark.parametrize("key", ["response_schema", "response_json_schema"])
    async def test_structured_output(self, gemini, key):
        schema = City if key == "response_schema" else City.model_json_schema()
        config = types.GenerateContentConfig(response_mime_type="application/json", **{key: schema})
        answer = await gemini.models.generate_content(model="m", contents="Which?", config=config)
        assert City.model_validate_json(answer.text)

    async def test_reasoning(self, gemini):
        config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
        answer = await gemini.models.generate_content(model="m", contents="Hello", config=config)
        thought, text = answer.candidates[0].content.parts
        assert thought.thought
        assert text.thought_signature
        assert answer.usage_metadata.thoughts_token_count > 0

    async def test_counting(self, gemini):
        counted = await gemini.models.count_tokens(model="m", contents="Hello")
        answer = await gemini.models.generate_content(model="m", contents="Hello")
        assert counted.total_tokens == answer.usage_metadata.prompt_token_count

    async def test_errors(self, gemini):
        with pytest.raises(errors.APIError) as caught:
            await gemini.models.generate_content(model="m", contents="[[error 404]]")
        assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
