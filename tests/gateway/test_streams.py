"""A stream's life: clients that leave, silence, back-pressure, and the charge at every end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from conftest import Gate, Opener, until
from scripts import COST, EVENTS, SAID, USAGE, notes, streams, talks
from upstream import Call

from tests.patience import PATIENCE


async def slow_stream(call: Call) -> None:
    await call.begin_stream()
    for number in range(1000):
        if call.left.is_set():
            return
        await call.event({"text": f"word {number} "})
        await asyncio.sleep(0.02)


async def test_a_client_that_leaves_a_stream_cancels_the_call_and_pays_for_what_came(gate: Gate) -> None:
    gate.upstream.plays(slow_stream)
    async with gate.client.stream("POST", "/talk", json=_body(stream=True)) as answer:
        async for _ in answer.aiter_bytes():
            break
    await asyncio.wait_for(gate.upstream.calls[0].left.wait(), PATIENCE)
    assert 0 < await gate.spent() < 100_000
    charge = await gate.last_charge()
    assert charge.estimated
    assert charge.usage["output"] > 0
    assert charge.usage["input"] > 0


async def test_a_client_that_leaves_before_the_answer_cancels_the_call_for_free(gate: Gate) -> None:
    async def waits(call: Call) -> None:
        await call.wait_left()

    for stream in (False, True):
        gate.upstream.calls.clear()
        gate.upstream.plays(waits)
        asking = asyncio.create_task(gate.talk(stream=stream))
        await until(lambda: gate.upstream.calls)
        assert (await gate.balance()).reserved > 0
        asking.cancel()
        await asyncio.wait_for(gate.upstream.calls[0].left.wait(), PATIENCE)
        assert await gate.spent() == 0


async def test_a_client_that_leaves_while_the_provider_is_silent(gate: Gate) -> None:
    async def begins(call: Call) -> None:
        await call.begin_stream()
        await call.wait_left()

    gate.upstream.plays(begins)
    asking = asyncio.create_task(gate.talk(stream=True))
    await until(lambda: gate.upstream.calls)
    await asyncio.sleep(0.05)
    asking.cancel()
    await asyncio.wait_for(gate.upstream.calls[0].left.wait(), PATIENCE)
    assert await gate.spent() == 0


@pytest.mark.parametrize(("path", "turns"), [("/talk", "say"), ("/notes/plain/stream", "lines")])
async def test_an_open_stream_does_not_keep_the_conversation(gate: Gate, path: str, turns: str) -> None:
    """It may be megabytes, and the stream last for minutes."""
    over = asyncio.Event()

    async def begins(call: Call) -> None:
        await call.begin_stream()
        await call.event(EVENTS[0])
        await call.event(EVENTS[1])
        await over.wait()

    gate.upstream.plays(begins)
    body = _body(stream=True) if path == "/talk" else {"lines": ["hi"], "most": 7}
    async with gate.client.stream("POST", path, json=body) as answer:
        async for _ in answer.aiter_bytes():
            break
        (exchange,), (stream,) = gate.gateway.calls.values(), gate.gateway.streams
        assert exchange.body == {}
        kept = stream._answer.relay.client_context["body"]
        assert kept == {name: value for name, value in body.items() if name != turns}
        over.set()


@pytest.mark.parametrize(
    ("path", "mark"),
    [
        ("/talk", b": alive\n\n"),
        ("/notes/plain/stream?as=sse", b'event: still\ndata: {"type":"still"}\n\n'),
        ("/notes/plain/stream", b"\n"),
    ],
)
async def test_silence_is_filled_with_what_the_clients_format_bears(opened: Opener, path: str, mark: bytes) -> None:
    go = asyncio.Event()

    async def pauses(call: Call) -> None:
        await call.begin_stream()
        await go.wait()
        for event in [*EVENTS, USAGE]:
            await call.event(event)
        await call.event(b"[END]")
        await call.end_stream()

    gate = await opened(lambda value: value["server"].update(keepalive=0.05))
    gate.upstream.plays(pauses)
    body = _body(stream=True) if path == "/talk" else {"lines": ["hi"]}
    got = b""
    async with gate.client.stream("POST", path, json=body) as answer:
        async for chunk in answer.aiter_bytes():
            got += chunk
            if got.count(mark) >= 3:
                go.set()
    assert got.startswith(mark * 3)
    assert b"hel" in got
    if path == "/notes/plain/stream":
        assert [event["type"] for event in json.loads(got)] == ["begin", "words", "words", "finish"]
    assert await gate.spent() == COST


async def test_comments_of_the_provider_are_silence_to_the_client(opened: Opener) -> None:
    heard = asyncio.Event()

    async def comments(call: Call) -> None:
        await call.begin_stream()
        while not heard.is_set():
            await call.chunk(b": PROCESSING\n\n")
            await asyncio.sleep(0.02)
        for event in [*EVENTS, USAGE]:
            await call.event(event)
        await call.event(b"[END]")
        await call.end_stream()

    gate = await opened(lambda value: value["server"].update(keepalive=0.1))
    gate.upstream.plays(comments)
    text = await heard_until(gate, ": alive\n\n: alive\n\n", heard)
    assert text.startswith(": alive\n\n: alive\n\n")
    assert "PROCESSING" not in text
    assert "[END]" in text


async def heard_until(gate: Gate, words: str, heard: asyncio.Event) -> str:
    """A stream's whole text; `heard` is set once it holds the words."""
    text = ""
    async with gate.client.stream("POST", "/talk", json=_body(stream=True)) as answer:
        assert answer.status_code == 200
        async for part in answer.aiter_text():
            text += part
            if words in text:
                heard.set()
    return text


