"""What goes wrong upstream, and what the client sees of it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from conftest import Gate, Opener
from scripts import COST, EVENTS, SAID, hangs, notes, resets, says, streams, talks
from upstream import Call

from tests.patience import PATIENCE, until

MODES = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


def oops(kind: str, say: str, **more: Any) -> dict[str, Any]:
    return {"oops": {"kind": kind, "say": say, **more}}


def two_keys(value: dict[str, Any]) -> None:
    """A second provider that speaks the same format stands behind the first."""
    value["providers"]["two"] = {**value["providers"]["one"], "api_key": "second-secret"}
    value["models"]["pair"] = {
        **value["models"]["plain"],
        "targets": [{"provider": "one", "model": "a"}, {"provider": "two", "model": "b"}],
    }


@MODES
@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_refused_key_is_our_fault_and_never_told(gate: Gate, status: int, stream: bool) -> None:
    gate.upstream.plays(says(oops("authentication", "bad key provider-secret of org-77"), status))
    answer = await gate.talk(stream=stream)
    assert answer.status_code == 503
    error = answer.json()["oops"]
    assert (error["kind"], error["code"]) == ("unavailable", "no_active_provider_key")
    assert "nexeon provider-keys add one" in error["say"]
    assert "org-77" not in answer.text
    assert "provider-secret" not in answer.text
    assert await gate.spent() == 0


async def test_the_next_key_is_tried_after_a_refusal_and_a_limit(gate: Gate) -> None:
    await _add_keys(gate, "second-key", "third-key")
    gate.upstream.plays(says(oops("x", "no"), 401), says(oops("x", "slow"), 429), talks())
    answer = await gate.talk()
    assert answer.status_code == 200
    used = [call.headers["x-secret"] for call in gate.upstream.calls]
    assert sorted(used) == ["Key provider-secret", "Key second-key", "Key third-key"]
    for _ in range(3):
        await gate.talk()
    assert {call.headers["x-secret"] for call in gate.upstream.calls[3:]} == {used[2]}, "the others rest"


@MODES
async def test_a_rate_limit_is_told_with_its_time(gate: Gate, stream: bool) -> None:
    gate.upstream.plays(says(oops("rate_limit", "slow down"), 429, {"retry-after": "7"}))
    answer = await gate.talk(stream=stream)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert "x-should-retry" not in answer.headers
    assert answer.json()["oops"]["kind"] == "rate_limit"
    assert len(gate.upstream.calls) == 1
    assert await gate.spent() == 0


@MODES
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_the_clients_fault_keeps_status_and_message(gate: Gate, status: int, stream: bool) -> None:
    gate.upstream.plays(says({"whoops": {"kind": "invalid_request", "say": "bad picture", "param": "say[0]"}}, status))
    answer = await gate.talk(stream=stream)
    assert answer.status_code == status
    assert answer.json()["oops"]["say"] == "bad picture"
    assert answer.json()["oops"]["param"] == "say[0]"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-nexeon-provider"] == "one"
    assert len(gate.upstream.calls) == 1
    assert await gate.spent() == 0


@MODES
async def test_an_unknown_model_upstream_is_a_fault_of_the_configuration(gate: Gate, stream: bool) -> None:
    gate.upstream.plays(says(oops("not_found", "no such model plain-up"), 404))
    answer = await gate.talk(stream=stream)
    assert answer.status_code == 502
    assert "plain-up" not in answer.text
    assert len(gate.upstream.calls) == 1
    gate.upstream.plays(says(oops("model_not_found", "unknown"), 400))
    assert (await gate.talk(stream=stream)).status_code == 502


@MODES
async def test_a_failing_provider_is_asked_again_and_then_told_of(gate: Gate, stream: bool) -> None:
    gate.upstream.plays(says(oops("x", "boom"), 500), says(b"<html>down</html>", 503, kind="text/html"), talks())
    assert (await gate.talk(stream=stream)).status_code == 200
    assert len(gate.upstream.calls) == 3
    gate.upstream.plays(says(oops("x", "boom"), 500))
    answer = await gate.talk(stream=stream)
    assert answer.status_code == 502
    assert answer.json()["oops"]["kind"] == "upstream"
    assert "boom" in answer.json()["oops"]["say"]
    assert len(gate.upstream.calls) == 6
    assert await gate.spent() == COST


@MODES
@pytest.mark.parametrize("first", ["500", "404", "429", "401", "reset", "html", "cut", "mute"])
async def test_the_next_target_answers(opened: Opener, first: str, stream: bool) -> None:
    async def cut(call: Call) -> None:
        await call.raw(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        call.reset()

    def change(value: dict[str, Any]) -> None:
        two_keys(value)
        if first == "mute":
            one = value["providers"]["one"]
            value["providers"]["one"] = {**one, "timeouts": {**one["timeouts"], "first_byte": 0.3}}

    scripts = {
        "500": says(oops("x", "no"), 500), "404": says(oops("x", "no"), 404), "429": says(oops("x", "no"), 429),
        "401": says(oops("x", "no"), 401), "reset": resets, "html": says(b"<html>", kind="text/html"), "cut": cut,
        "mute": hangs,
    }  # fmt: skip
    gate = await opened(change)
    gate.upstream.plays(scripts[first], talks())
    answer = await gate.talk("pair", stream=stream)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-nexeon-provider"] == "two"
    assert gate.upstream.calls[1].json["model"] == "b"
    assert len(gate.upstream.calls) == 2
    assert await gate.spent() == COST


@MODES
async def test_a_refused_connection_is_a_bad_gateway(opened: Opener, stream: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gate = await opened(lambda value: value["providers"]["one"].update(base_url=f"http://127.0.0.1:{port}"))
    gate.upstream.plays(talks())
    answer = await gate.talk(stream=stream)
    assert answer.status_code == 502
    assert "cannot be reached" in answer.json()["oops"]["say"]
    assert await gate.spent() == 0


@MODES
async def test_no_first_byte_is_a_timeout_and_not_asked_twice(opened: Opener, stream: bool) -> None:
    gate = await opened(lambda value: value["providers"]["one"]["timeouts"].update(first_byte=0.2))
    gate.upstream.plays(hangs)
    answer = await gate.talk(stream=stream)
    assert answer.status_code == 504
    assert answer.json()["oops"]["kind"] == "upstream_timeout"
    assert "0.2 s" in answer.json()["oops"]["say"]
    await until(lambda: gate.upstream.calls)
    assert len(gate.upstream.calls) == 1
    await asyncio.wait_for(gate.upstream.calls[0].left.wait(), PATIENCE)
    assert await gate.spent() == 0


@MODES
async def test_a_pause_in_the_answer_is_a_timeout(opened: Opener, stream: bool) -> None:
    async def pause(call: Call) -> None:
        if stream:
            await call.begin_stream()
        else:
            await call.raw(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        await call.wait_left()

    gate = await opened(lambda value: value["providers"]["one"]["timeouts"].update(idle=0.2))
    gate.upstream.plays(pause)
    answer = await gate.talk(stream=stream)
    assert answer.status_code == 504
    assert "nothing for 0.2 s" in answer.json()["oops"]["say"]
    assert await gate.spent() == 0


@MODES
async def test_a_reset_at_each_stage_is_a_bad_gateway(opened: Opener, stream: bool) -> None:
    async def in_headers(call: Call) -> None:
        await call.raw(b"HTTP/1.1 200 X\r\ncontent-ty")
        call.reset()

    async def in_body(call: Call) -> None:
        await call.raw(b'HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"id"')
        call.reset()

    async def after_stream_headers(call: Call) -> None:
        await call.begin_stream()
        call.reset()

    async def short_body(call: Call) -> None:
        await call.raw(b'HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"id"')
        call.writer.close()

    gate = await opened()
    stages = [resets, in_headers] + ([after_stream_headers] if stream else [in_body, short_body])
    for stage in stages:
        gate.upstream.calls.clear()
        gate.upstream.plays(stage)
        answer = await gate.talk(stream=stream)
        assert answer.status_code == 502, stage
        assert "broke" in answer.json()["oops"]["say"]
        assert len(gate.upstream.calls) == 3, "asked again, each time before the client had a byte"
        assert await gate.spent() == 0


async def test_the_wrong_kind_of_answer(gate: Gate) -> None:
    wrong = [
        (True, says(SAID), "application/json where a stream was asked for"),
        (True, says(b"<html>", kind="text/html"), "text/html where a stream was asked for"),
        (False, streams(*EVENTS), "a stream where one answer was asked for"),
        (False, says(b"<html>", kind="text/html"), "text/html that is not JSON"),
        (False, says(b"", kind="application/json"), "application/json that is not JSON"),
        (False, says([1]), "no object"),
    ]
    for stream, script, message in wrong:
        gate.upstream.plays(script)
        answer = await gate.talk(stream=stream)
        assert answer.status_code == 502
        assert message in answer.json()["oops"]["say"]
        assert await gate.spent() == 0


@MODES
async def test_an_error_inside_status_200_is_an_error(gate: Gate, stream: bool) -> None:
    gate.upstream.plays(says({"error": {"code": 1}, **oops("rate_limit", "too many")}))
    answer = await gate.talk(stream=stream)
    assert answer.status_code == 429
    assert await gate.spent() == 0


async def test_an_error_event_before_any_text_can_still_go_elsewhere(opened: Opener) -> None:
    gate = await opened(two_keys)
    failing = streams({"id": "talk_1"}, {"oops": {"kind": "overloaded", "say": "full"}}, end=None)
    gate.upstream.plays(failing, talks())
    answer = await gate.talk("pair", stream=True)
    assert answer.headers["x-nexeon-provider"] in ("one", "two")
    gate.upstream.plays(streams({"oops": {"kind": "rate_limit", "say": "slow"}}, end=None))
    alone = await gate.talk(stream=True)
    assert alone.status_code == 429
    assert alone.json()["oops"]["kind"] == "rate_limit"


@pytest.mark.parametrize("model", ["plain", "noted"])
async def test_an_error_event_in_the_middle_ends_the_stream_in_the_clients_words(gate: Gate, model: str) -> None:
    def script() -> Any:
        if model == "plain":
            failing = {"oops": {"kind": "overloaded", "say": "full"}, "more": 1}
            return streams(*EVENTS[:2], failing, end=None, pause=0.02)
        return streams(
            {"type": "begin"}, {"type": "words", "words": "hel"}, {"type": "fail", "kind": "overloaded", "why": "full"},
            end=None, pause=0.02,
        )  # fmt: skip

    gate.upstream.plays(script())
    answer = await gate.talk(model, stream=True)
    assert answer.status_code == 200
    assert "hel" in answer.text
    last = answer.text.strip().rsplit("\n\n", 1)[-1]
    assert "full" in last
    assert "[END]" not in answer.text
    assert ('"more": 1' in last) == (model == "plain"), "piped as it came"
    assert await gate.spent() > 0
    assert (await gate.last_charge()).estimated


async def test_a_refused_key_in_the_middle_of_a_stream_is_not_told(gate: Gate) -> None:
    event = {"oops": {"kind": "authentication", "say": "key provider-secret is bad"}}
    gate.upstream.plays(streams(*EVENTS[:2], event, end=None, pause=0.02))
    answer = await gate.talk(stream=True)
    assert "unavailable" in answer.text
    assert "is bad" not in answer.text


@pytest.mark.parametrize("how", ["reset", "end", "marker", "half"])
@pytest.mark.parametrize("model", ["plain", "noted"])
async def test_a_cut_stream_is_an_error_and_never_a_quiet_success(gate: Gate, how: str, model: str) -> None:
    async def cut(call: Call) -> None:
        await call.begin_stream()
        for event in EVENTS[:2] if model == "plain" else [{"type": "begin"}, {"type": "words", "words": "hel"}]:
            await call.event(event)
            await asyncio.sleep(0.02)
        if how == "reset":
            call.reset()
            return
        if how == "half":
            await call.chunk(b'data: {"text": "l')
        if how == "marker" and model == "plain":
            await call.event(b"[END]")
        await call.end_stream()

    gate.upstream.plays(cut)
    answer = await gate.talk(model, stream=True)
    assert "hel" in answer.text
    assert "[END]" not in answer.text
    assert '"oops"' in answer.text.strip().rsplit("\n\n", 1)[-1]
    assert await gate.spent() > 0, "what was produced is paid"
    assert (await gate.last_charge()).estimated


async def test_an_idle_stream_ends_with_an_error_event(opened: Opener) -> None:
    async def pause(call: Call) -> None:
        await call.begin_stream()
        await call.event(EVENTS[1])
        await call.wait_left()

    gate = await opened(lambda value: value["providers"]["one"]["timeouts"].update(idle=0.2))
    gate.upstream.plays(pause)
    answer = await gate.talk(stream=True)
    assert "upstream_timeout" in answer.text


async def test_without_a_key_the_answer_says_what_to_do(opened: Opener) -> None:
    gate = await opened(lambda value: value["providers"]["one"].update(api_key="${TALK_KEY:-}"))
    gate.upstream.plays(talks())
    answer = await gate.talk()
    assert answer.status_code == 503
    assert answer.json()["oops"]["say"] == (
        "no active key for provider `one`: `nexeon provider-keys add one`, or set TALK_KEY"
    )
    assert not gate.upstream.calls
    gate.upstream.plays(notes())
    assert (await gate.talk("both")).headers["x-nexeon-provider"] == "noter", "another target has one"


async def test_a_conversation_with_seals_prefers_the_organisation_that_made_them(gate: Gate) -> None:
    from nexeon.admin import AdminService
    from nexeon.mapping.seals import close_envelope

    service = AdminService(gate.store, gate.gateway.config)
    for organisation in ("red", "blue", "green"):
        await service.provider_keys.add(provider="one", secret=f"{organisation}-key", account=organisation)
    gate.upstream.plays(talks())
    seal = {"provider": "one", "account": "blue", "model": "m", "format": "talk", "kind": "signature", "data": "proof"}
    said = {"who": "model", "text": "x", "proof": close_envelope(seal)}
    for _ in range(4):
        await gate.talk(say=[said])
        assert gate.upstream.calls[-1].headers["x-secret"] == "Key blue-key"
        assert gate.upstream.calls[-1].json["say"][0]["proof"] == "proof"


async def _add_keys(gate: Gate, *secrets: str) -> None:
    from nexeon.admin import AdminService

    service = AdminService(gate.store, gate.gateway.config)
    for secret in secrets:
        await service.provider_keys.add(provider="one", secret=secret)
