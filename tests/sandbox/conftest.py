"""A running sandbox, and one neutral way to ask it in each of the four formats."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx
import orjson
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from nexeon.sandbox import SandboxServer

_RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_MESSAGE_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    async with SandboxServer() as url:
        yield url


@pytest.fixture
async def http(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=base_url, timeout=10) as client:
        yield client


@dataclass
class Answer:
    """An answer's facts, read from a body or folded from a stream."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    finish: str | None = None
    refusal: str = ""
    seal: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    error: Any = None
    events: list[tuple[str | None, Any]] = field(default_factory=list)
    id: str = ""


class Chat:
    finishes: ClassVar = {
        "stop": "stop",
        "length": "length",
        "calls": "tool_calls",
        "refusal": "stop",
        "sequence": "stop",
    }

    def request(self, text: Any, stream: bool, **options: Any) -> tuple[str, dict[str, Any]]:
        content = text
        if options.get("image"):
            url = {"url": "data:image/png;base64,AAAA"}
            content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": url}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        for name, arguments, result in options.get("turns", ()):
            call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
            messages.append({"role": "assistant", "tool_calls": [call]})
            messages.append({"role": "tool", "tool_call_id": "call_1", "content": result})
        if "more" in options:
            messages.append({"role": "user", "content": options["more"]})
        body: dict[str, Any] = {"model": "m", "messages": messages, "stream": stream}
        if stream:
            body["stream_options"] = {"include_usage": True}
        if "tools" in options:
            body["tools"] = [
                {"type": "function", "function": {"name": n, "parameters": s}} for n, s in options["tools"].items()
            ]
        if "choice" in options:
            named = {"type": "function", "function": {"name": options["choice"]}}
            body["tool_choice"] = {"any": "required", "none": "none"}.get(options["choice"], named)
        if options.get("serial"):
            body["parallel_tool_calls"] = False
        if options.get("reasoning"):
            body["reasoning_effort"] = "low"
        if "limit" in options:
            body["max_completion_tokens"] = options["limit"]
        if "stop" in options:
            body["stop"] = options["stop"]
        if "schema" in options:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": options["schema"]}}
        return "/openai/chat/completions", body

    def whole(self, body: Any) -> Answer:
        ChatCompletion.model_validate(body)
        choice = body["choices"][0]
        message = choice["message"]
        return Answer(
            text=message["content"] or "",
            reasoning=message.get("reasoning_content", ""),
            calls=[(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls", ())],
            finish=choice["finish_reason"],
            refusal=message["refusal"] or "",
            usage=self.usage(body["usage"]),
            id=body["id"],
        )

    def usage(self, usage: Any) -> dict[str, int]:
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        return {
            "input": usage["prompt_tokens"],
            "output": usage["completion_tokens"],
            "reasoning": usage["completion_tokens_details"]["reasoning_tokens"],
            "cached": usage["prompt_tokens_details"]["cached_tokens"],
        }

    def fold(self, events: list[tuple[str | None, Any]]) -> Answer:
        out = Answer(events=events)
        calls: dict[int, list[str]] = {}
        if "error" in events[-1][1]:
            out.error = events.pop()[1]
        else:
            assert events.pop()[1] == "[DONE]"
            usage = events[-1][1]
            assert usage["choices"] == []
            out.usage = self.usage(usage["usage"])
        for n, (name, payload) in enumerate(events):
            ChatCompletionChunk.model_validate(payload)
            assert name is None
            if not payload["choices"]:
                assert n == len(events) - 1
                continue
            assert payload["usage"] is None
            choice = payload["choices"][0]
            delta = choice["delta"]
            assert ("role" in delta) == (n == 0)
            assert out.finish is None
            out.finish = choice["finish_reason"]
            out.text += delta.get("content") or ""
            out.refusal += delta.get("refusal") or ""
            out.reasoning += delta.get("reasoning_content") or ""
            out.id = payload["id"]
            for call in delta.get("tool_calls", ()):
                if "id" in call:
                    assert call["index"] == len(calls)
                    assert call["type"] == "function"
                    calls[call["index"]] = [call["id"], call["function"]["name"], ""]
                calls[call["index"]][2] += call["function"]["arguments"]
        out.calls = [(i, name, arguments) for i, name, arguments in calls.values()]
        assert len({payload["id"] for _, payload in events}) == 1
        return out


class Responses:
    finishes: ClassVar = {
        "stop": "completed",
        "length": "incomplete",
        "calls": "completed",
        "refusal": "completed",
        "sequence": None,
    }

    def request(self, text: Any, stream: bool, **options: Any) -> tuple[str, dict[str, Any]]:
        content = text
        if options.get("image"):
            image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
            content = [{"type": "input_text", "text": text}, image]
        items: list[dict[str, Any]] = [{"role": "user", "content": content}]
        for name, arguments, result in options.get("turns", ()):
            items.append({"type": "function_call", "call_id": "call_1", "name": name, "arguments": arguments})
            items.append({"type": "function_call_output", "call_id": "call_1", "output": result})
        if "more" in options:
            items.append({"role": "user", "content": options["more"]})
        body: dict[str, Any] = {"model": "m", "input": items, "stream": stream}
        if "tools" in options:
            body["tools"] = [
                {"type": "function", "name": n, "parameters": s, "strict": True} for n, s in options["tools"].items()
            ]
        if "choice" in options:
            named = {"type": "function", "name": options["choice"]}
            body["tool_choice"] = {"any": "required", "none": "none"}.get(options["choice"], named)
        if options.get("serial"):
            body["parallel_tool_calls"] = False
        if options.get("reasoning"):
            body["reasoning"] = {"effort": "low", "summary": "auto"}
            body["include"] = ["reasoning.encrypted_content"]
        if "limit" in options:
            body["max_output_tokens"] = options["limit"]
        if "schema" in options:
            body["text"] = {"format": {"type": "json_schema", "name": "x", "schema": options["schema"]}}
        return "/openai/responses", body

    def whole(self, body: Any) -> Answer:
        Response.model_validate(body)
        out = Answer(finish=body["status"], id=body["id"])
        for item in body["output"]:
            if item["type"] == "reasoning":
                out.reasoning = item["summary"][0]["text"]
                out.seal = item.get("encrypted_content", "")
            elif item["type"] == "message":
                assert item["status"] == body["status"]
                part = item["content"][0]
                out.text, out.refusal = part.get("text", ""), part.get("refusal", "")
            else:
                out.calls.append((item["call_id"], item["name"], item["arguments"]))
        if body["status"] == "incomplete":
            assert body["incomplete_details"] == {"reason": "max_output_tokens"}
        usage = body["usage"]
        if usage is not None:
            assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
            out.usage = {
                "input": usage["input_tokens"],
                "output": usage["output_tokens"],
                "reasoning": usage["output_tokens_details"]["reasoning_tokens"],
                "cached": usage["input_tokens_details"]["cached_tokens"],
            }
        return out

    def fold(self, events: list[tuple[str | None, Any]]) -> Answer:
        names = [name for name, _ in events]
        assert names[:2] == ["response.created", "response.in_progress"]
        items: dict[int, Any] = {}
        parts: dict[tuple[Any, ...], str] = {}
        open_parts: set[tuple[Any, ...]] = set()
        for n, (name, payload) in enumerate(events):
            _RESPONSE_EVENT.validate_python(payload)
            assert payload["type"] == name
            assert payload["sequence_number"] == n
            place = tuple(payload.get(k) for k in ("item_id", "output_index", "content_index", "summary_index"))
            if name == "response.output_item.added":
                assert payload["output_index"] == len(items)
                items[payload["output_index"]] = payload["item"] | {"open": True}
            elif name == "response.output_item.done":
                assert items[payload["output_index"]].pop("open")
                assert items[payload["output_index"]]["id"] == payload["item"]["id"]
                items[payload["output_index"]] = payload["item"]
            elif name and name.endswith("part.added"):
                open_parts.add(place)
            elif name and name.endswith("part.done"):
                open_parts.remove(place)
                assert parts[place] in payload["part"].values()
            elif name and name.endswith(".delta"):
                assert items[payload["output_index"]]["open"]
                assert items[payload["output_index"]]["id"] == payload["item_id"]
                parts[place] = parts.get(place, "") + payload["delta"]
            elif name and name.endswith(".done"):
                texts = [payload.get(k) for k in ("text", "refusal", "arguments")]
                assert parts[place] in texts
        if names[-2] == "error":
            assert names[-1] == "response.failed"
            return Answer(error=events[-2][1], events=events)
        final = events[-1][1]["response"]
        assert names[-1] == f"response.{final['status']}"
        assert not open_parts
        assert final["output"] == list(items.values())
        out = self.whole(final)
        out.events = events
        return out


class Messages:
    finishes: ClassVar = {
        "stop": "end_turn",
        "length": "max_tokens",
        "calls": "tool_use",
        "refusal": "refusal",
        "sequence": "stop_sequence",
    }

    def request(self, text: Any, stream: bool, **options: Any) -> tuple[str, dict[str, Any]]:
        content = text
        if options.get("image"):
            source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
            content = [{"type": "image", "source": source}, {"type": "text", "text": text}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        for name, arguments, result in options.get("turns", ()):
            call = {"type": "tool_use", "id": "toolu_1", "name": name, "input": orjson.loads(arguments)}
            messages.append({"role": "assistant", "content": [call]})
            output = {"type": "tool_result", "tool_use_id": "toolu_1", "content": result}
            messages.append({"role": "user", "content": [output]})
        if "more" in options:
            messages[-1]["content"].append({"type": "text", "text": options["more"]})
        body = {"model": "m", "messages": messages, "stream": stream, "max_tokens": options.get("limit", 1000)}
        if "tools" in options:
            body["tools"] = [{"name": n, "input_schema": s} for n, s in options["tools"].items()]
        if "choice" in options:
            named = {"type": "tool", "name": options["choice"]}
            body["tool_choice"] = {"any": {"type": "any"}, "none": {"type": "none"}}.get(options["choice"], named)
        if options.get("serial"):
            body["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
        if options.get("reasoning"):
            body["thinking"] = {"type": "adaptive"}
        if "stop" in options:
            body["stop_sequences"] = [options["stop"]]
        if "schema" in options:
            body["output_config"] = {"format": {"type": "json_schema", "schema": options["schema"]}}
        return "/anthropic/messages", body

    def whole(self, body: Any) -> Answer:
        Message.model_validate(body)
        out = Answer(finish=body["stop_reason"], id=body["id"])
        for block in body["content"]:
            if block["type"] == "thinking":
                out.reasoning, out.seal = block["thinking"], block["signature"]
            elif block["type"] == "text":
                out.text = block["text"]
            else:
                out.calls.append((block["id"], block["name"], orjson.dumps(block["input"]).decode()))
        out.refusal = (body.get("stop_details") or {}).get("explanation", "")
        usage = body["usage"]
        out.usage = {
            "input": usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"],
            "output": usage["output_tokens"],
            "reasoning": usage.get("output_tokens_details", {}).get("thinking_tokens", 0),
            "cached": usage["cache_read_input_tokens"],
        }
        return out

    def fold(self, events: list[tuple[str | None, Any]]) -> Answer:
        names = [name for name, _ in events]
        assert names[0] == "message_start"
        assert "ping" in names
        message = events[0][1]["message"]
        blocks: list[Any] = []
        is_open = False
        error = None
        for name, payload in events:
            assert payload["type"] == name
            if name == "error":
                error = payload
                continue
            if name != "ping":
                _MESSAGE_EVENT.validate_python(payload)
            if name == "content_block_start":
                assert not is_open
                assert payload["index"] == len(blocks)
                blocks.append(payload["content_block"] | {"json": ""})
                is_open = True
            elif name == "content_block_delta":
                assert is_open
                assert payload["index"] == len(blocks) - 1
                delta = payload["delta"]
                if delta["type"] == "input_json_delta":
                    blocks[-1]["json"] += delta["partial_json"]
                else:
                    key = delta["type"].removesuffix("_delta")
                    blocks[-1][key] += delta[key]
            elif name == "content_block_stop":
                assert is_open
                is_open = False
            elif name == "message_delta":
                assert not is_open
                message |= payload["delta"]
                message["usage"] |= payload["usage"]
        if error:
            assert names[-1] == "error"
            return Answer(error=error, events=events)
        assert names[-2:] == ["message_delta", "message_stop"]
        for block in blocks:
            text = block.pop("json")
            if block["type"] == "tool_use":
                block["input"] = orjson.loads(text or "{}")
        message["content"] = blocks
        out = self.whole(message)
        out.events = events
        return out


class Gemini:
    finishes: ClassVar = {
        "stop": "STOP",
        "length": "MAX_TOKENS",
        "calls": "STOP",
        "refusal": "SAFETY",
        "sequence": "STOP",
    }

    def request(self, text: Any, stream: bool, **options: Any) -> tuple[str, dict[str, Any]]:
        parts: list[dict[str, Any]] = [{"text": text}]
        if options.get("image"):
            parts.append({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})
        contents: list[dict[str, Any]] = [{"role": "user", "parts": parts}]
        for name, arguments, result in options.get("turns", ()):
            call = {"functionCall": {"name": name, "args": orjson.loads(arguments)}}
            contents.append({"role": "model", "parts": [call]})
            output = {"functionResponse": {"name": name, "response": {"result": result}}}
            contents.append({"role": "user", "parts": [output]})
        if "more" in options:
            contents.append({"role": "user", "parts": [{"text": options["more"]}]})
        config: dict[str, Any] = {}
        body: dict[str, Any] = {"contents": contents, "generationConfig": config}
        if "tools" in options:
            declared = [{"name": n, "parametersJsonSchema": s} for n, s in options["tools"].items()]
            body["tools"] = [{"functionDeclarations": declared}]
        if "choice" in options:
            named = {"mode": "ANY", "allowedFunctionNames": [options["choice"]]}
            chosen = {"any": {"mode": "ANY"}, "none": {"mode": "NONE"}}.get(options["choice"], named)
            body["toolConfig"] = {"functionCallingConfig": chosen}
        if options.get("reasoning"):
            config["thinkingConfig"] = {"includeThoughts": True}
        if "limit" in options:
            config["maxOutputTokens"] = options["limit"]
        if "stop" in options:
            config["stopSequences"] = [options["stop"]]
        if "schema" in options:
            config |= {"responseMimeType": "application/json", "responseJsonSchema": options["schema"]}
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/gemini/models/m:{method}", body

    def whole(self, body: Any) -> Answer:
        GenerateContentResponse.model_validate(body)
        candidate = body["candidates"][0]
        out = Answer(finish=candidate.get("finishReason"), id=body["responseId"])
        out.refusal = candidate.get("finishMessage", "")
        for part in candidate["content"].get("parts", ()):
            out.seal = out.seal or part.get("thoughtSignature", "")
            if "functionCall" in part:
                call = part["functionCall"]
                out.calls.append(("", call["name"], orjson.dumps(call["args"]).decode()))
            elif part.get("thought"):
                out.reasoning += part["text"]
            else:
                out.text += part["text"]
        usage = body["usageMetadata"]
        candidates, thoughts = usage.get("candidatesTokenCount", 0), usage.get("thoughtsTokenCount", 0)
        assert usage["totalTokenCount"] == usage["promptTokenCount"] + candidates + thoughts
        out.usage = {
            "input": usage["promptTokenCount"],
            "output": candidates + thoughts,
            "reasoning": thoughts,
            "cached": usage.get("cachedContentTokenCount", 0),
        }
        return out

    def fold(self, events: list[tuple[str | None, Any]]) -> Answer:
        out = Answer(events=events)
        for n, (name, payload) in enumerate(events):
            assert name is None
            if "error" in payload:
                assert n == len(events) - 1
                out.error = payload
                break
            piece = self.whole(payload)
            assert (piece.finish is not None) == (n == len(events) - 1) or "error" in events[-1][1]
            out.text += piece.text
            out.reasoning += piece.reasoning
            out.calls += piece.calls
            out.seal = out.seal or piece.seal
            out.finish, out.usage, out.refusal, out.id = piece.finish, piece.usage, piece.refusal, piece.id
        return out


class Asker:
    """Asks the sandbox in one format and mode."""

    def __init__(self, http: httpx.AsyncClient, name: str, stream: bool) -> None:
        self.http = http
        self.name = name
        self.stream = stream
        self.format: Any = {"chat": Chat, "responses": Responses, "messages": Messages, "gemini": Gemini}[name]()
        self.finishes: dict[str, str | None] = self.format.finishes

    async def post(self, text: Any, **options: Any) -> httpx.Response:
        path, body = self.format.request(text, self.stream, **options)
        return await self.http.post(path, content=orjson.dumps(body))

    async def ask(self, text: Any, **options: Any) -> Answer:
        response = await self.post(text, **options)
        assert response.status_code == 200, response.text
        if not self.stream:
            assert response.headers["content-type"].startswith("application/json")
            return self.format.whole(response.json())
        assert response.headers["content-type"].startswith("text/event-stream")
        return self.format.fold(self.events(response.content))

    def events(self, raw: bytes) -> list[tuple[str | None, Any]]:
        end = b"\r\n\r\n" if self.name == "gemini" else b"\n\n"
        assert raw.endswith(end)
        assert (b"\r" in raw) == (self.name == "gemini")
        events: list[tuple[str | None, Any]] = []
        for block in raw.split(end)[:-1]:
            name, lines = None, block.split(b"\n")
            if lines[0].startswith(b"event: "):
                name = lines.pop(0)[7:].decode()
            assert len(lines) == 1
            assert lines[0].startswith(b"data: ")
            data = lines[0][6:]
            events.append((name, "[DONE]" if data == b"[DONE]" else orjson.loads(data)))
        return events


@pytest.fixture(params=["chat", "responses", "messages", "gemini"])
def format_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["json", "sse"])
def asker(request: pytest.FixtureRequest, http: httpx.AsyncClient, format_name: str) -> Asker:
    return Asker(http, format_name, request.param)


@pytest.fixture
def streamer(http: httpx.AsyncClient, format_name: str) -> Asker:
    return Asker(http, format_name, True)


@pytest.fixture
def plain_asker(http: httpx.AsyncClient, format_name: str) -> Asker:
    return Asker(http, format_name, False)
