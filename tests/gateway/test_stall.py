"""Clients that take nothing are cut off, whichever way they came, and pay for what was made; slow ones are not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from conftest import Gate, Opener
from hypercorn.asyncio.worker_context import EventWrapper
from scripts import SAID, says
from upstream import Call

from nexeon.gateway.server import direct
from nexeon.gateway.server.plain import UNSENT, PlainCall
from nexeon.gateway.server.stall import Taken
from nexeon.gateway.server.windows import Buffer
from tests.patience import PATIENCE, until

BODY = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
SOON = {"send_wait": 0.2}
EVENT = json.dumps({"text": "x", "more": "x" * 16_000}).encode()


async def pours(call: Call) -> None:
    await call.begin_stream()
    await call.event({"id": "talk_1"})
    while not call.left.is_set():
        await call.event(EVENT)


@contextlib.asynccontextmanager
async def connected(gate: Gate) -> AsyncIterator[socket.socket]:
    """One that takes little before it is read."""
    host, port = gate.url.removeprefix("http://").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, (host, int(port)))
        yield client


def request(gate: Gate, way: str, body: Any = BODY) -> bytes:
    raw = json.dumps({**body, "stream": True}).encode()
    if way == "plain":
        told = b"content-length: %d\r\n\r\n%b" % (len(raw), raw)
    elif way == "chunked":
        told = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(raw), raw)
    else:
        window = 2**31 - 1 if way == "http2" else 65_535
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        connection.initiate_connection()
        connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        if way == "http2":
            connection.increment_flow_control_window(window - 65_535)
        head = {":method": "POST", ":path": "/talk", ":scheme": "http", ":authority": "x"}
        connection.send_headers(1, [*head.items(), ("x-api-key", gate.key), ("content-length", str(len(raw)))])
        connection.send_data(1, raw, end_stream=True)
        return connection.data_to_send()
    return b"POST /talk HTTP/1.1\r\nhost: x\r\nx-api-key: %b\r\n%b" % (gate.key.encode(), told)


async def recorded(gate: Gate) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while not (found := await gate.log.list()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return dict(found[0])


@pytest.mark.parametrize(
    ("way", "held"), [("plain", "connection"), ("chunked", "connection"), ("http2", "connection"), ("window", "window")]
)
async def test_a_client_that_takes_nothing_is_cut_off(opened: Opener, way: str, held: str) -> None:
    wait = 1 if way == "window" else 0.2  # there the client does read
    gate = await opened(lambda value: value["server"].update(send_wait=wait))
    gate.upstream.plays(pours)
    async with connected(gate) as client:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, request(gate, way))
        taking = asyncio.create_task(reads(client)) if way == "window" else None  # and gives no window back
        await until(lambda: gate.upstream.calls and gate.upstream.calls[0].left.is_set())
        await gate.released()
        record = await recorded(gate)
        assert record["error"] == f"the client took nothing for {wait:g} s"
        assert record["status"] == 200
        charge = await gate.last_charge()
        assert charge.amount < 0
        metrics = (await gate.client.get("/metrics")).text
        assert f'nexeon_stalled_clients_total{{held="{held}"}} 1' in metrics
        assert (gate.gateway.admission.running, len(gate.gateway.streams)) == (0, 0)
        if taking is not None:
            assert h2.events.StreamReset in {type(event) for event in await asyncio.wait_for(taking, PATIENCE)}


async def test_what_is_written_as_it_comes_is_held_back_by_a_client_that_takes_nothing(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await opened(lambda value: value["server"].update(SOON))

    async def trickles(call: Call) -> None:
        await call.begin_stream()
        for event in itertools.cycle([json.dumps({"text": f"some {text}" * 100}).encode() for text in "xy"]):
            await call.event(event)
            await asyncio.sleep(0)
            if call.left.is_set():
                break

    waiting: list[int] = []
    write = PlainCall.write

    def spied(self: PlainCall, data: bytes) -> None:
        waiting.append(self._connection.writer.transport.get_write_buffer_size())
        write(self, data)

    monkeypatch.setattr(PlainCall, "write", spied)
    gate.upstream.plays(trickles)
    async with connected(gate) as client:
        await asyncio.get_running_loop().sock_sendall(client, request(gate, "plain"))
        await until(lambda: gate.upstream.calls and gate.upstream.calls[0].left.is_set())
        assert (await recorded(gate))["error"] == "the client took nothing for 0.2 s"
    assert len(waiting) > 10
    assert 0 < max(waiting) <= UNSENT


async def reads(client: socket.socket) -> list[Any]:
    """What an HTTP/2 connection is told until a stream of it ends; it gives nothing back."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    connection.send_headers(1, [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x")])
    events: list[Any] = []
    while not any(type(event) in (h2.events.StreamReset, h2.events.StreamEnded) for event in events):
        data = await asyncio.get_running_loop().sock_recv(client, 65_536)
        assert data
        events += connection.receive_data(data)
    return events


