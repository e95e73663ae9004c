"""The routes: any prefix, and the wire format's own path after it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import orjson
from quart import Quart, Response, request

from nexeon.errors import RequestError
from nexeon.sandbox.anthropic_messages import AnthropicMessages
from nexeon.sandbox.content import Ask, Plan, make_plan
from nexeon.sandbox.directives import Directives
from nexeon.sandbox.gemini import Gemini
from nexeon.sandbox.openai_chat import OpenAIChat
from nexeon.sandbox.openai_responses import OpenAIResponses
from nexeon.sandbox.wire import Wire, invalid

_chat, _responses, _messages, _gemini = OpenAIChat(), OpenAIResponses(), AnthropicMessages(), Gemini()
_SUFFIXES: tuple[tuple[str, Wire, bool], ...] = (
    ("/chat/completions", _chat, False),
    ("/responses", _responses, False),
    ("/responses/input_tokens", _responses, True),
    ("/messages", _messages, False),
    ("/messages/count_tokens", _messages, True),
)
_GEMINI = re.compile(r"(?:^|/)models/(.+):(generateContent|streamGenerateContent|countTokens)$")
_MODELS = orjson.dumps(
    {
        "object": "list",
        "data": [{"id": "sandbox", "object": "model", "created": 1735689600, "owned_by": "sandbox"}],
        "models": [{"name": "models/sandbox", "displayName": "Sandbox"}],
    }
)
_BATCH_BYTES = 8192
_MOST_FAILED = 1024
_failed: dict[str, int] = {}
_FAILURE = "The sandbox was asked to fail here."


def create_app() -> Quart:
    """The offline upstream as an ASGI app. See `nexeon.sandbox.directives` for what a prompt may ask of it."""
    app = Quart("nexeon.sandbox", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = None
    app.config["RESPONSE_TIMEOUT"] = None
    app.config["BODY_TIMEOUT"] = None
    app.add_url_rule("/<path:path>", "answer", _answer, methods=["POST"])
    app.add_url_rule("/<path:path>", "look", _look, methods=["GET"])
    return app


async def _look(path: str) -> Response:
    if path.endswith("models"):
        return Response(_MODELS, content_type="application/json")
    return Response(_chat.error(404, f"Unknown path /{path}"), status=404, content_type="application/json")


async def _answer(path: str) -> Response:
    wire, model, stream, count = _route("/" + path)
    if wire is None:
        return Response(_chat.error(404, f"Unknown path /{path}"), status=404, content_type="application/json")
    try:
        ask = _read(wire, _body(await request.get_data()), model, stream, count)
        ask.provider = path.partition("/")[0]
        ask.array = wire is _gemini and request.args.get("alt") != "sse"
        if count:
            return Response(wire.count(ask), content_type=wire.content_type(False))
        return await _respond(wire, ask, make_plan(ask))
    except RequestError as problem:
        body = wire.error(problem.status, problem.message, problem.param)
        return Response(body, status=problem.status, content_type=wire.content_type(False))


def _route(path: str) -> tuple[Wire | None, str, bool, bool]:
    """The format, the path's model, whether the path asks for a stream, whether for a count."""
    for suffix, wire, count in _SUFFIXES:
        if path.endswith(suffix):
            return wire, "", False, count
    if match := _GEMINI.search(path):
        return _gemini, match[1], match[2] == "streamGenerateContent", match[2] == "countTokens"
    return None, "", False, False


def _read(wire: Wire, body: dict[str, Any], model: str, stream: bool, count: bool) -> Ask:
    try:
        return wire.read(body, model, stream, count)
    except (AttributeError, TypeError, ValueError) as problem:
        raise invalid(f"The request is not of the documented shape: {problem}", "body") from None


def _body(raw: str | bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as problem:
        raise invalid(f"The request body is not JSON: {problem}", "body") from None
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object", "body")
    return body


async def _respond(wire: Wire, ask: Ask, plan: Plan) -> Response:
    asked = plan.directives
    if asked.first_byte:
        await asyncio.sleep(asked.first_byte)
    if asked.html is not None:
        page = f"<html><head><title>{asked.html}</title></head><body><h1>{asked.html}</h1></body></html>\n"
        return Response(page, status=asked.html, content_type="text/html")
    if asked.error is not None and _fails(ask, asked):
        body = wire.error(asked.error, asked.error_message or _FAILURE)
        response = Response(body, status=asked.error, content_type=wire.content_type(False))
        if asked.retry_after is not None:
            response.headers["retry-after"] = asked.retry_after
        return response
    if ask.stream:
        streamed = wire.content_type(not ask.array)
        return Response(_stream(wire, ask, plan), content_type=streamed)
    if asked.error_after is not None:
        return Response(wire.error(500, _FAILURE), status=500, content_type=wire.content_type(False))
    body = wire.reply(ask, plan)
    response = Response(_whole(body, plan), content_type=wire.content_type(False))
    response.headers["content-length"] = str(len(body))
    return response


def _fails(ask: Ask, asked: Directives) -> bool:
    """Whether this request is one of those that the error is for."""
    if asked.error_at not in (None, ask.provider) or not _key().endswith(asked.error_key or ""):
        return False
    if asked.error_times is None:
        return True
    failed = _failed.pop(ask.text, 0)
    if failed >= asked.error_times:
        return False
    _failed[ask.text] = failed + 1
    while len(_failed) > _MOST_FAILED:
        del _failed[next(iter(_failed))]
    return True


def _key() -> str:
    names = ("authorization", "x-api-key", "x-goog-api-key")
    return next((request.headers[name] for name in names if name in request.headers), request.args.get("key", ""))


async def _whole(body: bytes, plan: Plan) -> AsyncIterator[bytes]:
    pause = plan.directives.first_event + plan.directives.delay
    if pause:
        await asyncio.sleep(pause)
    if plan.directives.cut_after is not None:
        yield body[: len(body) // 2]
        _cut()
    yield body


async def _stream(wire: Wire, ask: Ask, plan: Plan) -> AsyncIterator[bytes]:
    """The events: one write each where there are pauses, else the first alone and the rest in large writes."""
    asked = plan.directives
    if asked.first_event:
        await asyncio.sleep(asked.first_event)
    batch: list[bytes] = []
    length = 0
    for sent, item in enumerate(wire.events(ask, plan)):
        if asked.cut_after is not None and sent >= asked.cut_after:
            yield b"".join(batch)
            _cut()
        if asked.error_after is not None and sent >= asked.error_after:
            yield b"".join([*batch, *wire.error_events(ask, plan, sent, _FAILURE)])
            return
        if asked.delay and sent:
            await asyncio.sleep(asked.delay)
        batch.append(item)
        length += len(item)
        if not sent or asked.delay or length > _BATCH_BYTES:
            yield b"".join(batch)
            batch.clear()
            length = 0
    if batch:
        yield b"".join(batch)


def _cut() -> None:
    """Ends the response without its end: the server closes the connection of a cancelled handler, and logs nothing."""
    raise asyncio.CancelledError
