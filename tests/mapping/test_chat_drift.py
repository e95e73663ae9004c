"""The Chat Completions schemas know every field and block type that the installed SDK's types know."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter

SCHEMAS = Path(__file__).parents[2] / "schemas/formats/openai.chat"
UNDESCRIBED = {
    # the results of moderation ride through as they are
    *("categories", "category_applied_input_types", "category_scores", "flagged", "results"),
}


def fields(schema: Any) -> Iterator[str]:
    """Every property name anywhere in a schema."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for part in schema.values():
            yield from fields(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from fields(part)


@pytest.mark.parametrize(
    ("name", "known"),
    [("request", CompletionCreateParamsStreaming), ("response", ChatCompletion), ("event", ChatCompletionChunk)],
)
def test_every_field_of_the_sdk_is_described(name: str, known: Any) -> None:
    ours = set(fields(json.loads((SCHEMAS / f"{name}.json").read_text())))
    theirs = set(fields(TypeAdapter(known).json_schema()))
    assert len(theirs) > 20
    assert theirs - ours - UNDESCRIBED == set()
