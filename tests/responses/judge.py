"""Whether what came is what the API's description says: bodies and events by their schemas, streams by their rules."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import httpx
import jsonschema_rs

from tests.recordings.grammar import responses_problem
from tests.recordings.replay import sse_events

from .served import ROOT

Json = dict[str, Any]
FINAL = ("completed", "incomplete", "failed", "cancelled")


def _schema(name: str) -> Json:
    found: Json = json.loads((ROOT / "schemas/formats/openai.responses" / f"{name}.json").read_text())
    return found


@cache
def _answer_schema() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(_schema("response"))


@cache
def _event_schemas() -> dict[str, jsonschema_rs.Draft202012Validator]:
    """By the event's type, so that a problem names its place and not just the whole."""
    whole = _schema("event")
    found = {}
    for reference in (one for one in whole["anyOf"] if "$ref" in one):
        name = reference["$ref"].rpartition("/")[2]
        kind = whole["$defs"][name]["properties"]["type"]
        for value in [kind["const"]] if "const" in kind else kind.get("enum", []):
            one = {"$ref": f"#/$defs/{name}", "$defs": whole["$defs"]}
            found[value] = jsonschema_rs.Draft202012Validator(one)
    return found


def _valid(schema: jsonschema_rs.Draft202012Validator, value: Any, what: str) -> None:
    for error in schema.iter_errors(value):
        raise AssertionError(f"{what}: {'.'.join(map(str, error.instance_path))}: {error.message[:300]}")


def check_answer(answer: Json) -> None:
    """An answer by its schema, its ids the gateway's."""
    _valid(_answer_schema(), answer, "the answer")
    assert answer["id"].startswith("resp_nex-")
    assert answer["object"] == "response"
    ids = [item["id"] for item in answer["output"]]
    assert len(set(ids)) == len(ids), ids
    for item in answer["output"]:
        if item["type"] == "message":
            assert item["id"].startswith("msg_nex-"), item["id"]
    if answer["status"] == "completed":
        assert answer["error"] is None
        assert answer["incomplete_details"] is None
        usage = answer["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    elif answer["status"] == "incomplete":
        assert answer["incomplete_details"]["reason"] in ("max_output_tokens", "content_filter")
    elif answer["status"] == "failed":
        assert answer["error"]["message"]


def read_events(response: httpx.Response) -> list[Json]:
    """The events of a whole stream, their framing and schemas checked."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    named, problem = sse_events(response.text)
    assert problem is None, problem
    events: list[Json] = [json.loads(data) for _, data in named]
    for (name, _), event in zip(named, events, strict=True):
        assert name == event["type"]
        assert event["type"] in _event_schemas(), f"no event is called {event['type']}"
        _valid(_event_schemas()[event["type"]], event, event["type"])
    return events


def check_stream(events: list[Json], *, background: bool = False, failed: bool = False) -> Json:
    """A whole stream by its rules; its final answer."""
    problem = responses_problem(events, background=background, failed=failed)
    assert problem is None, f"{problem}: {[event['type'] for event in events]}"
    final: Json = events[-1]["response"]
    check_answer(final)
    texts = ("response.output_text", "response.content_part")
    for event in events:
        if final["output"] and "item_id" in event and event["type"].startswith(texts):
            found = [item for item in final["output"] if item["id"] == event["item_id"]]
            assert found, f"{event['type']} names {event['item_id']}, which is not in the output"
        if "response" in event:
            same = ("id", "created_at", "background", "store", "previous_response_id", "metadata", "tools")
            assert {name: event["response"][name] for name in same} == {name: final[name] for name in same}
    return final


def text_of(answer: Json) -> str:
    """Its messages' text, refusals included."""
    parts = [part for item in answer["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part.get("text", part.get("refusal", "")) for part in parts)
