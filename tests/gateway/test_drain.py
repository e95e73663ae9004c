"""The end of a server, told by signals to a process of its own; and a rolling restart behind nginx."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from processes import Process
from scripts import EVENTS, talks
from upstream import Call, Upstream

from nexeon.gateway.server.listener import deafen
from tests.patience import PATIENCE, until
from tests.ports import free_port

BODY = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
NGINX = shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)


LONG = 10 * PATIENCE
PATIENT = f"""
import nexeon.gateway.server.drain
nexeon.gateway.server.drain._ON_THE_WAY = {LONG}
"""
"""A process that waits for the request of whoever has connected, however slow the machine."""

Maker = Callable[[float, float], Process]


@pytest.fixture
async def make(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Maker]:
    """Of what linger and drain are given, in seconds."""
    made: list[Process] = []

    def process(linger: float, drain: float) -> Process:
        made.append(Process(tmp_path / f"process{len(made)}", upstream.url, linger=linger, drain=drain))
        return made[-1]

    yield process
    for each in made:
        if each.process is not None and each.process.returncode is None:
            each.process.kill()
            await each.process.wait()


async def endless(call: Call) -> None:
    await call.begin_stream()
    for event in EVENTS[:2]:
        await call.event(event)
    await call.wait_left()


async def unready(http: httpx.AsyncClient) -> httpx.Response:
    """Its answer once it is told to end."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await http.get("/readyz")).status_code == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return answer


async def test_sigterm_lets_clients_notice_and_streams_end(make: Maker, upstream: Upstream) -> None:
    server = make(LONG, LONG)
    await server.start()
    go = asyncio.Event()

    async def slow(call: Call) -> None:
        await call.begin_stream()
        await call.event(EVENTS[0])
        await go.wait()
        for event in (*EVENTS[1:], b"[END]"):
            await call.event(event)
        await call.end_stream()

    upstream.plays(slow, talks())
    headers = {"x-api-key": server.key}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=PATIENCE) as http:
        await http.get("/readyz")
        async with http.stream("POST", "/talk", json={**BODY, "stream": True}) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            server.signal(signal.SIGTERM)
            ready = await unready(http)
            assert (ready.status_code, ready.headers["connection"]) == (503, "close")
            late = await http.post("/talk", json=BODY)
            assert (late.status_code, late.headers["connection"]) == (200, "close")
            go.set()
            assert "lo" in "".join([line async for line in lines])
        server.signal(signal.SIGTERM)  # the client's idle connection would be borne for as long as it lingers
        assert await server.ended() == 0
    balance, reserved = await server.balance()
    assert (float(balance) < 1000, float(reserved)) == (True, 0.0)


async def test_what_does_not_end_in_time_is_told_and_charged(make: Maker, upstream: Upstream) -> None:
    server = make(0.3, 0.3)
    await server.start()
    upstream.plays(endless)
    async with (
        httpx.AsyncClient(base_url=server.url, headers={"x-api-key": server.key}, timeout=PATIENCE) as http,
        http.stream("POST", "/talk", json={**BODY, "stream": True}) as stream,
    ):
        lines = stream.aiter_lines()
        await anext(lines)
        server.signal(signal.SIGTERM)
        assert "shutting down" in "".join([line async for line in lines])
    assert await server.ended() == 0
    balance, reserved = await server.balance()
    assert (float(balance) < 1000, float(reserved)) == (True, 0.0)


