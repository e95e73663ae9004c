"""Gemini generateContent and streamGenerateContent, whose requests may be in camelCase or snake_case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from nexeon.sandbox.content import ANY_OBJECT, Ask, Plan, text_tokens
from nexeon.sandbox.wire import invalid, size

_FINISH = {"stop": "STOP", "stop_sequence": "STOP", "length": "MAX_TOKENS", "calls": "STOP", "refusal": "SAFETY"}
_ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_IMAGE_TOKENS = 258
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_CAPITAL = re.compile("[A-Z]")


class Gemini:
    """See `nexeon.sandbox.wire.Wire`."""

    def read(self, body: dict[str, Any], model: str, stream: bool, counting: bool) -> Ask:
        body = _get(body, "generateContentRequest") or body  # countTokens may wrap the request
        contents = body.get("contents")
        if not isinstance(contents, list) or not contents:
            raise invalid("GenerateContentRequest.contents: contents is not specified", "contents")
        ask = Ask(model=model, stream=stream, input_tokens=1)
        length = size(body.get("tools")) + len(_text(_get(body, "systemInstruction"))) + _Turns(ask).read(contents)
        ask.input_tokens += text_tokens(length)
        self._tools(ask, body)
        config = _get(body, "generationConfig") or {}
        if _get(config, "responseMimeType") == "application/json":
            schema = _get(config, "responseJsonSchema")
            if schema is None and _get(config, "responseSchema") is not None:
                schema = json_schema(_get(config, "responseSchema"))
            ask.schema = ANY_OBJECT if schema is None else schema
        ask.reasoning = bool(_get(_get(config, "thinkingConfig") or {}, "includeThoughts"))
        limit = _get(config, "maxOutputTokens")
        ask.limit = int(limit) if isinstance(limit, int | str) and str(limit).isdigit() else None
        ask.stops = tuple(_get(config, "stopSequences") or ())
        return ask

    def _tools(self, ask: Ask, body: dict[str, Any]) -> None:
        for tool in body.get("tools") or ():
            for function in _get(tool, "functionDeclarations") or ():
                schema = _get(function, "parametersJsonSchema")
                if schema is None and function.get("parameters") is not None:
                    schema = json_schema(function["parameters"])
                ask.tools[function.get("name")] = schema
        config = _get(_get(body, "toolConfig") or {}, "functionCallingConfig") or {}
        mode = str(config.get("mode", "AUTO")).upper()
        names = _get(config, "allowedFunctionNames")
        if mode == "NONE":
            ask.tools = {}
        elif mode in ("ANY", "VALIDATED") and names:
            missing = [name for name in names if name not in ask.tools]
            if missing:
                raise invalid(f"allowed_function_names: {missing[0]} is not declared", "toolConfig")
            ask.tools = {name: ask.tools[name] for name in names}
        ask.must_call = mode == "ANY"
        if ask.must_call and not ask.tools:
            raise invalid("Function calling mode ANY needs at least one function declaration", "toolConfig")

    def reply(self, ask: Ask, plan: Plan) -> bytes:
        parts: list[dict[str, Any]] = []
        if plan.reasoning:
            parts.append({"text": "".join(plan.reasoning), "thought": True})
        if plan.text and plan.finish != "refusal":
            parts.append(_sealed(plan, {"text": "".join(plan.text)}, first=True))
        parts.extend(_calls(plan))
        return orjson.dumps(_body(ask, plan, parts, plan.output_tokens - plan.reasoning_tokens, last=True))

    def events(self, ask: Ask, plan: Plan) -> Iterator[bytes]:
        bodies = self._bodies(ask, plan)
        if not ask.array:
            for body in bodies:
                yield b"data: " + orjson.dumps(body) + b"\r\n\r\n"
            return
        opening = b"["
        for body in bodies:
            yield opening + orjson.dumps(body)
            opening = b",\r\n"
        yield b"]"

    def _bodies(self, ask: Ask, plan: Plan) -> Iterator[dict[str, Any]]:
        for piece in plan.reasoning:
            yield _body(ask, plan, [{"text": piece, "thought": True}], 0)
        texts = plan.text if plan.finish != "refusal" else []
        for n, piece in enumerate(texts):
            part = _sealed(plan, {"text": piece}, first=n == 0)
            yield _body(ask, plan, [part], n + 1, last=n == len(texts) - 1)
        if plan.calls:
            yield _body(ask, plan, _calls(plan), plan.output_tokens - plan.reasoning_tokens, last=True)
        elif not texts:
            yield _body(ask, plan, [], plan.output_tokens - plan.reasoning_tokens, last=True)

    def error(self, status: int, message: str, param: str | None = None) -> bytes:
        name = _ERRORS.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")
        return orjson.dumps({"error": {"code": status, "message": message, "status": name}})

    def error_events(self, ask: Ask, plan: Plan, sent: int, message: str) -> Iterable[bytes]:
        error = self.error(503, message)
        if ask.array:
            return [(b",\r\n" if sent else b"[") + error + b"]"]
        return [b"data: " + error + b"\r\n\r\n"]

    def count(self, ask: Ask) -> bytes:
        details = [{"modality": "TEXT", "tokenCount": ask.input_tokens}]
        return orjson.dumps({"totalTokens": ask.input_tokens, "promptTokensDetails": details})

    def content_type(self, streamed: bool) -> str:
        return "text/event-stream" if streamed else "application/json; charset=UTF-8"


class _Turns:
    """Reads contents into an `Ask`, part by part."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask

    def read(self, contents: list[Any]) -> int:
        """Gives the length of all text."""
        ask = self.ask
        length = 0
        for n, content in enumerate(contents):
            if not isinstance(content, dict) or not isinstance(content.get("parts", []), list):
                raise invalid(f"contents[{n}]: must be an object with parts", f"contents[{n}]")
            texts: list[str] = []
            images, result = 0, False
            for part in content.get("parts", []):
                response = _get(part, "functionResponse")
                if response is not None:
                    ask.result, result, images = orjson.dumps(response.get("response")).decode(), True, 0
                    length += len(ask.result)
                    texts.clear()
                elif isinstance(part.get("text"), str):
                    texts.append(part["text"])
                    length += len(part["text"])
                elif _get(part, "inlineData") or _get(part, "fileData"):
                    images += 1
                    ask.input_tokens += _IMAGE_TOKENS
                else:
                    length += size(_get(part, "functionCall"))
            text = "\n".join(texts)
            if content.get("role") == "model":
                ask.last, ask.images = "model", 0
            elif result and not text:
                ask.last, ask.images = "tool", 0
            elif text or ask.last != "tool":
                ask.last, ask.text, ask.images = "user", text, images
        return length


