"""`kill -9` in the midst of answers in the background, again and again: what is told of them afterwards is true."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from nexeon.store.records import Account, ApiKey
from nexeon.store.secrets import digest, last4, new_secret
from nexeon.store.tinydb_engine import TinyStore
from tests.patience import PATIENCE, wait_until

from .judge import FINAL, Json, check_answer, check_stream, read_events, text_of
from .served import Served
from .test_leaving import events_of

MODELS = ("openai:openai.responses", "anthropic:anthropic.messages", "gemini:gemini.generate_content")
TEXT = "[[delay 30ms]] [[tokens 100]]"
ROUNDS = 3


@pytest.fixture
async def served(tmp_path: Path) -> Served:
    secret = new_secret()
    store = await TinyStore.open(tmp_path / "store")
    await store.add(Account("acc_1", "acme", 0.0))
    await store.add(ApiKey("key_1", "acc_1", "k", 0.0, digest(secret), last4(secret)))
    await store.post("acc_1", "grant", 10**12)
    await store.close()
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"store": {"url": f"tinydb:{tmp_path / 'store'}"}}))
    (tmp_path / "key").write_text(secret)
    models = Path(__file__).parents[1] / "sdk" / "upstreams.yaml"
    return Served(tmp_path, [models, tmp_path / "own.yaml"])


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    secret = (served.folder / "key").read_text()
    with httpx.Client(headers={"authorization": f"Bearer {secret}"}, timeout=PATIENCE) as made:
        yield made
    served.end(signal.SIGKILL)


def begin(served: Served, client: httpx.Client) -> None:
    served.start()
    client.base_url = httpx.URL(served.url)


def until_complete(client: httpx.Client, id: str) -> Json:
    def complete() -> Json | None:
        answer: Json = client.get(f"/responses/{id}").json()
        return answer if answer["status"] == "completed" else None

    found: Json = wait_until(complete)
    return found


def flush(client: httpx.Client) -> None:
    """What was told is on the disk before another answer is promised."""
    body = {"model": MODELS[0], "background": True, "input": "[[first-byte 600s]] Later"}
    assert client.post("/responses", json=body).status_code == 200


def test_killed(served: Served, client: httpx.Client) -> None:
    chance = random.Random(20)
    begin(served, client)
    lost: dict[str, Json] = {}
    for number in range(ROUNDS):
        model = MODELS[number % len(MODELS)]
        body = {"model": model, "background": True}
        soon = client.post("/responses", json={**body, "input": "Soon"}).json()
        late = client.post("/responses", json={**body, "input": "[[first-byte 600s]] Late"}).json()
        seen: list[Json] = []
        with client.stream("POST", "/responses", json={**body, "input": TEXT, "stream": True}) as response:
            wanted = chance.randint(4, 40)
            for event in events_of(response.iter_lines()):
                seen.append(event)
                if len(seen) > wanted:
                    break
        soon = until_complete(client, soon["id"])
        flush(client)
        served.end(signal.SIGKILL)
        begin(served, client)
        assert client.get(f"/responses/{soon['id']}").json() == soon
        for id in (late["id"], seen[0]["response"]["id"]):
            lost[id] = answer = client.get(f"/responses/{id}").json()
            check_answer(answer)
            assert answer["status"] == "failed"
            assert "stopped" in answer["error"]["message"]
        assert lost[late["id"]]["output"] == []
        streamed = seen[0]["response"]["id"]
        events = read_events(client.get(f"/responses/{streamed}", params={"stream": "true"}))
        assert events[: len(seen)] == seen
        assert check_stream(events, background=True, failed=True) == lost[streamed]
        deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
        assert text_of(lost[streamed]) == "".join(deltas)
        rest = read_events(client.get(f"/responses/{streamed}?stream=true&starting_after={len(events) - 3}"))
        assert rest == events[-2:]
        more = client.post("/responses", json={"model": model, "input": "And on", "previous_response_id": streamed})
        assert text_of(more.json()) == "Echo: And on", more.text
    # later deaths change nothing of what was told of earlier ones
    for id, answer in lost.items():
        assert client.get(f"/responses/{id}").json() == answer


def test_killed_while_many_end(served: Served, client: httpx.Client) -> None:
    """At whichever moment of its life an answer is, afterwards it has an end, and always the same one."""
    begin(served, client)
    ids = []
    for number in range(60):
        pause = f"[[first-byte {number * 10 if number < 57 else 600_000}ms]] Hi"
        body = {"model": MODELS[number % 3], "input": pause, "background": True, "stream": number % 2 == 0}
        if body["stream"]:
            with client.stream("POST", "/responses", json=body) as response:
                ids.append(next(events_of(response.iter_lines()))["response"]["id"])
        else:
            ids.append(client.post("/responses", json=body).json()["id"])
    until_complete(client, ids[0])
    flush(client)
    served.end(signal.SIGKILL)
    begin(served, client)
    for number, id in enumerate(ids):
        answer = client.get(f"/responses/{id}").json()
        assert answer["status"] in ("completed", "failed"), answer
        assert answer["status"] in FINAL
        check_answer(answer)
        if number % 2 == 0:
            events = read_events(client.get(f"/responses/{id}?stream=true"))
            assert check_stream(events, background=True, failed=answer["status"] == "failed") == answer
        assert client.get(f"/responses/{id}").json() == answer
    statuses = [client.get(f"/responses/{id}").json()["status"] for id in ids]
    assert {"completed", "failed"} == set(statuses), json.dumps(statuses)
