"""Upstream bodies against the types that the official SDKs give their requests."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_message_create_params
from google.genai import types as google
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params
from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

from .cases import CHAT, GEMINI, MESSAGES, RESPONSES
from .sdk_types import meant

_PARAMS: dict[str, tuple[Any, ...]] = {
    CHAT: (completion_create_params.CompletionCreateParams,),
    RESPONSES: (response_create_params.ResponseCreateParams,),
    MESSAGES: (message_create_params.MessageCreateParams, beta_message_create_params.MessageCreateParams),
}
_GOOGLE: dict[str, Any] = {
    "contents": list[google.Content],
    "systemInstruction": google.Content,
    "tools": list[google.Tool],
    "toolConfig": google.ToolConfig,
    "generationConfig": google.GenerationConfig,
    "safetySettings": list[google.SafetySetting],
    "cachedContent": str,
    "serviceTier": str,
    "labels": dict[str, str],
    "store": bool,
}


def _closed(schema: Any, *, closed: bool) -> Any:
    """Iterables are checked to the end, and (`closed`) unknown fields are refused."""
    if isinstance(schema, dict):
        out = {key: _closed(value, closed=closed) for key, value in schema.items()}
        if out.get("type") == "generator":
            out["type"] = "list"
        elif out.get("type") == "typed-dict" and closed and "extras_schema" not in out:
            out["extra_behavior"] = "forbid"
        return out
    if isinstance(schema, (list, tuple)):
        return type(schema)(_closed(item, closed=closed) for item in schema)
    return schema


@cache
def _validator(kind: Any, closed: bool) -> SchemaValidator:
    return SchemaValidator(_closed(TypeAdapter(kind).core_schema, closed=closed))


def _problem(kind: Any, value: Any, *, closed: bool) -> str | None:
    try:
        _validator(kind, closed).validate_python(value)
    except ValidationError as error:
        return meant(error)
    return None


def request_problem(format: str, body: dict[str, Any], *, closed: bool = True) -> str | None:
    """Why a body is not what the SDK would send; None where it is. `closed`: fields that it does not know count."""
    if format == MESSAGES:  # the SDK has no names for sampling any more; older models take it all the same
        body = {name: value for name, value in body.items() if name not in ("temperature", "top_p", "top_k")}
    if format != GEMINI:
        problems = [_problem(kind, body, closed=closed) for kind in _PARAMS[format]]
        return None if None in problems else problems[0]
    for name, value in body.items():
        camel = re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
        if camel not in _GOOGLE:
            return f"{name}: unknown"
        try:
            TypeAdapter(_GOOGLE[camel]).validate_python(value)
        except ValidationError as error:
            return f"{name}: {meant(error)}"
    return None