@pytest.mark.parametrize("soon", [0.01, 0.15])
async def test_an_answer_in_one_piece_that_nobody_takes_ends_its_connection(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, soon: float
) -> None:
    """Also where it is looked for a client that leaves only once all has been written."""
    monkeypatch.setattr(direct, "_SOON", soon)
    gate = await opened(lambda value: value["server"].update(SOON))
    answer = {**SAID, "text": "x" * 8_000_000}
    gate.upstream.plays(says(answer))
    async with connected(gate) as client:
        raw = json.dumps(BODY).encode()
        head = f"POST /talk HTTP/1.1\r\nhost: x\r\nx-api-key: {gate.key}\r\ncontent-length: {len(raw)}\r\n\r\n".encode()
        await asyncio.get_running_loop().sock_sendall(client, head + raw)
        async with asyncio.timeout(PATIENCE):
            while 'nexeon_stalled_clients_total{held="connection"} 1' not in (await gate.client.get("/metrics")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_nobody_is_cut_off_where_that_is_off(opened: Opener) -> None:
    gate = await opened(lambda value: value["server"].update(send_wait=0))
    gate.upstream.plays(pours)
    async with connected(gate) as client:
        await asyncio.get_running_loop().sock_sendall(client, request(gate, "plain"))
        await until(lambda: gate.gateway.streams)
        await asyncio.sleep(0.3)
        assert len(gate.gateway.streams) == 1
        client.close()
        await until(lambda: not gate.gateway.streams)
        assert (await recorded(gate))["error"] == "the client left, or the answer ended early"


async def test_what_a_window_does_not_let_through_holds_back() -> None:
    buffer = Buffer(EventWrapper)
    await buffer.push(b"x")
    assert await buffer.pop(1) == b"x"
    pushed = asyncio.create_task(buffer.push(bytes(100_000)))
    for _ in range(9):
        await asyncio.sleep(0)
        assert await buffer.pop(0) == b""
    assert not pushed.done()
    assert len(await buffer.pop(90_000)) == 90_000
    await asyncio.wait_for(pushed, PATIENCE)
    assert (buffer.taken, len(buffer.buffer)) == (90_001, 10_000)
    held = asyncio.create_task(buffer.push(bytes(100_000)))
    await asyncio.sleep(0)
    await buffer.close()
    await asyncio.wait_for(held, PATIENCE)


class Transport:
    """Of a socket; nothing waits in it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def get_extra_info(self, name: str) -> Any:
        return {"socket": self._sock}.get(name)

    def get_write_buffer_size(self) -> int:
        return 0


async def test_what_a_slow_client_takes_is_seen() -> None:
    """By what the system has a receipt for, long before there is room to write more."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024)
        client.connect(listening.getsockname())
        ours, _ = listening.accept()
        with ours:
            ours.setblocking(False)
            taken = Taken(Transport(ours))
            with contextlib.suppress(BlockingIOError):
                while True:
                    taken.written += ours.send(bytes(64 * 1024))
            before = -1.0
            taken.begin(0)
            while before != taken.since:  # what is on its way arrives
                before = taken.since
                await asyncio.sleep(0.3)
                taken.look(before + 1)
            since = taken.since
            assert taken.look(since + 100) == 100
            client.setblocking(False)
            loop = asyncio.get_running_loop()

            async def went_on() -> None:
                while taken.look(since + 200) != 0:
                    await loop.sock_recv(client, 1024)

            await asyncio.wait_for(went_on(), PATIENCE)
            assert taken.look(since + 250) == 50
