"""Too much to do: a bounded queue, refusals that say when to come again, and clients that do not read."""

from __future__ import annotations

import asyncio
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import Gate, Opener
from scripts import says, talks
from upstream import Call

from nexeon.config import Overload
from nexeon.errors import RequestError
from nexeon.gateway.limits.admission import Admission, declared_size
from nexeon.gateway.observe.metrics import Metrics
from nexeon.gateway.server.listener import hold_back
from tests.patience import PATIENCE, until

MIB = 1024 * 1024
BODY = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}


def admission(**settings: Any) -> Admission:
    return Admission(Overload(**settings), Metrics())


async def test_turns_are_given_in_order() -> None:
    gate = admission(running=2, queue=3, wait=5)
    assert [gate.enter(1), gate.enter(1), gate.enter(1)] == [True, True, False]
    came: list[int] = []

    async def ask(number: int) -> None:
        await gate.wait(1)
        came.append(number)

    asking = [asyncio.create_task(ask(number)) for number in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(RequestError) as refused:
        await gate.wait(1)
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (503, "overloaded", 5)
    gate.leave(1)
    assert not gate.enter(1)  # those who wait come first
    await until(lambda: came == [0])
    gate.leave(1)
    gate.leave(1)
    await asyncio.gather(*asking)
    assert came == [0, 1, 2]
    assert (gate.running, gate.waiting) == (2, 0)


async def test_one_that_waits_too_long_or_leaves_takes_no_place() -> None:
    gate = admission(running=1, queue=2, wait=0.05)
    assert gate.enter(1)
    with pytest.raises(RequestError) as refused:
        await gate.wait(1)
    assert refused.value.status == 503
    gone = asyncio.create_task(gate.wait(1))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    late = asyncio.create_task(gate.wait(1))
    await asyncio.sleep(0)
    gate.leave(1)
    late.cancel()  # its turn has come already
    await asyncio.gather(late, return_exceptions=True)
    assert (gate.running, gate.bytes, gate.waiting) == (0, 0, 0)


async def test_bodies_count_by_their_bytes() -> None:
    gate = admission(running=10, bodies=100 * MIB, queue=1, wait=0.01)
    assert gate.enter(1000 * MIB)  # alone, any size
    assert not gate.enter(MIB)
    gate.leave(1000 * MIB)
    assert gate.enter(60 * MIB)
    assert not gate.enter(60 * MIB)
    assert gate.enter(40 * MIB)


async def test_small_bodies_do_not_wait_behind_large_ones() -> None:
    gate = admission(running=4, bodies=10 * MIB, queue=9, wait=PATIENCE)
    came: list[int] = []

    async def ask(size: int) -> None:
        await gate.wait(size)
        came.append(size)

    assert gate.enter(10 * MIB)
    large = asyncio.create_task(ask(5 * MIB))
    await until(lambda: gate.waiting == 1)
    assert gate.enter(1000)
    assert gate.enter(1001)
    assert gate.enter(1002)
    assert not gate.enter(1003)  # as many as may run
    small = asyncio.create_task(ask(1003))
    await until(lambda: gate.waiting == 2)
    gate.leave(1000)  # gives its place to the small one: the large one still has no room
    await small
    assert came == [1003]
    gate.leave(10 * MIB)
    await large
    assert (gate.running, gate.waiting) == (4, 0)


def test_what_a_body_takes_as_its_head_says() -> None:
    assert declared_size({"content-length": "7"}, 100) == 7
    assert declared_size({"content-length": "700"}, 100) == 100
    assert declared_size({"transfer-encoding": "chunked"}, 100) is None
    assert declared_size({}, 100) is None  # as HTTP/2 sends it


async def test_a_body_of_unknown_size_counts_as_the_largest_until_it_is_read(opened: Opener) -> None:
    gate = await opened(lambda value: value.update(overload={"running": 9, "bodies": 64 * MIB}))
    go = asyncio.Event()
    raw = json.dumps(BODY).encode()

    async def waits(call: Call) -> None:
        await go.wait()
        await talks()(call)

    async def pieces() -> AsyncIterator[bytes]:
        yield raw[:9]
        await until(lambda: gate.gateway.admission.bytes >= 64 * MIB)
        yield raw[9:]

    gate.upstream.plays(waits)
    asked = []
    for number in range(1, 4):
        asked.append(asyncio.create_task(gate.client.post("/talk", content=pieces())))
        await until(lambda number=number: len(gate.upstream.calls) == number)  # type: ignore[misc]
    assert gate.gateway.admission.bytes == 3 * len(raw)
    go.set()
    assert [(await each).status_code for each in asked] == [200, 200, 200]
    assert (gate.gateway.admission.running, gate.gateway.admission.bytes) == (0, 0)


async def test_what_does_not_fit_is_told_when_to_come_again(opened: Opener) -> None:
    gate = await opened(lambda value: value.update(overload={"running": 1, "queue": 1, "wait": 30}))
    go = asyncio.Event()

    async def waits(call: Call) -> None:
        await go.wait()
        await talks()(call)

    gate.upstream.plays(waits)
    first = asyncio.create_task(gate.talk())
    await until(lambda: gate.gateway.admission.running)
    second = asyncio.create_task(gate.talk())
    await until(lambda: gate.gateway.admission.waiting)
    stranger = await gate.client.post("/talk", json=BODY, headers={"authorization": "Bearer nobody"})
    assert stranger.status_code == 401
    third = await gate.talk()
    assert (third.status_code, third.headers["retry-after"]) == (503, "30")
    assert "too much to do" in third.text
    metrics = (await gate.client.get("/metrics")).text  # what is no generation goes on
    assert 'nexeon_shed_total{reason="full"} 1' in metrics
    assert "nexeon_admission_queue 1" in metrics
    go.set()
    assert [(await each).status_code for each in (first, second)] == [200, 200]
    assert (gate.gateway.admission.running, gate.gateway.admission.bytes) == (0, 0)


async def test_every_end_gives_the_place_back(gate: Gate) -> None:
    gate.upstream.plays(says({"problem": "no"}, 400), talks(), talks())
    assert (await gate.talk()).status_code == 400
    assert (await gate.talk("unheard-of")).status_code == 404
    assert "[END]" in (await gate.talk(stream=True)).text

    async def endless(call: Call) -> None:
        await call.begin_stream()
        await call.event({"id": "talk_1"})
        await call.wait_left()

    gate.upstream.plays(endless)
    async with gate.client.stream("POST", "/talk", json={**BODY, "stream": True}) as answer:
        await anext(answer.aiter_lines())
        assert gate.gateway.admission.running == 1
    await until(lambda: gate.gateway.admission.running == 0)
    assert gate.gateway.admission.bytes == 0


async def test_a_client_that_does_not_read_stops_the_provider(gate: Gate) -> None:
    """And not the memory of the gateway: what is on the way fits into the buffers of two connections."""
    piece = json.dumps({"text": "x", "more": "x" * 16_000}).encode()
    most = 4000
    sent = 0

    async def pours(call: Call) -> None:
        nonlocal sent
        call.writer.transport.set_write_buffer_limits(high=64 * 1024)
        await call.begin_stream()
        await call.event({"id": "talk_1"})
        for _ in range(most):
            await call.event(piece)
            sent += len(piece)
        await call.event({"end": "stop"})
        await call.event(b"[END]")
        await call.end_stream()

    gate.upstream.plays(says({"problem": "no"}, 400), pours)
    host, port = gate.url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    body = json.dumps({**BODY, "stream": True}).encode()
    head = f"POST /talk HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gate.key}\r\ncontent-length: {len(body)}\r\n\r\n"
    assert (await gate.talk(stream=True)).status_code == 400  # what is made at the first one is not counted
    tracemalloc.start()
    try:
        client.sendall(head.encode() + body)
        before = -1
        while not sent or sent != before:
            before = sent
            await asyncio.sleep(0.5)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < sent < most * len(piece) / 2
    assert held < 1.5 * MIB  # with the buffer of the upstream, which is in this process, too
    got = 0
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    tail = b""
    async with asyncio.timeout(PATIENCE):
        while b"[END]" not in tail:
            data = await loop.sock_recv(client, 1 << 20)
            assert data
            got += len(data)
            tail = tail[-20:] + data[-200:]
    client.close()
    assert got > most * len(piece)


@pytest.mark.parametrize("path", ["/talk", "/talk/count"])
async def test_a_body_that_does_not_come_gives_its_place_back(opened: Opener, path: str) -> None:
    gate = await opened(lambda value: value["server"].update(body_wait=0.5))
    gate.upstream.plays(talks())
    host, port = gate.url.removeprefix("http://").split(":")
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gate.key}\r\ncontent-length: 60000000\r\n\r\n"
    halves = [await asyncio.open_connection(host, int(port)) for _ in range(40)]
    for _, writer in halves:
        writer.write(head.encode() + b'{"model": ')
    assert (await gate.talk()).status_code == 200  # a small one does not wait for room
    for reader, writer in halves:
        async with asyncio.timeout(PATIENCE):
            told = await reader.read()
        assert told.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 503 ", b"HTTP/1.1 404 ")), told[:100]
        writer.close()
    await until(lambda: gate.gateway.admission.running == 0)
    assert (gate.gateway.admission.bytes, gate.gateway.admission.waiting) == (0, 0)


async def test_a_body_that_drips_is_not_waited_for(opened: Opener) -> None:
    gate = await opened(lambda value: value["server"].update(body_wait=0.3))
    host, port = gate.url.removeprefix("http://").split(":")
    head = f"POST /talk HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gate.key}\r\ncontent-length: 60000000\r\n\r\n"
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode())
    answer = asyncio.create_task(reader.read(1000))
    async with asyncio.timeout(PATIENCE):
        while not answer.done():  # something comes all the time
            writer.write(b" ")
            await asyncio.sleep(0.02)
    assert (await answer).startswith(b"HTTP/1.1 408 ")
    writer.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system cannot be told")
def test_the_system_takes_little_for_a_client_that_does_not_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        hold_back(listening)
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 128 * 1024