def json_schema(schema: Any) -> Any:
    """The JSON schema that a schema of Gemini's own kind means: upper-case types, counts as text, `nullable`."""
    if isinstance(schema, list):
        return [json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for name, value in schema.items():
        key = _camel(name)
        if key == "properties" and isinstance(value, dict):
            out[key] = {k: json_schema(v) for k, v in value.items()}
        elif key == "type" and isinstance(value, str):
            if value != "TYPE_UNSPECIFIED":
                out[key] = value.lower()
        elif key in _COUNTS:
            out[key] = int(value)
        elif key in ("items", "anyOf", "additionalProperties"):
            out[key] = json_schema(value)
        elif key not in ("nullable", "propertyOrdering", "example", "title", "description", "default"):
            out[key] = value
    if schema.get("nullable") and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    return out


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest) if rest and head else name


def _get(holder: Any, key: str) -> Any:
    """The value at a camelCase key, or at the same key in snake_case."""
    if not isinstance(holder, dict):
        return None
    value = holder.get(key)
    return value if value is not None else holder.get(_CAPITAL.sub(lambda m: "_" + m[0].lower(), key))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content.get("parts") if isinstance(content, dict) else ()
    return "\n".join(p["text"] for p in parts or () if isinstance(p.get("text"), str))


def _sealed(plan: Plan, part: dict[str, Any], *, first: bool) -> dict[str, Any]:
    return part | {"thoughtSignature": plan.seal} if first and plan.seal else part


def _calls(plan: Plan) -> list[dict[str, Any]]:
    """The calls' parts, without ids, as the provider makes them; the first holds the seal."""
    parts = []
    for n, call in enumerate(plan.calls):
        function = {"name": call.name, "args": orjson.Fragment(call.arguments)}
        parts.append(_sealed(plan, {"functionCall": function}, first=n == 0))
    return parts


def _body(ask: Ask, plan: Plan, parts: list[dict[str, Any]], put_out: int, *, last: bool = False) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if not parts:
        candidate["content"] = {"role": "model"}
    if last:
        candidate["finishReason"] = _FINISH[plan.finish]
    if last and plan.finish == "refusal":
        candidate["finishMessage"] = "".join(plan.text)
    usage: dict[str, Any] = {"promptTokenCount": plan.input_tokens}
    if put_out:
        usage["candidatesTokenCount"] = put_out
    usage["totalTokenCount"] = plan.input_tokens + put_out + plan.reasoning_tokens
    usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": plan.input_tokens}]
    if plan.cached_tokens:
        usage["cachedContentTokenCount"] = plan.cached_tokens
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": plan.cached_tokens}]
    if plan.reasoning_tokens:
        usage["thoughtsTokenCount"] = plan.reasoning_tokens
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": ask.model,
        "responseId": plan.id,
    }
