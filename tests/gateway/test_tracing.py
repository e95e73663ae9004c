"""Traces, as a collector gets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from scripts import says, talks
from served import Served, served
from upstream import Call, Upstream

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from nexeon.config import load_config
from nexeon.gateway.observe.tracing import open_tracer

BODY = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(Upstream):
    """Takes spans; `spans` are what came, as dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[dict[str, Any]] = []
        self.plays(self._take)

    async def _take(self, call: Call) -> None:
        request = ExportTraceServiceRequest.FromString(call.body)
        for resource in request.resource_spans:
            service = {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    facts = {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
                    self.spans.append(
                        {
                            "name": span.name, "trace": span.trace_id.hex(), "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(), "kind": span.kind, "status": span.status.code,
                            "seconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                            "service": service, "path": call.path, **facts,
                        }
                    )  # fmt: skip
        await call.answer(b"", kind="application/x-protobuf")


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
        "gen_ai.response.model": "a",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "http.response.status_code": 200,
        "nexeon.request.id": answer.headers["x-request-id"],
        "status": 0,
    }
    assert {name: server.get(name) for name in expected} == expected
    assert (failed["gen_ai.provider.name"], failed["error.type"], failed["status"]) == ("known.otherwise", "broken", 2)
    assert (failed["http.response.status_code"], good["server.address"]) == (500, "127.0.0.1")
    sent = [call.headers["traceparent"] for call in upstream.calls]
    assert sent == [f"00-{TRACE}-{span['id']}-01" for span in (failed, good)]
    assert {call.headers["tracestate"] for call in upstream.calls} == {"a=1"}


async def test_a_stream_lasts_as_long_as_it_does(traced: Served, upstream: Upstream, collector: Collector) -> None:
    async def slow(call: Call) -> None:
        await call.begin_stream()
        await call.event({"id": "talk_1"})
        await call.event({"text": "x"})
        await asyncio.sleep(0.3)
        await call.event({"end": "stop"})
        await call.event({"usage": {"in": 1, "out": 2}})
        await call.event(b"[END]")
        await call.end_stream()

    upstream.plays(slow)
    async with traced.client() as http:
        await http.post("/talk", json={**BODY, "stream": True})
    await until(lambda: len(collector.spans) == 2)
    for span in collector.spans:
        assert span["seconds"] > 0.3
        assert span["gen_ai.request.stream"] is True
    assert 0 < next(s["gen_ai.response.time_to_first_chunk"] for s in collector.spans if s["kind"] == 2) < 0.3
    assert collector.spans[0]["trace"] == collector.spans[1]["trace"]


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
