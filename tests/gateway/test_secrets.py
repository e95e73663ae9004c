"""However a provider fails, and whatever it repeats of what it was sent: no secret reaches a client, a line, a measure
a trace or the log of requests."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from conftest import Gate, Opener
from upstream import Call

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import SpanProcessor

from nexeon.gateway.observe.logs import Formatter
from nexeon.gateway.observe.tracing import Tracer
from nexeon.store import ProviderKey
from nexeon.store.redact import HIDDEN

SECRET, TENANT, TOKEN = "planted-provider-secret", "planted-tenant-header", "planted-admin-token-long"
BODY = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
Way = Callable[[Call, str], Awaitable[None]]


def answers(status: int) -> Way:
    async def way(call: Call, echo: str) -> None:
        oops = {"kind": echo, "say": f"no: {echo}", "param": echo, "code": echo}
        await call.answer({"problem": f"no: {echo}", "oops": oops}, status, {"x-echo": echo, "www-authenticate": echo})

    return way


async def redirects(call: Call, echo: str) -> None:
    await call.answer(b"", 302, {"location": f"http://127.0.0.1:9/?key={SECRET}"})


async def no_json(call: Call, echo: str) -> None:
    await call.answer(f"<html>{echo}".encode(), kind="application/json")


async def half_an_answer(call: Call, echo: str) -> None:
    await call.raw(f'HTTP/1.1 200 X\r\ncontent-length: 9999\r\nx-echo: {SECRET}\r\n\r\n{{"text": "{SECRET}'.encode())
    call.writer.transport.abort()


async def no_http(call: Call, echo: str) -> None:
    await call.raw(f"{echo} is not HTTP\r\n\r\n".encode())


async def fails_in_a_stream(call: Call, echo: str) -> None:
    await call.begin_stream()
    await call.event({"id": "talk_1"})
    await call.event({"text": "x"})
    await call.event({"oops": {"kind": "upstream", "say": f"no: {echo}", "status": echo}})
    await call.end_stream()


async def repeats_it(call: Call, echo: str) -> None:
    """In everything that it may choose of a good answer, which is its client's own affair."""
    said = {"id": f"talk_{echo}", "text": echo, "end": echo, "usage": {"in": 1, "out": 1, echo: 1}, "model": echo}
    if not call.json.get("stream"):
        await call.answer(said, headers={"x-echo": echo})
        return
    await call.begin_stream()
    for event in ({"id": said["id"], echo: echo}, {"text": "x"}, {"strange": echo}, said):
        await call.event(event, name=echo.replace(" ", ""))
    await call.event(b"[END]")
    await call.end_stream()


class Spans:
    """Keeps them."""

    def __init__(self) -> None:
        self.told = ""

    def on_end(self, span: Any) -> None:
        self.told += span.to_json()

    def shutdown(self) -> None:
        return


WAYS: dict[str, Way] = {
    **{str(status): answers(status) for status in (400, 401, 403, 404, 413, 422, 429, 500, 529)},
    **{way.__name__: way for way in (redirects, no_json, half_an_answer, no_http, fails_in_a_stream, repeats_it)},
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_tells_a_secret(opened: Opener, way: str, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    def change(value: dict[str, Any]) -> None:
        value["providers"]["one"]["api_key"] = SECRET
        value["providers"]["one"]["headers"]["x-tenant"] = TENANT
        value["admin"] = {"http": {"token": TOKEN}}
        value["retry"] = {"rounds": 1}

    gate = await opened(change)
    caplog.set_level(logging.DEBUG)

    async def fails(call: Call) -> None:
        await WAYS[way](call, f"{call.headers['x-secret']} {call.headers['x-tenant']} {TOKEN} {gate.key}")

    spans = Spans()
    recorder = gate.gateway.recorder
    recorder.tracer = Tracer(gate.gateway.config, cast("SpanProcessor", spans), gate.gateway.settler.clean)
    gate.upstream.plays(*[fails] * 4)
    answer = await gate.talk(stream=stream)
    await gate.released()
    told = {
        "answer": f"{answer.headers} {answer.text}",
        "metrics": (await gate.client.get("/metrics")).text,
        "log": await everything_kept(gate, answer.headers["x-request-id"]),
        "lines": lines(gate, caplog),
        "spans": spans.told,
    }
    assert '"nexeon.request.id"' in spans.told
    if way == "repeats_it":
        del told["answer"]
    secrets = {"provider": SECRET, "tenant": TENANT, "admin": TOKEN, "client": gate.key}
    assert [(where, name) for where, text in told.items() for name, secret in secrets.items() if secret in text] == []


async def everything_kept(gate: Gate, request: str) -> str:
    await gate.log.flush()
    return str(await gate.log.show(request))


def lines(gate: Gate, caplog: pytest.LogCaptureFixture) -> str:
    """As they would stand on stderr."""
    formatter = Formatter(gate.gateway.recorder.redaction, as_json=True)
    return "\n".join(formatter.format(record) for record in caplog.records)


async def test_a_stored_provider_key_is_hidden_from_the_moment_it_is_there(opened: Opener) -> None:
    gate = await opened()
    store, redaction = gate.store, gate.gateway.recorder.redaction
    assert redaction.clean("planted-later planted-anew") == "planted-later planted-anew"
    key = ProviderKey("pk_1", "one", "default", 0.0, store.seal("planted-later"), "")
    await store.add(key)
    assert redaction.clean("planted-later planted-anew") == f"{HIDDEN} planted-anew"
    await store.replace(replace(key, sealed=store.seal("planted-anew")))
    assert redaction.clean("planted-later planted-anew") == f"planted-later {HIDDEN}"


async def test_secrets_are_gathered_once_while_none_changes(opened: Opener) -> None:
    """With many provider keys it would take longer than the failing call it is done for."""
    gate = await opened()
    services = gate.gateway.services
    first = services.secrets()
    assert services.secrets() is first
    await gate.store.add(ProviderKey("pk_1", "one", "default", 0.0, gate.store.seal("planted-later"), ""))
    later = services.secrets()
    assert later == first | {"planted-later"}
    assert services.secrets() is later