async def test_clients_that_do_not_read_or_do_not_finish_do_not_hold_up_the_end(
    make: Maker, upstream: Upstream
) -> None:
    """One reads nothing of its stream, one sends half of its body, one waits in the queue."""
    server = make(0.3, 0.3)
    server.change(lambda value: value.update(overload={"running": 2, "wait": LONG}))
    await server.start()
    poured = 0

    async def pours(call: Call) -> None:
        nonlocal poured
        await call.begin_stream()
        await call.event(EVENTS[0])
        while not call.left.is_set():
            await call.event({"text": "x", "more": "x" * 16_000})
            poured += 1

    upstream.plays(pours)
    head = f"POST /talk HTTP/1.1\r\nhost: x\r\nx-api-key: {server.key}\r\ncontent-length: "
    whole = json.dumps({**BODY, "stream": True})
    sockets: list[socket.socket] = []
    try:
        for request in (f"{head}{len(whole)}\r\n\r\n{whole}", f"{head}1000\r\n\r\n{whole}", f"{head}9\r\n\r\n"):
            sockets.append(socket.create_connection(("127.0.0.1", server.port)))
            sockets[-1].sendall(request.encode())
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as http, asyncio.timeout(PATIENCE):
            while "nexeon_admission_queue 1" not in (await http.get("/metrics")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await until(lambda: poured)
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
    finally:
        for each in sockets:
            each.close()
    balance, reserved = await server.balance()
    assert (float(balance) < 1000, float(reserved)) == (True, 0.0)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_does_not_wait(make: Maker, upstream: Upstream, second: int) -> None:
    server = make(LONG, LONG)
    await server.start()
    upstream.plays(endless)
    async with (
        httpx.AsyncClient(base_url=server.url, headers={"x-api-key": server.key}, timeout=PATIENCE) as http,
        http.stream("POST", "/talk", json={**BODY, "stream": True}) as stream,
    ):
        lines = stream.aiter_lines()
        await anext(lines)
        server.signal(signal.SIGTERM)
        await unready(http)  # two signals at once are one
        server.signal(second)
        assert "shutting down" in "".join([line async for line in lines])
    assert await server.ended() == 0
    assert float((await server.balance())[0]) < 1000


async def test_a_connection_at_the_end_is_answered_or_refused_never_reset(make: Maker) -> None:
    server = make(0.5, LONG)
    server.first = PATIENT
    await server.start()
    told: Counter[str] = Counter()
    request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"

    async def knock() -> None:
        while not told["refused"]:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            except ConnectionRefusedError:
                told["refused"] += 1
                return
            writer.write(request)
            told[(await reader.readline()).decode()[:12]] += 1
            writer.close()

    knocking = [asyncio.create_task(knock()) for _ in range(32)]
    await until(lambda: told["HTTP/1.1 200"] > 100)
    server.signal(signal.SIGTERM)
    assert await server.ended() == 0
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*knocking)
    assert set(told) == {"HTTP/1.1 200", "refused"}


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such filter")
async def test_who_comes_between_the_queue_and_its_end_is_refused() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        listening.setblocking(False)
        client.setblocking(False)
        if not deafen(listening):
            pytest.skip("this user may attach no filter to a socket here")
        late = asyncio.create_task(loop.sock_connect(client, listening.getsockname()))
        await asyncio.sleep(0.1)
        assert not late.done()
        listening.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.wait_for(late, PATIENCE)


CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream gateways {{
    server 127.0.0.1:{one} max_fails=0;
    server 127.0.0.1:{two} max_fails=0;
    keepalive 32;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://gateways; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_next_upstream error timeout;
    }}
  }}
}}
"""


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_a_rolling_restart_behind_nginx_loses_no_request(make: Maker, upstream: Upstream, tmp_path: Path) -> None:
    """Each has a store of its own, so each client sends both keys, one in each place that a key may stand in."""
    upstream.plays(talks())
    processes = [make(2, 2), make(2, 2)]
    for server in processes:
        await server.start()
    port = free_port()
    file = tmp_path / "nginx.conf"
    one, two = (server.port for server in processes)
    file.write_text(CONFIGURATION.format(folder=tmp_path, one=one, two=two, port=port))
    nginx = await asyncio.create_subprocess_exec(str(NGINX), "-c", str(file), "-p", str(tmp_path))
    headers = {"authorization": f"Bearer {processes[0].key}", "x-api-key": processes[1].key}
    told: list[str] = []
    stopping = False

    async def ask(http: httpx.AsyncClient, number: int) -> None:
        while not stopping:
            body = {**BODY, "stream": number % 2 == 0}
            try:
                answer = await http.post("/talk", json=body)
                whole = "[END]" in answer.text or not body["stream"]
                told.append("whole" if answer.status_code == 200 and whole else f"{answer.status_code} {answer.text}")
            except httpx.TransportError as error:
                told.append(repr(error))

    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=PATIENCE) as http:
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        await http.get("/healthz")
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
            asking = [asyncio.create_task(ask(http, number)) for number in range(8)]

            async def go_on() -> None:
                so_far = len(told)
                await until(lambda: len(told) > so_far + 50)

            for server in (*processes, *processes):
                await go_on()
                server.signal(signal.SIGTERM)
                assert await server.ended() == 0
                await server.start()
            await go_on()
            stopping = True
            await asyncio.gather(*asking)
    finally:
        nginx.terminate()
        await nginx.wait()
    lost = [each for each in told if each != "whole"]
    assert lost == [], (tmp_path / "error.log").read_text()[-4000:]
