"""Answers and events against the types of the official SDKs."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter, ValidationError

from .cases import CHAT, GEMINI, MESSAGES, RESPONSES

_BODIES: dict[str, Any] = {
    CHAT: ChatCompletion,
    RESPONSES: Response,
    MESSAGES: Message,
    GEMINI: GenerateContentResponse,
}
_EVENTS: dict[str, Any] = {
    CHAT: ChatCompletionChunk,
    RESPONSES: ResponseStreamEvent,
    MESSAGES: RawMessageStreamEvent,
    GEMINI: GenerateContentResponse,
}
_OTHERS: dict[str, tuple[Any, Any]] = {MESSAGES: (BetaMessage, BetaRawMessageStreamEvent)}
"""Types of beta features, which a recording may show."""


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _errors(kind: Any, value: Any) -> str | None:
    try:
        _adapter(kind).validate_json(json.dumps(value))
    except ValidationError as error:
        return meant(error)
    return None


def meant(error: ValidationError) -> str:
    """What an error is about: a union reports every member, and those of another `type` or `role` were never meant."""
    found = error.errors(include_url=False, include_input=False)
    others = {
        one["loc"][:-1]
        for one in found
        if one["loc"][-1:] in (("type",), ("role",), ("stream",)) and one["type"] == "literal_error"
    }
    likely = [one for one in found if not any(one["loc"][: len(prefix)] == prefix for prefix in others)]
    worst = max(likely or found, key=lambda one: len(one["loc"]))
    return f"{'.'.join(map(str, worst['loc']))}: {worst['msg']}"


def body_problem(format: str, body: Any, *, beta: bool = False) -> str | None:
    """Why an answer is not of the SDK's type; None where it is."""
    problem = _errors(_BODIES[format], body)
    if problem and beta and format in _OTHERS and _errors(_OTHERS[format][0], body) is None:
        return None
    return problem


def event_problem(format: str, event: Any, *, beta: bool = False) -> str | None:
    """Why a stream event is not of the SDK's type; None where it is."""
    if format == MESSAGES and event.get("type") == "ping":  # of no type: the SDK passes over it
        return None
    problem = _errors(_EVENTS[format], event)
    if problem and beta and format in _OTHERS and _errors(_OTHERS[format][1], event) is None:
        return None
    return problem


def problem(format: str, said: Any, *, stream: bool, beta: bool = False) -> str | None:
    """The first problem of an answer, or of a stream's events."""
    if not stream:
        return body_problem(format, said, beta=beta)
    for number, event in enumerate(said):
        if found := event_problem(format, event, beta=beta):
            kind = event.get("type", "") if isinstance(event, dict) else ""
            return f"event {number} {kind}: {found}"
    return None
