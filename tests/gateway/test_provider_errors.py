"""What each provider's errors become: the caller's own format, the right status and code, the provider's message, and
never a credential. The shapes are those of the providers' references, and of what stands between them and us."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from shipped import shipped
from upstream import Call, Upstream

OPENAI, RESPONSES = "openai:openai.chat", "openai:openai.responses"
MESSAGES, GEMINI = "anthropic:anthropic.messages", "gemini:gemini.generate_content"
DEEPSEEK, OPENROUTER = "deepseek:openai.chat", "openrouter:openai.chat"
XAI, XAI_RESPONSES = "xai:openai.chat", "xai:openai.responses"
JSON, HTML, TEXT, BYTES = "application/json", "text/html", "text/plain", "application/octet-stream"


@dataclass(frozen=True)
class Row:
    """A provider's answer, and what the caller gets: status, code (None: any) and what the message says."""

    model: str
    status: int
    body: Any
    told: int
    code: str | None = None
    says: str = ""
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    retry_after: str | None = None


def openai(message: str, code: str | None = None, type: str = "invalid_request_error", param: str | None = None) -> Any:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def claude(type: str, message: str) -> Any:
    return {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_1"}


def google(code: int, status: str, message: str, *details: Any) -> Any:
    return {"error": {"code": code, "status": status, "message": message, "details": list(details)}}


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"}
PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502</h1>secret-backend-07</body></html>"
LONG = "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens."

ROWS = [
    Row(OPENAI, 400, openai(LONG, "context_length_exceeded", param="messages"), 400, "context_length_exceeded", LONG),
    Row(OPENAI, 400, openai("Bad image.", "invalid_image_format"), 400, "invalid_image_format", "Bad image."),
    Row(
        OPENAI, 400, openai("Your request was rejected by the safety system.", "content_policy_violation"), 400,
        "content_policy_violation", "safety system",
    ),
    Row(
        OPENAI, 429, openai("Slow down.", "rate_limit_exceeded", "requests"), 429, "rate_limit_exceeded", "Slow down.",
        headers={"retry-after": "2"}, retry_after="2",
    ),
    Row(
        OPENAI, 429, openai("Slow down.", "rate_limit_exceeded", "requests"), 429, "rate_limit_exceeded", "Slow down.",
        headers={"retry-after-ms": "2500"}, retry_after="3",
    ),
    Row(OPENAI, 429, openai("You exceeded your quota.", "insufficient_quota", "insufficient_quota"), 503),
    Row(OPENAI, 401, openai("Incorrect API key provided: openai-secret-key.", "invalid_api_key"), 503),
    Row(OPENAI, 403, openai("Country not supported", "unsupported_country"), 503),
    Row(OPENAI, 404, openai("The model `x` does not exist", "model_not_found"), 502),
    Row(OPENAI, 500, openai("The server had an error", None, "server_error"), 502, says="The server had an error"),
    Row(OPENAI, 503, openai("The engine is overloaded", None, "server_error"), 502, says="is overloaded"),
    Row(RESPONSES, 400, openai(LONG, "context_length_exceeded", param="input"), 400, "context_length_exceeded", LONG),
    Row(RESPONSES, 400, openai("Unsupported parameter: 'x'", param="x"), 400, None, "Unsupported parameter"),
    Row(RESPONSES, 200, {"id": "r", "status": "failed", "output": [], "error": {"code": "server_error",
        "message": "The model broke."}}, 502, says="The model broke."),
    Row(RESPONSES, 200, {"id": "r", "status": "failed", "output": [], "error": {"code": "rate_limit_exceeded",
        "message": "Too fast."}}, 429, "rate_limit_exceeded", "Too fast."),
    Row(MESSAGES, 400, claude("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), 400,
        "context_length_exceeded", "prompt is too long"),
    Row(MESSAGES, 400, claude("invalid_request_error", "Output blocked by content filtering policy"), 400,
        "content_policy_violation", "content filtering"),
    Row(MESSAGES, 400, claude("invalid_request_error", "Your credit balance is too low to access the API."), 503),
    Row(MESSAGES, 400, claude("invalid_request_error", "max_tokens: must be positive"), 400, None, "must be positive"),
    Row(MESSAGES, 413, claude("request_too_large", "Request exceeds the maximum size"), 413, None, "maximum size"),
    Row(MESSAGES, 429, claude("rate_limit_error", "This request would exceed your limit."), 429, "rate_limit_exceeded",
        "would exceed", headers={"retry-after": "4"}, retry_after="4"),
    Row(MESSAGES, 529, claude("overloaded_error", "Overloaded"), 502, "overloaded", "Overloaded"),
    Row(MESSAGES, 500, claude("api_error", "Internal server error"), 502, says="Internal server error"),
    Row(MESSAGES, 401, claude("authentication_error", "invalid x-api-key"), 503),
    Row(MESSAGES, 404, claude("not_found_error", "model: claude-none"), 502),
    Row(GEMINI, 400, google(400, "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."), 400,
        "context_length_exceeded", "input token count"),
    Row(GEMINI, 400, google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), 503),
    Row(GEMINI, 400, [google(400, "INVALID_ARGUMENT", "Unable to process input image.")], 400, None, "input image"),
    Row(GEMINI, 403, google(403, "PERMISSION_DENIED", "You do not have permission to access the File x."), 422, None,
        "access the File"),
    Row(GEMINI, 429, google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", RETRY_INFO), 429,
        "rate_limit_exceeded", "current quota", retry_after="3"),
    Row(GEMINI, 503, google(503, "UNAVAILABLE", "The model is overloaded."), 502, "overloaded", "is overloaded"),
    Row(GEMINI, 500, google(500, "INTERNAL", "An internal error has occurred."), 502, says="internal error"),
    Row(DEEPSEEK, 402, openai("Insufficient Balance", "invalid_request_error", "unknown_error"), 503),
    Row(DEEPSEEK, 400, openai(LONG, "invalid_request_error"), 400, "context_length_exceeded", LONG),
    Row(DEEPSEEK, 400, openai("Content Exists Risk", "invalid_request_error"), 400, "content_policy_violation"),
    Row(DEEPSEEK, 422, json.dumps(openai("Failed to deserialize the JSON body: unknown field")), 422, None,
        "Failed to deserialize", BYTES),
    Row(DEEPSEEK, 400, "invalid temperature value", 400, None, "invalid temperature value", TEXT),
    Row(XAI, 400, {"code": "Client specified an invalid argument", "error": "Invalid arguments: stop"}, 400, None,
        "Invalid arguments: stop"),
    Row(XAI, 403, {"code": "The caller does not have permission", "error": "Content violates usage guidelines."}, 400,
        "content_policy_violation", "usage guidelines"),
    Row(XAI, 422, "Failed to deserialize the JSON body into the target type", 422, None, "the target type", TEXT),
    Row(XAI_RESPONSES, 403, {"code": "The caller does not have permission", "error": "It violates usage guidelines."},
        400, "content_policy_violation", "usage guidelines"),
    Row(XAI_RESPONSES, 429, {"code": "Some resource has been exhausted", "error": "Your team 1 has either used all "
        "available credits or reached its monthly spending limit."}, 503),
    Row(XAI, 403, {"code": "The caller does not have permission", "error": "Your newly created team doesn't have any "
        "credits or licenses yet."}, 503),
    Row(XAI_RESPONSES, 429, {"code": "Some resource has been exhausted", "error": "Too many requests"}, 429,
        "rate_limit_exceeded", "Too many requests"),
    Row(OPENROUTER, 429, {"error": {"code": 429, "message": "Provider returned error",
        "metadata": {"raw": "m is temporarily rate-limited upstream", "provider_name": "Z"}}}, 429,
        "rate_limit_exceeded", "temporarily rate-limited"),
    Row(OPENROUTER, 200, {"error": {"code": 502, "message": "Upstream is down"}}, 502, says="Upstream is down"),
    Row(OPENROUTER, 403, {"error": {"code": 403, "message": "Your chosen model requires moderation",
        "metadata": {"reasons": ["violence"], "flagged_input": "…"}}}, 400, "content_policy_violation", "moderation"),
    Row(OPENROUTER, 404, {"error": {"code": 404, "message": "No endpoints found that support tool use."}}, 422, None,
        "support tool use"),
    Row(OPENROUTER, 400, {"error": {"code": 400, "message": "Provider returned error", "metadata": {
        "raw": json.dumps(claude("invalid_request_error", "prompt is too long: 250000 tokens > 200000"))}}}, 400,
        "context_length_exceeded", "prompt is too long"),
    Row(OPENROUTER, 200, {"id": "g", "choices": [{"index": 0, "finish_reason": "error", "message": {
        "role": "assistant", "content": ""}, "error": {"code": 502, "message": "Upstream broke off"}}]}, 502),
    Row(OPENROUTER, 402, {"error": {"code": 402, "message": "Insufficient credits"}}, 503),
    Row(OPENROUTER, 408, {"error": {"code": 408, "message": "Timed out"}}, 504),
]  # fmt: skip

# what proxies and broken connections make of any provider's answer
for each in (OPENAI, RESPONSES, MESSAGES, GEMINI):
    ROWS += [
        Row(each, 502, PAGE, 502, kind=HTML),
        Row(each, 403, PAGE, 503, kind=HTML),
        Row(each, 400, PAGE, 400, kind=HTML),
        Row(each, 500, "", 502, kind=TEXT),
        Row(each, 503, "upstream connect error", 502, None, "upstream connect error", TEXT),
        Row(each, 200, PAGE, 502, kind=HTML),
        Row(each, 200, "", 502),
        Row(each, 200, '{"id": "x", "choi', 502),
        Row(each, 200, "[]", 502),
        Row(each, 200, "{}", 502),
        Row(each, 200, '"text"', 502),
        Row(each, 200, "null", 502),
        Row(each, 418, {}, 418),
    ]

QUESTION = {"role": "user", "content": "hi"}
CLIENTS = {
    "chat": ("/v1/chat/completions", {"messages": [QUESTION]}),
    "responses": ("/v1/responses", {"input": [QUESTION]}),
    "messages": ("/v1/messages", {"messages": [QUESTION], "max_tokens": 9}),
    "generate": ("/v1beta/models/{model}:{way}", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
}
SECRETS = re.compile(r"secret|Traceback|\.py")


def request(client: str, number: int, row: Row, stream: bool) -> tuple[str, Any]:
    path, body = CLIENTS[client]
    way = "streamGenerateContent?alt=sse" if stream else "generateContent"
    told = json.loads(json.dumps(body).replace('"hi"', f'"row {number}"'))
    if client != "generate":
        told |= {"model": row.model, "stream": stream}
    return path.format(model=row.model, way=way), told


async def provider(call: Call) -> None:
    found = re.search(rb"row (\d+)", call.body)
    assert found is not None
    row = ROWS[int(found[1])]
    data = row.body.encode() if isinstance(row.body, str) else row.body
    await call.answer(data, row.status, row.headers, row.kind)


def read(client: str, body: Any) -> tuple[str, Any]:
    """Message and code of an error, its envelope being that of the client's format."""
    error = body["error"]
    if client == "generate":
        assert set(error) <= {"code", "message", "status", "details"}
        assert isinstance(error["code"], int)
        reasons = [detail["reason"].lower() for detail in error.get("details", ()) if "reason" in detail]
        return error["message"], reasons[0] if reasons else None
    if client == "messages":
        assert body["type"] == "error"
        assert body["request_id"].startswith("req_")
    assert {"type", "message", "param", "code"} <= set(error)
    return error["message"], error["code"]


@pytest.mark.parametrize("stream", [False, True], ids=["json", "sse"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_an_error_reaches_the_caller_in_its_own_words(
    upstream: Upstream, tmp_path: Path, client: str, stream: bool
) -> None:
    upstream.plays(provider)
    wrong: list[str] = []

    async def check(number: int, row: Row) -> None:
        path, body = request(client, number, row, stream)
        answer = await gate.client.post(path, json=body)
        place = f"{row.model} {row.status} {str(row.body)[:60]!r}: {answer.status_code} {answer.text[:300]}"
        try:
            message, code = read(client, answer.json())
        except (ValueError, KeyError, AssertionError, TypeError):
            wrong.append(f"no error of the format: {place}")
            return
        if answer.status_code != row.told or row.says not in message or not message:
            wrong.append(f"wanted {row.told} {row.says!r}: {place}")
        if client == "messages" and row.code == "overloaded":  # its own word is the type
            code = answer.json()["error"]["type"].removesuffix("_error")
        if row.code is not None and client != "generate" and code != row.code:
            wrong.append(f"wanted code {row.code}, not {code}: {place}")
        if SECRETS.search(answer.text):
            wrong.append(f"tells too much: {place}")
        if row.retry_after is not None and answer.headers.get("retry-after") != row.retry_after:
            wrong.append(f"wanted retry-after {row.retry_after}, not {answer.headers.get('retry-after')}: {place}")

    async with shipped(upstream, tmp_path) as gate:
        await asyncio.gather(*[check(number, row) for number, row in enumerate(ROWS)])
        charged = [entry for entry in await gate.store.ledger(gate.account) if entry.kind == "charge"]
    assert not wrong, "\n".join(wrong)
    assert not charged
