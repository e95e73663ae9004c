"""Every kind of request, to every provider, in the four ways in which an answer can be asked for."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.patience import PATIENCE

from .conftest import Api, Upstream
from .judge import FINAL, Json, check_answer, check_stream, read_events, text_of

PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
)
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


def _function(name: str) -> Json:
    return {"type": "function", "name": name, "description": "Tells.", "parameters": PARAMETERS, "strict": True}


NAMES: Json = {
    "$PIXEL": PIXEL,
    "$PARAMETERS": PARAMETERS,
    "$WEATHER": _function("get_weather"),
    "$TIME": _function("get_time"),
}
TABLE: dict[str, Json] = yaml.safe_load((Path(__file__).parent / "requests.yaml").read_text())
FREE = 'example "text"\nin two lines'
EVERYTHING = ["reasoning.encrypted_content", "message.output_text.logprobs"]
ARGUMENTS = {"city": "example", "days": 1}


def filled(value: Any) -> Any:
    """A row's value with what its names stand for."""
    if isinstance(value, dict):
        return {key: filled(part) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part) for part in value]
    return NAMES.get(value, value) if isinstance(value, str) else value


def ended(api: Api, answer: Json) -> Json:
    """An answer once it is no longer under way."""
    deadline = time.monotonic() + PATIENCE
    while answer["status"] not in FINAL:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        answer = api.client.get(f"/responses/{answer['id']}", params={"include": EVERYTHING}).json()
    return answer


@pytest.mark.parametrize("background", [False, True], ids=["at-once", "background"])
@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
@pytest.mark.parametrize("name", TABLE)
def test_request(api: Api, upstream: Upstream, name: str, streamed: bool, background: bool) -> None:
    row = TABLE[name]
    body = {"model": upstream.model, **filled(row["request"]), "stream": streamed, "background": background}
    response = api.client.post("/responses", json=body)
    if upstream.provider in row.get("not", ()):
        if response.status_code == 400:
            assert response.json()["error"]["message"]
        elif "instead" in row and not background:
            assert row["instead"] in response.headers["x-nexeon-dropped"].split(", ")
        return
    assert response.status_code == 200, response.text
    assert response.headers["x-nexeon-model"] == upstream.model
    events: list[Json] = []
    if streamed:
        events = read_events(response)
        answer = check_stream(events, background=background)
    else:
        answer = response.json()
        check_answer(answer)
        if background:
            assert (answer["status"], answer["output"], answer["usage"]) == ("queued", [], None)
            answer = ended(api, answer)
            check_answer(answer)
    assert answer["status"] == row.get("status", "completed"), answer
    assert (answer["background"], answer["store"]) == (background, True)
    if "output" in row:
        assert [item["type"] for item in answer["output"]] == row["output"]
    assert text_of(answer).startswith(row.get("text", ""))
    calls = [item for item in answer["output"] if item["type"] in ("function_call", "custom_tool_call")]
    assert [call["name"] for call in calls] == row.get("calls", [])
    assert len({call["call_id"] for call in calls}) == len(calls)
    for call in calls:
        if call["type"] == "function_call":
            assert json.loads(call["arguments"]) == ARGUMENTS
        else:
            assert call["input"] in (FREE, "example")  # (a function of one text stands in for it)
    if streamed:
        kinds = {event["type"] for event in events}
        assert set(row.get("events", ())) <= kinds
    _kept(api, answer, events if background else [])


def _kept(api: Api, answer: Json, events: list[Json]) -> None:
    """It is found again, and so are its events, from any one on."""
    found = api.client.get(f"/responses/{answer['id']}", params={"include": EVERYTHING})
    assert found.json() == answer
    if events:
        for after in (None, 0, len(events) // 2, len(events) - 2, len(events) - 1):
            query = {"stream": "true"} | ({"starting_after": str(after)} if after is not None else {})
            again = api.client.get(f"/responses/{answer['id']}", params=query)
            wanted = events[after + 1 :] if after is not None else events
            assert again.status_code == 200
            assert (read_events(again) if wanted else json.loads(again.text or "[]")) == wanted


@pytest.mark.parametrize("background", [False, True], ids=["at-once", "background"])
@pytest.mark.parametrize("fault", ["error-after 12", "cut-after 12", "think 20]] [[cut-after 9"])
def test_stream_breaks_off(api: Api, upstream: Upstream, fault: str, background: bool) -> None:
    body = {"model": upstream.model, "input": f"[[tokens 40]] [[{fault}]]", "stream": True, "background": background}
    events = read_events(api.client.post("/responses", json=body))
    final = check_stream(events, background=background, failed=True)
    own_words = fault.startswith("error") and upstream.format == "openai.responses"
    assert final["output"] or own_words
    assert api.client.get(f"/responses/{final['id']}").json() == final


@pytest.mark.parametrize("fault", ["error 400 message=too-blue", "error 500", "error 401", "html 502", "error 429"])
def test_background_fails(api: Api, upstream: Upstream, fault: str) -> None:
    """What would have been the request's status is the answer's end."""
    body = {"model": upstream.model, "input": f"[[{fault}]] Hi", "background": True}
    first = api.client.post("/responses", json=body).json()
    failed = ended(api, first)
    check_answer(failed)
    assert (failed["status"], failed["id"], failed["output"]) == ("failed", first["id"], [])
    assert failed["error"]["code"]
    events = read_events(api.client.post("/responses", json={**body, "stream": True}))
    final = check_stream(events, background=True, failed=True)
    assert final["error"]["message"] == failed["error"]["message"] == events[-2]["message"]
