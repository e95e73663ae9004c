"""Same format on both sides: what the client sends goes up, what the provider sends comes down."""

from __future__ import annotations

import json

from conftest import Gate
from scripts import COST, EVENTS, SAID, USAGE, says, streams, talks


def data_lines(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]


async def test_the_body_goes_up_with_declared_patches_only(gate: Gate) -> None:
    gate.upstream.plays(talks())
    sent = {
        "model": "plain",
        "say": [{"who": "user", "text": "hi", "later_field": [1, {"deep": None}]}],
        "unknown": {"big": 12345678901234567890123, "nothing": None},
        "keep": True,
    }
    answer = await gate.client.post("/talk", json=sent)
    assert answer.status_code == 200
    call = gate.upstream.calls[0]
    assert (call.method, call.path) == ("POST", "/base/talk")
    assert call.json == {**sent, "model": "plain-up", "keep": False}
    assert b"12345678901234567890123" in call.body


async def test_headers_go_neither_up_nor_down_unless_they_are_ours(gate: Gate) -> None:
    gate.upstream.plays(says(headers={"set-cookie": "a=b", "x-secret-thing": "1", "openai-organization": "org"}))
    answer = await gate.client.post(
        "/talk", json={"model": "plain", "say": [{"who": "user"}]}, headers={"x-mine": "1", "cookie": "c=d"}
    )
    headers = gate.upstream.calls[0].headers
    assert headers["x-secret"] == "Key provider-secret"
    assert headers["x-version"] == "7"
    assert not {"authorization", "x-mine", "cookie"} & set(headers)
    assert gate.key not in str(headers)
    assert not {"set-cookie", "x-secret-thing", "openai-organization"} & set(answer.headers)
    await gate.talk()
    assert "cookie" not in gate.upstream.calls[1].headers


async def test_headers_go_up_that_the_mapping_passes_on_or_the_body_needs(gate: Gate) -> None:
    gate.upstream.plays(talks(), talks(), talks())
    sent = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
    await gate.client.post("/talk", json={**sent, "needs": "a beta"}, headers={"x-wish": "more", "x-mine": "1"})
    assert {name: gate.upstream.calls[0].headers.get(name) for name in ("x-wish", "x-need", "x-mine")} == {
        "x-wish": "more",
        "x-need": "a beta",
        "x-mine": None,
    }
    await gate.talk()
    assert not {"x-wish", "x-need"} & set(gate.upstream.calls[1].headers)
    # a client of another format has none of this one's
    await gate.client.post("/notes/plain", json={"lines": ["hi"]}, headers={"x-wish": "more"})
    assert "x-wish" not in gate.upstream.calls[2].headers


async def test_the_answer_comes_down_as_it_came_but_for_the_mark_in_its_id(gate: Gate) -> None:
    said = {**SAID, "novelty": [1.50, None, {"x": {}}], "nested": {"id": "talk_keep"}}
    gate.upstream.plays(says(said))
    answer = await gate.talk()
    assert answer.json() == {**said, "id": "talk_nex-abc"}
    assert answer.headers["x-nexeon-provider"] == "one"
    assert answer.headers["x-nexeon-model"] == "plain"
    assert "x-nexeon-dropped" not in answer.headers
    assert answer.headers["x-request-id"].startswith("req_")
    assert await gate.spent() == COST


async def test_an_answer_without_ids_is_the_same_bytes(gate: Gate) -> None:
    raw = b'{ "text" : "hello",  "end":"stop", "usage": {"in": 10, "out": 5}, "f": 1.0 }'
    gate.upstream.plays(says(raw))
    assert (await gate.talk()).content == raw
    assert await gate.spent() == COST


async def test_what_the_mapping_does_not_know_passes_and_is_charged_by_size(gate: Gate) -> None:
    gate.upstream.plays(says({"text": 5, "end": {"odd": 1}, "id": "talk_1"}))
    answer = await gate.talk()
    assert answer.status_code == 200
    assert answer.json()["end"] == {"odd": 1}
    assert await gate.spent() > 0
    assert (await gate.last_charge()).estimated


async def test_our_mark_is_taken_out_of_ids_that_come_back(gate: Gate) -> None:
    gate.upstream.plays(talks())
    await gate.talk(say=[{"who": "model", "id": "talk_nex-abc"}, {"who": "user", "id": "talk_own"}])
    assert [line["id"] for line in gate.upstream.calls[0].json["say"]] == ["talk_abc", "talk_own"]


async def test_events_come_down_as_they_came(gate: Gate) -> None:
    odd = [{"novelty": 1, "n": 1.50}, {"strange": True}]
    gate.upstream.plays(streams(*EVENTS[:2], *odd, *EVENTS[2:], USAGE))
    answer = await gate.talk(stream=True, options={"usage": True, "other": 1})
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = data_lines(answer.text)
    assert lines[-1] == "[END]"
    assert [json.loads(line) for line in lines[:-1]] == [
        {"id": "talk_nex-abc"}, EVENTS[1], *odd, *EVENTS[2:], USAGE,
    ]  # fmt: skip
    assert lines[1] == json.dumps(EVENTS[1]), "the very bytes"
    assert gate.upstream.calls[0].json["options"] == {"usage": True, "other": 1}
    assert await gate.spent() == COST


async def test_usage_is_asked_for_and_hidden_where_the_client_did_not(gate: Gate) -> None:
    both = {"text": "lo", "usage": {"in": 1, "out": 1}}
    gate.upstream.plays(streams(*EVENTS[:2], both, EVENTS[3], USAGE))
    answer = await gate.talk(stream=True, options={"other": 1})
    assert gate.upstream.calls[0].json["options"] == {"usage": True, "other": 1}
    assert "usage" not in answer.text
    assert [json.loads(line) for line in data_lines(answer.text)[:-1]] == [
        {"id": "talk_nex-abc"}, {"text": "hel"}, {"text": "lo"}, {"end": "stop"},
    ]  # fmt: skip
    assert await gate.spent() == COST


async def test_a_dialect_drops_and_says_so_and_rejects(gate: Gate) -> None:
    gate.upstream.plays(talks())
    answer = await gate.talk(shout=True)
    assert answer.headers["x-nexeon-dropped"] == "shout"
    assert "shout" not in gate.upstream.calls[0].json
    refused = await gate.talk(model="strict", whisper=True)
    assert refused.status_code == 400
    assert refused.json()["oops"] == {
        "kind": "invalid_request", "say": "this model does not whisper", "param": "whisper",
    }  # fmt: skip
    assert refused.headers["x-should-retry"] == "false"
    assert len(gate.upstream.calls) == 1


async def test_a_connection_is_kept_for_the_next_call(gate: Gate) -> None:
    gate.upstream.plays(talks())
    for stream in (False, True, False, True):
        assert (await gate.talk(stream=stream)).status_code == 200
    assert gate.upstream.connections == 1


async def test_a_marker_that_never_comes_is_added(gate: Gate) -> None:
    gate.upstream.plays(streams(*EVENTS, USAGE, end=None))
    answer = await gate.talk(stream=True)
    assert data_lines(answer.text)[-1] == "[END]"
    assert await gate.spent() == COST