async def test_no_keep_alive_before_the_providers_headers(opened: Opener) -> None:
    async def refuses(call: Call) -> None:
        await asyncio.sleep(0.3)
        await call.answer({"oops": {"kind": "invalid_request", "say": "no"}}, 400)

    gate = await opened(lambda value: value["server"].update(keepalive=0.05))
    gate.upstream.plays(refuses)
    assert (await gate.talk(stream=True)).status_code == 400


async def test_an_error_after_a_keep_alive_is_an_event(opened: Opener) -> None:
    heard = asyncio.Event()

    async def fails(call: Call) -> None:
        await call.begin_stream()
        await heard.wait()
        await call.event({"oops": {"kind": "overloaded", "say": "full"}})
        await call.end_stream()

    gate = await opened(lambda value: value["server"].update(keepalive=0.05))
    gate.upstream.plays(fails)
    text = await heard_until(gate, ": alive", heard)
    assert text.startswith(": alive")
    assert "full" in text
    assert len(gate.upstream.calls) == 1
    assert await gate.spent() == 0


async def test_a_stream_lives_longer_than_any_limit_of_the_server(opened: Opener) -> None:
    """Every server default that could cut a stream is a time limit for idle connections or whole answers."""
    from nexeon.gateway.server.serve import hypercorn_config

    gate = await opened()
    settings = hypercorn_config(gate.gateway.config)
    assert settings.read_timeout is None
    assert settings.max_requests is None
    gate.upstream.plays(streams(*EVENTS[:1], *[{"text": "x"}] * 60, EVENTS[3], USAGE, pause=0.02))
    answer = await gate.talk(stream=True)
    assert answer.text.count('"text": "x"') == 60
    assert await gate.spent() == COST


