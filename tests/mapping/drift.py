"""What the installed SDKs' types say of each format, as names that can be compared with our schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import anthropic.types as messages
import anthropic.types.beta as beta_messages
import anthropic.types.beta.message_create_params as beta_message_params
import anthropic.types.message_create_params as message_params
from google.genai import types as gemini
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import TypeAdapter
from pydantic.alias_generators import to_camel

from nexeon.data import data_path

SDK_TYPES: dict[str, list[Any]] = {
    "openai.chat": [CompletionCreateParamsStreaming, ChatCompletion, ChatCompletionChunk],
    "openai.responses": [ResponseCreateParamsStreaming, Response, ResponseStreamEvent],
    "anthropic.messages": [
        message_params.MessageCreateParamsStreaming,
        beta_message_params.MessageCreateParamsStreaming,
        *(messages.Message, beta_messages.BetaMessage),
        *(messages.RawMessageStreamEvent, beta_messages.BetaRawMessageStreamEvent),
    ],
    "gemini.generate_content": [
        *(gemini.Content, gemini.Tool, gemini.ToolConfig, gemini.GenerationConfig, gemini.SafetySetting),
        gemini.GenerateContentResponse,
    ],
}
"""The types of a format's requests, answers and events."""


def sdk_names(form: str, skipped: str) -> set[str]:
    """Every name in the SDK's types of a format, but for the definitions whose name the pattern finds."""
    found: set[str] = set()
    for schema in sdk_schemas(form):
        inside = [inner for name, inner in schema.get("$defs", {}).items() if not re.search(skipped, name)]
        found.update(names([{**schema, "$defs": {}}, *inside]))
    if gemini.GenerateContentResponse in SDK_TYPES[form]:
        # the caller's side of the configuration has no schema of its own: it holds an HTTP client
        found |= {to_camel(field) for field in gemini.GenerateContentConfig.model_fields}
    return found


def sdk_definitions(form: str) -> set[str]:
    """The names of the SDK's types."""
    return {name for schema in sdk_schemas(form) for name in schema.get("$defs", {})}


@cache
def sdk_schemas(form: str) -> list[dict[str, Any]]:
    """The SDK's types as JSON Schemas."""
    return [TypeAdapter(one).json_schema() for one in SDK_TYPES[form]]


def unknown(form: str, skipped: str) -> set[str]:
    """What the SDK knows and our schemas do not.

    A kind's own fields (`kind.field`) count where we describe that kind apart from others, else the field's name does.
    """
    folder = data_path("schemas") / "formats" / form
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    ours = set(names(schemas))
    words = set(constants(schemas))
    described = {name.partition(".")[0] for name in ours if "." in name and not name.endswith(".type")}
    return {
        name
        for name in sdk_names(form, skipped) - ours
        if ("." not in name or name.partition(".")[0] in described) and name.removeprefix("type: ") not in words
    }


def constants(schema: Any) -> Iterator[str]:
    """Every word that a schema tells apart."""
    if isinstance(schema, list):
        for part in schema:
            yield from constants(part)
    elif isinstance(schema, dict):
        yield from (one for one in [schema.get("const"), *schema.get("enum", ())] if isinstance(one, str))
        yield from constants(list(schema.values()))


def names(schema: Any) -> Iterator[str]:
    """`field` of each property, `type: word` of each kind of block, tool or event, `word.field` of its fields."""
    if isinstance(schema, list):
        for part in schema:
            yield from names(part)
    elif isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            kinds = list(tags(properties.get("type")))
            yield from (f"type: {kind}" for kind in kinds)
            for field in properties:
                yield field
                yield from (f"{kind}.{field}" for kind in kinds)
        for word, part in schema.items():
            yield from names(list(part.values()) if word == "properties" and isinstance(part, dict) else part)


def tags(schema: Any) -> Iterator[str]:
    """The words that tell one kind of map from the others."""
    if isinstance(schema, dict):
        yield from ([schema["const"]] if isinstance(schema.get("const"), str) else [])
        yield from (one for one in schema.get("enum", ()) if isinstance(one, str))
        for branch in schema.get("anyOf", ()):
            yield from tags(branch)
