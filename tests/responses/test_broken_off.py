"""What is left of an answer whose process was killed, by the events that were kept of it."""

from __future__ import annotations

from typing import Any

import pytest

from nexeon.data import data_path
from nexeon.gateway.answers.kept import _so_far
from nexeon.gateway.answers.resource import load_resources
from nexeon.mapping import load_library

ID = "msg_nex-" + "9c" * 16
PART: dict[str, Any] = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
ITEM: dict[str, Any] = {"type": "message", "id": ID, "status": "completed", "role": "assistant", "content": [PART]}
BEGUN = {"id": "resp_1", "object": "response", "created_at": 1, "status": "in_progress", "model": "m", "output": []}
AT = {"output_index": 0, "content_index": 0, "item_id": ID}
EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "sequence_number": 0, "response": BEGUN},
    {"type": "response.output_item.added", "output_index": 0, "item": {**ITEM, "status": "in_progress", "content": []}},
    {"type": "response.content_part.added", **AT, "part": {**PART, "text": ""}},
    {"type": "response.output_text.delta", **AT, "delta": "Hello", "logprobs": []},
    {"type": "response.output_text.done", **AT, "text": "Hello", "logprobs": []},
    {"type": "response.content_part.done", **AT, "part": PART},
]


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_an_item_that_was_told_as_ended_stays_as_it_was_told(status: str) -> None:
    resource = load_resources(load_library([data_path("mappings")]))["openai.responses"]
    told = {**ITEM, "status": status}
    ended = {"type": "response.output_item.done", "output_index": 0, "item": told}
    assert _so_far(resource, [*EVENTS, ended]) == [told]
    assert _so_far(resource, EVENTS) == [{**ITEM, "status": "incomplete"}]
