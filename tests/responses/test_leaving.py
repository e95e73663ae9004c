"""Clients that leave, come back and change their mind while their answer is made."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest

from tests.patience import PATIENCE, wait_until

from .conftest import Api, Upstream
from .judge import Json, check_answer, check_stream, text_of
from .test_requests import ended

SLOW = "[[delay 20ms]] [[tokens 40]]"
ENDLESS = "[[delay 20ms]] [[tokens 20000]]"
ATTEMPTS = 10
"""At seeing an answer on its way: a machine that stands still shows nothing until it is over."""


def events_of(lines: Iterator[str]) -> Iterator[Json]:
    """A stream's events as they come."""
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def leave(api: Api, body: Json, after: str) -> list[Json]:
    """Reads a stream up to the first event of this kind, then hangs up."""
    seen = []
    with api.client.stream("POST", "/responses", json=body) as response:
        for event in events_of(response.iter_lines()):
            seen.append(event)
            if event["type"] == after:
                break
    return seen


def kept_soon(api: Api, id: str) -> Json:
    """An answer whose client has just left: the gateway hears of that a little later."""

    def kept() -> Json | None:
        found = api.client.get(f"/responses/{id}")
        answer: Json | None = found.json() if found.status_code == 200 else None
        return answer

    answer: Json = wait_until(kept)
    return answer


def test_who_leaves_cancels(api: Api, upstream: Upstream) -> None:
    """What was made until then is kept, is told to be cancelled, and can be gone on from."""
    body = {"model": upstream.model, "input": ENDLESS, "stream": True}
    seen = leave(api, body, "response.output_text.delta")
    answer = kept_soon(api, seen[0]["response"]["id"])
    check_answer(answer)
    assert (answer["status"], answer["error"], answer["completed_at"]) == ("cancelled", None, None)
    assert answer["created_at"] == seen[0]["response"]["created_at"]
    said = "".join(event["delta"] for event in seen if event["type"] == "response.output_text.delta")
    assert text_of(answer).startswith(said)
    assert len(text_of(answer).split()) < 10_000
    (item,) = answer["output"]
    assert item["status"] == "incomplete"
    assert item["id"] == next(event["item"]["id"] for event in seen if event["type"] == "response.output_item.added")
    more = api.client.post(
        "/responses", json={"model": upstream.model, "input": "And on", "previous_response_id": answer["id"]}
    ).json()
    assert text_of(more) == "Echo: And on"
    assert more["usage"]["input_tokens"] > 8


def test_a_call_that_breaks_off(api: Api, upstream: Upstream) -> None:
    """It is shown as incomplete, and no model is told of it when the conversation goes on."""
    parameters = {
        "type": "object",
        "properties": {f"field_{n}": {"type": "string"} for n in range(12)},
        "required": [f"field_{n}" for n in range(12)],
        "additionalProperties": False,
    }
    tool = {"type": "function", "name": "fill", "parameters": parameters, "strict": True}
    body = {
        "model": upstream.model,
        "input": "[[delay 30ms]] call the tool fill",
        "tools": [tool],
        "stream": True,
    }
    seen = leave(api, body, "response.function_call_arguments.delta")
    answer = kept_soon(api, seen[0]["response"]["id"])
    check_answer(answer)
    (call,) = [item for item in answer["output"] if item["type"] == "function_call"]
    if answer["status"] == "completed":  # this provider's calls come whole
        assert json.loads(call["arguments"])
        return
    assert (answer["status"], call["status"]) == ("cancelled", "incomplete")
    more = api.client.post(
        "/responses", json={"model": upstream.model, "input": "And on", "previous_response_id": answer["id"]}
    )
    assert text_of(more.json()).endswith("And on"), more.text
    items = api.client.get(f"/responses/{more.json()['id']}/input_items", params={"order": "asc"}).json()["data"]
    assert [item["type"] for item in items] == ["message", "function_call", "message"]


def test_the_background_goes_on(api: Api, upstream: Upstream) -> None:
    """A stream that is taken up again is followed live, by as many as like."""
    assert any(goes_on(api, upstream) for _ in range(ATTEMPTS)), "the events did not come as they were made"


def goes_on(api: Api, upstream: Upstream) -> bool:
    """Whether it was seen on its way."""
    body = {"model": upstream.model, "input": SLOW, "stream": True, "background": True}
    seen = leave(api, body, "response.output_text.delta")
    id = seen[0]["response"]["id"]
    assert [event["type"] for event in seen[:3]] == ["response.created", "response.queued", "response.in_progress"]
    under_way = api.client.get(f"/responses/{id}").json()["status"] == "in_progress"
    found: dict[int, list[Json]] = {}
    times: list[float] = []

    def read(after: int) -> None:
        query = {"stream": "true", "starting_after": str(after)}
        with api.client.stream("GET", f"/responses/{id}", params=query) as response:
            found[after] = []
            for event in events_of(response.iter_lines()):
                found[after].append(event)
                if after == 0 and event["type"] == "response.output_text.delta":
                    times.append(time.monotonic())

    readers = [threading.Thread(target=read, args=(after,)) for after in (0, len(seen) - 1)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(PATIENCE)
    events = [*seen, *found[len(seen) - 1]]
    assert events[1:] == found[0]
    final = check_stream(events, background=True)
    assert final == api.client.get(f"/responses/{id}").json()
    return under_way and times[-1] - times[0] > 0.2


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_cancelled_on_its_way(api: Api, upstream: Upstream, streamed: bool) -> None:
    """Its stream ends with the whole object, as far as it came."""
    body = {"model": upstream.model, "input": ENDLESS, "background": True, "stream": streamed}
    if not streamed:
        first = api.client.post("/responses", json=body).json()
        cancelled = api.client.post(f"/responses/{first['id']}/cancel").json()
        assert cancelled["status"] == "cancelled"
        assert ended(api, cancelled) == cancelled
        return
    events = []
    with api.client.stream("POST", "/responses", json=body) as response:
        for event in events_of(response.iter_lines()):
            events.append(event)
            if len([one for one in events if one["type"] == "response.output_text.delta"]) == 2:
                cancelled = api.client.post(f"/responses/{events[0]['response']['id']}/cancel").json()
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.incomplete"
    final = events[-1]["response"]
    check_answer(final)
    assert final == cancelled == api.client.get(f"/responses/{final['id']}").json()
    assert final["status"] == "cancelled"
    assert text_of(final).startswith("The quick")
    query = {"stream": "true", "starting_after": str(len(events) - 3)}
    with api.client.stream("GET", f"/responses/{final['id']}", params=query) as response:
        assert list(events_of(response.iter_lines())) == events[-2:]


def test_deleted_on_its_way(api: Api) -> None:
    body = {"model": "openai:openai.chat", "input": ENDLESS, "background": True, "stream": True}
    seen = leave(api, body, "response.output_text.delta")
    path = f"/responses/{seen[0]['response']['id']}"
    assert api.client.delete(path).json()["deleted"] is True
    for query in ({}, {"stream": "true"}):
        assert api.client.get(path, params=query).status_code == 404
    time.sleep(0.3)  # whatever was still to be written
    assert api.client.get(path).status_code == 404
