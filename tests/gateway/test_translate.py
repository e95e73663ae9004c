"""Between two formats, and the choice of the target's."""

from __future__ import annotations

import json
from typing import Any

from conftest import Gate, Opener
from scripts import COST, NOTED, notes, says, streams, talks


def events(text: str) -> list[tuple[str | None, Any]]:
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("event"), json.loads(fields["data"]) if fields["data"][0] == "{" else fields["data"]))
    return found


async def test_json_from_one_format_to_the_other(gate: Gate) -> None:
    gate.upstream.plays(notes())
    answer = await gate.talk("noted", limit=7)
    call = gate.upstream.calls[0]
    assert call.path == "/noter/notes/noted-up"
    assert call.json == {"lines": ["hi"], "most": 7}
    assert call.headers["x-secret"] == "Key noter-secret"
    body = answer.json()
    assert {key: body[key] for key in ("model", "text", "end", "usage")} == {
        "model": "noted", "text": "hello", "end": "stop", "usage": {"in": 10, "out": 5},
    }  # fmt: skip
    assert body["id"].startswith("talk_nex-")
    assert answer.headers["x-nexeon-provider"] == "noter"
    assert await gate.spent() == COST


async def test_a_model_in_the_url_with_slashes_and_an_alias(gate: Gate) -> None:
    gate.upstream.plays(notes())
    for name in ("with/slash", "nick", "with%2Fslash"):
        answer = await gate.client.post(f"/notes/{name}", json={"lines": ["hi"]})
        assert answer.json() == NOTED, answer.text
        assert answer.headers["x-nexeon-model"] == "with/slash"
    assert gate.upstream.calls[0].path == "/noter/notes/s/up"


async def test_a_stream_from_one_format_to_the_other(gate: Gate) -> None:
    gate.upstream.plays(notes())
    answer = await gate.talk("noted", stream=True, options={"usage": True})
    assert gate.upstream.calls[0].path == "/noter/notes/noted-up/stream?as=sse"
    got = events(answer.text)
    assert got[0][1]["id"].startswith("talk_nex-")
    assert got[1:] == [
        (None, {"text": "hel"}), (None, {"text": "lo"}), (None, {"end": "stop"}),
        (None, {"usage": {"in": 10, "out": 5}}), (None, "[END]"),
    ]  # fmt: skip
    assert await gate.spent() == COST


async def test_named_events_and_an_end_without_a_marker(gate: Gate) -> None:
    gate.upstream.plays(talks())
    answer = await gate.client.post("/notes/plain/stream?as=sse", json={"lines": ["hi"]})
    assert gate.upstream.calls[0].json == {
        "model": "plain-up", "say": [{"who": "user", "text": "hi"}], "stream": True, "options": {"usage": True},
        "keep": False,
    }  # fmt: skip
    assert events(answer.text) == [
        ("begin", {"type": "begin"}),
        ("words", {"type": "words", "words": "hel"}),
        ("words", {"type": "words", "words": "lo"}),
        ("finish", {"type": "finish", "tokens": [10, 5]}),
    ]
    assert await gate.spent() == COST


async def test_a_stream_as_one_json_array_piped_and_translated(gate: Gate) -> None:
    gate.upstream.plays(talks(), notes())
    for model in ("plain", "noted"):
        answer = await gate.client.post(f"/notes/{model}/stream", json={"lines": ["hi"]})
        assert answer.headers["content-type"] == "application/json"
        assert [event["type"] for event in answer.json()] == ["begin", "words", "words", "finish"]
    assert await gate.spent() == 2 * COST


async def test_a_stream_as_an_array_is_closed_after_an_error_too(gate: Gate) -> None:
    words = [{"type": "begin"}, {"type": "words", "words": "hel"}]
    failing = {"type": "fail", "kind": "overloaded", "why": "full"}
    for model, script in (
        ("noted", streams(*words, failing, end=None, pause=0.02)),
        ("plain", streams({"text": "hel"}, {"oops": {"kind": "overloaded", "say": "full"}}, end=None, pause=0.02)),
        ("noted", streams(*words, end=None, pause=0.02)),
    ):
        gate.upstream.plays(script)
        answer = await gate.client.post(f"/notes/{model}/stream", json={"lines": ["hi"]})
        assert answer.json()[-1]["type"] == "fail"