async def test_events_that_come_in_one_read_leave_in_one_write(gate: Gate) -> None:
    async def burst(call: Call) -> None:
        await call.begin_stream()
        lines = b"".join(b'data: {"text": "w"}\n\n' for _ in range(200))
        await call.chunk(lines + b'data: {"end": "stop"}\n\ndata: {"usage": {"in": 10, "out": 5}}\n\ndata: [END]\n\n')
        await call.end_stream()

    gate.upstream.plays(burst)
    host, port = gate.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(_body(stream=True)).encode()
    writer.write(
        f"POST /talk HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gate.key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    raw = await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()
    sizes = [int(line, 16) for line in raw.partition(b"\r\n\r\n")[2].split(b"\r\n")[::2] if line]
    assert len([size for size in sizes if size]) <= 3


async def test_a_slow_client_holds_the_provider_back(gate: Gate) -> None:
    sent = 0

    async def floods(call: Call) -> None:
        nonlocal sent
        await call.begin_stream()
        for _ in range(2000):
            await call.event({"text": "x" * 50_000})
            sent += 1

    gate.upstream.plays(floods)
    async with gate.client.stream("POST", "/talk", json=_body(stream=True)) as answer:
        assert answer.status_code == 200
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 1000, "100 MB are not held for a client that does not read"
    assert await gate.spent() > 0


async def test_many_streams_at_once(gate: Gate) -> None:
    gate.upstream.plays(streams(*EVENTS, USAGE, pause=0.02))
    answers = await asyncio.gather(*(gate.talk(stream=True) for _ in range(150)))
    assert {answer.status_code for answer in answers} == {200}
    assert all("[END]" in answer.text for answer in answers)
    assert len(gate.upstream.calls) == 150
    assert await gate.spent() == 150 * COST


async def test_the_charge_is_made_before_the_end_is_sent(gate: Gate) -> None:
    gate.upstream.plays(talks(), notes(), talks(), notes())
    spent = 0
    for model in ("plain", "noted"):
        spent += COST
        answer = await gate.talk(model)
        assert answer.status_code == 200
        assert (await gate.balance()).balance == 1_000 * 10**9 - spent, "before the answer leaves"
    for model in ("plain", "noted"):
        spent += COST
        async with gate.client.stream("POST", "/talk", json=_body(model, stream=True)) as stream:
            async for line in stream.aiter_lines():
                if line == "data: [END]":
                    assert (await gate.balance()).balance == 1_000 * 10**9 - spent
    charge = await gate.last_charge()
    assert charge.provider == "noter"
    assert charge.model == "noted"
    assert charge.usage == {"input": 10, "output": 5}
    assert charge.price["input"] == 10**9
    assert not charge.estimated


async def test_a_stream_without_usage_is_charged_by_its_length(gate: Gate) -> None:
    gate.upstream.plays(streams({"id": "t"}, {"text": "x" * 400}, {"end": "stop"}))
    answer = await gate.talk(stream=True)
    assert "[END]" in answer.text
    charge = await gate.last_charge()
    assert charge.estimated
    assert charge.usage["output"] == 100
    assert await gate.spent() == charge.usage["input"] * 1000 + 100 * 2000


async def test_the_dearer_usage_counts_only_once_and_the_last_value_wins(gate: Gate) -> None:
    gate.upstream.plays(streams({"id": "t", "usage": {"in": 3, "out": 1}}, {"text": "x"}, {"end": "stop"}, USAGE))
    await gate.talk(stream=True)
    assert await gate.spent() == COST


async def test_half_a_character_in_each_read(gate: Gate) -> None:
    text = "naïve 日本 😀"

    async def drips(call: Call) -> None:
        await call.begin_stream()
        data = f'data: {{"text": "{text}"}}\r\n\r\ndata: {{"end": "stop"}}\r\n\r\n'
        for byte in data.encode():
            await call.chunk(bytes([byte]))
        await call.event(b"[END]")
        await call.end_stream()

    gate.upstream.plays(drips)
    answer = await gate.talk(stream=True)
    assert text in answer.text
    other = await gate.client.post("/notes/plain/stream?as=sse", json={"lines": ["x"]})
    assert text in other.text


async def test_shutting_down_waits_for_charges(opened: Opener) -> None:
    gate = await opened()
    gate.upstream.plays(slow_stream)
    task = asyncio.create_task(gate.talk(stream=True))
    await until(lambda: any(call.produced for call in gate.gateway.calls.values()))
    await gate.gateway.store.sweep()
    task.cancel()
    await gate.gateway.settler.drain(PATIENCE)
    await asyncio.wait_for(gate.upstream.calls[0].left.wait(), PATIENCE)
    assert await gate.spent() > 0


def _body(model: str = "plain", **more: Any) -> dict[str, Any]:
    return {"model": model, "say": [{"who": "user", "text": "hi"}], **more}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_lives_long_keeps_its_credit(gate: Gate, stream: bool) -> None:
    go = asyncio.Event()

    async def waits(call: Call) -> None:
        if stream:
            await call.begin_stream()
            await call.event(EVENTS[1])
        await go.wait()
        if not stream:
            await call.answer(SAID)
            return
        for event in [*EVENTS[2:], USAGE]:
            await call.event(event)
        await call.event(b"[END]")
        await call.end_stream()

    gate.upstream.plays(waits)
    asking = asyncio.create_task(gate.talk(stream=stream))
    await until(lambda: gate.upstream.calls)
    [held] = await gate.store.reservations(gate.account)
    await asyncio.sleep(0.05)
    await gate.gateway.services.renew(older=10)
    assert (await gate.store.reservations(gate.account))[0].expires == held.expires
    await gate.gateway.services.renew(older=0)
    [kept] = await gate.store.reservations(gate.account)
    assert kept.expires > held.expires
    for exchange in gate.gateway.calls.values():
        exchange.started -= 100_000
    await gate.gateway.services.renew(older=10_000)  # it was renewed since
    assert (await gate.store.reservations(gate.account))[0].expires == kept.expires
    go.set()
    assert (await asking).status_code == 200
    assert await gate.spent() == COST
    assert not gate.gateway.calls


async def test_clients_that_leave_at_any_moment_leave_nothing_behind(gate: Gate) -> None:
    gate.upstream.plays(streams(*EVENTS[:1], *[{"text": "word "}] * 20, EVENTS[3], USAGE, pause=0.01))

    async def visit(number: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(number * 0.01):
                await gate.talk("plain" if number % 2 else "both", stream=number % 3 != 0)

    await asyncio.gather(*(visit(number) for number in range(80)))
    await gate.client.aclose()
    await gate.released()
    await until(lambda: not gate.gateway.streams and not gate.gateway.waiting and not gate.gateway.calls)
    await until(lambda: all(call.left.is_set() or call.done for call in gate.upstream.calls))
    balance = await gate.balance()
    ledger = await gate.store.ledger(gate.account, limit=1000)
    assert sum(entry.amount for entry in ledger) == balance.balance
    charged = [entry.request for entry in ledger if entry.request]
    assert len(set(charged)) == len(charged)
