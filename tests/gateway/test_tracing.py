"""Traces, as a collector gets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from scripts import says, talks
from served import Served, served
from upstream import Call, Upstream

pytest.importorskip("opentelemetry.sdk")

from collector import Collector

from nexeon.admin import connect
from nexeon.config import load_config
from nexeon.gateway.observe.tracing import open_tracer
from tests.patience import until

BODY = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    server = Collector()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def traced(upstream: Upstream, collector: Collector, tmp_path: Path) -> AsyncIterator[Served]:
    def change(value: dict[str, Any]) -> None:
        value["tracing"] = {"enabled": True, "endpoint": f"{collector.url}/v1/traces", "delay": 0.05, "service": "mine"}
        value["providers"]["noter"]["otel_name"] = "known.otherwise"
        value["models"]["both"]["targets"] = [
            {"provider": "noter", "model": "b"}, {"provider": "one", "model": "a"}
        ]  # fmt: skip

    server = served(tmp_path, upstream.url, change)
    await server.begin()
    yield server
    await server.end()


async def test_a_request_and_its_calls(traced: Served, upstream: Upstream, collector: Collector) -> None:
    upstream.plays(says({"problem": "busy"}, 500), talks())
    async with traced.client() as http:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=1"}
        answer = await http.post("/talk", json={**BODY, "model": "both"}, headers=headers)
    assert answer.status_code == 200
    await until(lambda: len(collector.spans) == 3)
    server = next(span for span in collector.spans if span["kind"] == 2)
    failed, good = sorted((span for span in collector.spans if span["kind"] == 3), key=lambda span: -span["status"])
    assert {span["trace"] for span in collector.spans} == {TRACE}
    assert (server["parent"], failed["parent"], good["parent"]) == (PARENT, server["id"], server["id"])
    assert (server["name"], good["name"], server["service"]) == ("chat both", "chat a", "mine")
    assert server["path"] == "/v1/traces"
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "one",
        "gen_ai.request.model": "both",
        "gen_ai.response.model": "plain-up",  # as the answer says
        "gen_ai.response.id": "talk_abc",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "http.response.status_code": 200,
        "nexeon.request.id": answer.headers["x-request-id"],
        "status": 0,
    }
    assert {name: server.get(name) for name in expected} == expected
    assert (failed["gen_ai.provider.name"], failed["error.type"], failed["status"]) == ("known.otherwise", "broken", 2)
    for name in ("gen_ai.response.id", "gen_ai.response.finish_reasons", "gen_ai.usage.input_tokens"):
        assert (good[name], name in failed) == (server[name], False)
    assert (failed["http.response.status_code"], good["server.address"]) == (500, "127.0.0.1")
    sent = [call.headers["traceparent"] for call in upstream.calls]
    assert sent == [f"00-{TRACE}-{span['id']}-01" for span in (failed, good)]
    assert {call.headers["tracestate"] for call in upstream.calls} == {"a=1"}


async def test_a_stream_lasts_as_long_as_it_does(traced: Served, upstream: Upstream, collector: Collector) -> None:
    seen = asyncio.Event()

    async def slow(call: Call) -> None:
        await call.begin_stream()
        await call.event({"id": "talk_1"})
        await call.event({"text": "x"})
        await seen.wait()
        await asyncio.sleep(0.3)
        await call.event({"end": "stop"})
        await call.event({"usage": {"in": 9, "out": 2, "cached": 4}})
        await call.event(b"[END]")
        await call.end_stream()

    upstream.plays(slow)
    async with traced.client() as http, http.stream("POST", "/talk", json={**BODY, "stream": True}) as answer:
        async for _ in answer.aiter_raw():
            seen.set()
    await until(lambda: len(collector.spans) == 2)
    for span in collector.spans:
        assert span["gen_ai.request.stream"] is True
        # A loop's timer may be a little early.
        assert 0 < span["gen_ai.response.time_to_first_chunk"] < span["seconds"] - 0.29
        assert (span["gen_ai.response.id"], span["gen_ai.response.finish_reasons"]) == ("talk_1", ["stop"])
        assert span["gen_ai.usage.cache_read.input_tokens"] == 4
    assert collector.spans[0]["trace"] == collector.spans[1]["trace"]


async def test_a_stream_that_breaks_off(traced: Served, upstream: Upstream, collector: Collector) -> None:
    async def breaks(call: Call) -> None:
        await call.begin_stream()
        await call.event({"id": "talk_1"})
        await call.event({"text": "x"})
        call.writer.transport.abort()

    upstream.plays(breaks)
    async with traced.client() as http:
        await http.post("/talk", json={**BODY, "stream": True})
    await until(lambda: len(collector.spans) == 2)
    for span in collector.spans:
        assert span["gen_ai.response.id"] == "talk_1"
        assert "gen_ai.response.finish_reasons" not in span
    assert {(span["kind"], span["status"]) for span in collector.spans} == {(2, 2), (3, 2)}


async def test_a_path_is_told_as_the_configuration_has_it(traced: Served, collector: Collector) -> None:
    async with traced.client() as http:
        for number in range(3):
            assert (await http.post(f"/notes/made-up-{number}", json={"lines": ["x"]})).status_code == 404
    await until(lambda: len(collector.spans) == 3)
    assert {(span["name"], span["http.route"]) for span in collector.spans} == {
        ("POST /notes/{model}", "/notes/{model}")
    }


async def test_what_failed_says_why_and_what_is_not_sampled_is_not_sent(
    traced: Served, upstream: Upstream, collector: Collector
) -> None:
    upstream.plays(says({"problem": "no"}, 400), talks())
    async with traced.client() as http:
        off = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
        assert (await http.post("/talk", json=BODY, headers=off)).status_code == 400
        assert upstream.calls[0].headers["traceparent"].endswith("-00")
        assert (await http.post("/talk", json={**BODY, "model": "none"})).status_code == 404
        bad = {"traceparent": "00-nothing", "x-api-key": "nobody"}
        assert (await http.post("/talk", json=BODY, headers=bad)).status_code == 401
    await until(lambda: len(collector.spans) == 2)
    await asyncio.sleep(0.2)
    assert [(span["name"], span["error.type"], span["status"]) for span in collector.spans] == [
        ("POST /talk", "model_not_found", 2), ("POST /talk", "invalid_api_key", 2)
    ]  # fmt: skip


async def test_another_collector_is_taken_up(
    traced: Served, upstream: Upstream, collector: Collector, tmp_path: Path
) -> None:
    """What is under way is told to the one it began with."""
    on = asyncio.Event()

    async def slow(call: Call) -> None:
        await call.begin_stream()
        await call.event({"id": "talk_1"})
        await on.wait()
        await call.event({"end": "stop"})
        await call.event(b"[END]")
        await call.end_stream()

    upstream.plays(slow, talks())
    other = Collector()
    await other.start()
    admin = await connect(traced.store_url)

    async def taken_up(**changes: Any) -> None:
        traced.settings["tracing"] |= changes
        traced.write()
        outcome = await admin.call("reload")
        assert (outcome["outcome"], outcome["restart"]) == ("applied", [])

    try:
        async with traced.client() as http, http.stream("POST", "/talk", json={**BODY, "stream": True}) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            await taken_up(endpoint=f"{other.url}/v1/traces", service="theirs")
            assert (await http.post("/talk", json=BODY)).status_code == 200
            await until(lambda: len(other.spans) == 2)
            assert collector.spans == []
            on.set()
            assert "stop" in "".join([line async for line in lines])
            await until(lambda: len(collector.spans) == 2)
            assert {span["service"] for span in collector.spans} == {"mine"}
            await taken_up(enabled=False)
            assert (await http.post("/talk", json=BODY)).status_code == 200
            assert "traceparent" not in upstream.calls[-1].headers
            await taken_up(enabled=True, service="again")
            assert (await http.post("/talk", json=BODY)).status_code == 200
            await until(lambda: len(other.spans) == 4)
        assert [span["service"] for span in other.spans] == ["theirs"] * 2 + ["again"] * 2
        assert len(collector.spans) == 2
    finally:
        await admin.close()
        await other.stop()


async def test_without_it_nothing_is_sent_to_providers(upstream: Upstream, tmp_path: Path) -> None:
    upstream.plays(talks())
    server = served(tmp_path, upstream.url)
    await server.begin()
    try:
        async with server.client() as http:
            await http.post("/talk", json=BODY, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        assert "traceparent" not in upstream.calls[0].headers
    finally:
        await server.end()


def test_off_unless_switched_on(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("{}")
    assert open_tracer(load_config([file], environ={})) is None