async def test_a_provider_that_speaks_the_clients_format_is_piped_unless_the_target_names_one(opened: Opener) -> None:
    def change(value: dict[str, Any]) -> None:
        value["providers"]["one"]["formats"] = ["note", "talk"]
        value["models"]["named"] = {
            **value["models"]["plain"], "targets": [{"provider": "one", "model": "up", "format": "note"}],
        }  # fmt: skip

    gate = await opened(change)
    gate.upstream.plays(talks(), notes(), notes())
    await gate.talk("plain")
    assert gate.upstream.calls[0].path == "/base/talk"
    await gate.talk("named")
    assert gate.upstream.calls[1].path == "/base/notes/up"
    await gate.client.post("/notes/plain", json={"lines": ["hi"]})
    assert gate.upstream.calls[2].path == "/base/notes/plain-up"


async def test_what_the_target_cannot_say_is_reported_or_refused_in_the_clients_words(gate: Gate) -> None:
    gate.upstream.plays(notes())
    answer = await gate.talk("noted", top=3)
    assert answer.headers["x-nexeon-dropped"] == "top"
    refused = await gate.talk("noted", seed=5)
    assert refused.status_code == 400
    assert refused.json()["oops"]["param"] == "seed"
    assert refused.json()["oops"]["say"] == "notes have no seed"
    assert len(gate.upstream.calls) == 1
    assert await gate.spent() == COST


async def test_a_strict_request_is_refused_before_anything_is_dropped(gate: Gate) -> None:
    body = {"model": "noted", "say": [{"who": "user", "text": "hi"}], "top": 3}
    refused = await gate.client.post("/talk", json=body, headers={"x-nexeon-strict": "true"})
    assert refused.status_code == 400
    assert refused.json()["oops"]["param"] == "top"
    assert "cannot be told: top" in refused.json()["oops"]["say"]
    assert gate.upstream.calls == []
    assert await gate.spent() == 0


async def test_what_an_answer_lost_is_counted(gate: Gate) -> None:
    words = [{"type": "begin"}, {"type": "words", "words": "hello"}, {"type": "aside"}]
    gate.upstream.plays(
        says(NOTED | {"aside": "by the way"}),
        streams(*words, {"type": "finish", "tokens": [10, 5]}, end=None),
    )
    assert (await gate.talk("noted")).json()["text"] == "hello"
    assert "hello" in (await gate.talk("noted", stream=True)).text
    await gate.released()
    assert 'nexeon_response_losses_total{provider="noter"} 2' in (await gate.client.get("/metrics")).text


async def test_a_target_that_refuses_leaves_the_request_to_the_next(opened: Opener) -> None:
    def change(value: dict[str, Any]) -> None:
        value["models"]["both"]["targets"].reverse()

    gate = await opened(change)
    gate.upstream.plays(talks())
    answer = await gate.talk("both", seed=5)
    assert answer.status_code == 200
    assert answer.headers["x-nexeon-provider"] == "one"


async def test_a_request_that_cannot_be_decoded_names_the_place(gate: Gate) -> None:
    answer = await gate.talk("noted", say=[{"who": "user", "text": "a"}, {"who": "user", "text": 5}])
    assert answer.status_code == 400
    assert answer.json()["oops"]["param"] == "say[1]"
    assert answer.json()["oops"]["say"] == "text must be text"
    assert await gate.spent() == 0


async def test_an_answer_that_makes_no_sense_is_a_bad_gateway_and_free(gate: Gate) -> None:
    gate.upstream.plays(says({"tokens": "x"}))
    answer = await gate.talk("noted")
    assert answer.status_code == 502
    assert len(gate.upstream.calls) == 1, "the same again would be as bad"
    assert await gate.spent() == 0


async def test_an_event_that_makes_no_sense_ends_the_stream_with_an_error(gate: Gate) -> None:
    gate.upstream.plays(
        streams({"type": "begin"}, {"type": "words", "words": "12345678"}, {"type": "odd"}, end=None, pause=0.05)
    )
    got = events((await gate.talk("noted", stream=True)).text)
    assert got[-1][1]["oops"]["kind"] == "upstream"
    assert (await gate.last_charge()).estimated
    assert await gate.spent() > 0
