"""Reloads under load, and a rolling restart behind nginx. Figures, and exit status 1 where a request
failed. RELOADS (1000) and RESTARTS (6) say how many; of EVERY (40) reloads one has a changed mapping."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from nexeon.admin import AdminClient, connect
from nexeon.data import data_path
from tests.bench.asking import Told, asking
from tests.bench.deployment import body, configuration, path
from tests.bench.harness import folder
from tests.bench.late import lateness
from tests.ports import free_port

RELOADS = int(os.environ.get("RELOADS", "1000"))
RESTARTS = int(os.environ.get("RESTARTS", "6"))
FORMAT = "openai.chat"
END = "data: [DONE]"
EVERY = int(os.environ.get("EVERY", "40"))
"""Of so many reloads one has a changed mapping, which is compiled anew."""

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream gateways {{ {servers} keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://gateways; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_next_upstream error timeout;
    }}
  }}
}}
"""


class Gateway:
    """A process with a store of its own."""

    def __init__(self, home: Path, upstream: str) -> None:
        home.mkdir()
        self.home = home
        self.late = home / "late"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.file = configuration(home, upstream)
        self.settings: dict[str, Any] = json.loads(self.file.read_text())
        own = home / "mappings" / "formats"
        own.mkdir(parents=True)
        self.mapping = own / f"{FORMAT}.yaml"
        self.text = (data_path("mappings") / "formats" / f"{FORMAT}.yaml").read_text(encoding="utf-8")
        self.mapping.write_text(self.text, encoding="utf-8")
        self.settings |= {"mappings": ["builtin", str(home / "mappings")]}
        self.settings["server"] = {"port": self.port, "watch": False}
        self.write()
        self.key = ""
        self.process: asyncio.subprocess.Process | None = None

    def write(self) -> None:
        self.file.write_text(json.dumps(self.settings))

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.late", str(self.late), "serve", "-c", str(self.file),
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await reachable(self.url + "/readyz")
        if not self.key:
            client = await self.admin()
            await client.call("accounts.create", name="bench")
            await client.call("credits.add", account="bench", usd="1000000")
            self.key = (await client.call("keys.create", account="bench", name="bench"))["key"]
            await client.close()

    async def admin(self) -> AdminClient:
        return await connect(f"tinydb:{self.home / 'data'}")

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            await self.process.wait()

    async def measures(self) -> dict[str, float]:
        async with httpx.AsyncClient() as http:
            text = (await http.get(self.url + "/metrics")).text
        return {name: float(value) for name, value in re.findall(r"^(\S+) (\S+)$", text, re.MULTILINE)}


async def reachable(url: str) -> None:
    async with httpx.AsyncClient() as http, asyncio.timeout(240):  # a first start compiles, on a machine that is busy
        while True:
            try:
                if (await http.get(url)).status_code < 500:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.02)


def requests(model: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    return path(FORMAT, model), body(FORMAT, "json-chat"), body(FORMAT, model, stream=True)


async def reloads(home: Path, upstream: str) -> Told:
    gateway = Gateway(home / "one", upstream)
    await gateway.start()
    where, answer, stream = requests("burst-chat")
    headers = {"authorization": f"Bearer {gateway.key}"}
    admin = await gateway.admin()
    try:
        async with asking(gateway.url, headers, where, answer, stream, end=END, clients=2, streams=2) as calm:
            calm_began = time.time()
            await asyncio.sleep(5)
            calm_ended = time.time()
        print(f"without reloads   {calm.line()}", flush=True)
        took: dict[str, list[float]] = {"configuration": [], "mappings": []}
        memory: list[float] = []
        async with asking(gateway.url, headers, where, answer, stream, end=END, clients=2, streams=2) as told:
            loud_began = time.time()
            for number in range(RELOADS):
                kind = "mappings" if number % EVERY == EVERY - 1 else "configuration"
                if kind == "mappings":
                    gateway.mapping.write_text(f"{gateway.text}\n# {number}\n", encoding="utf-8")
                else:
                    gateway.settings["models"]["json-chat"]["price"] = {"input": 1 + number % 7, "output": 2}
                    gateway.settings["models"][f"new-{number % 50}"] = gateway.settings["models"]["json-chat"]
                    gateway.write()
                began = time.perf_counter()
                outcome = await admin.call("reload")
                took[kind].append(time.perf_counter() - began)
                if outcome["outcome"] == "refused":
                    told.failures.append(f"reload {number}: {outcome['problems']}")
                if number % max(1, RELOADS // 10) == 0:
                    memory.append((await gateway.measures())["process_resident_memory_bytes"] / 2**20)
            loud_ended = time.time()
        after = await gateway.measures()
    finally:
        await admin.close()
        await gateway.stop()
    print(f"{RELOADS} reloads     {told.line()}")
    for kind, seconds in took.items():
        ordered = sorted(seconds) or [0.0]
        print(
            f"  {kind:<15} {len(seconds)} times, {ordered[len(ordered) // 2] * 1000:.0f} ms (p50), "
            f"{ordered[-1] * 1000:.0f} ms at most"
        )
    print(f"  event loop late {lateness(gateway.late, loud_began, loud_ended)}")
    print(f"  without reloads {lateness(gateway.late, calm_began, calm_ended)}")
    print(f"  memory, MiB     {' '.join(f'{size:.0f}' for size in memory)}")
    print(f"  configurations still held at the end: {after['nexeon_generations']:.0f}", flush=True)
    told.failures += calm.failures
    return told


async def restarts(home: Path, upstream: str) -> Told:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not RESTARTS:
        return Told()
    if nginx is None:
        print("rolling restart   nginx is not installed")
        return Told()
    gateways = [Gateway(home / name, upstream) for name in ("two", "three")]
    for gateway in gateways:
        await gateway.start()
    port = free_port()
    servers = " ".join(f"server 127.0.0.1:{each.port} max_fails=0;" for each in gateways)
    file = home / "nginx.conf"
    file.write_text(NGINX.format(folder=home, servers=servers, port=port))
    balancer = await asyncio.create_subprocess_exec(nginx, "-c", str(file), "-p", str(home))
    url = f"http://127.0.0.1:{port}"
    # each gateway knows one of the two keys
    headers = {"authorization": f"Bearer {gateways[0].key}", "x-api-key": gateways[1].key}
    where, answer, stream = requests("burst-chat")
    took = []
    try:
        await reachable(url + "/healthz")
        async with asking(url, headers, where, answer, stream, end=END) as told:
            for number in range(RESTARTS):
                await asyncio.sleep(1)
                began = time.perf_counter()
                await gateways[number % 2].stop()
                await gateways[number % 2].start()
                took.append(time.perf_counter() - began)
                await asyncio.sleep(1.2)
    finally:
        balancer.terminate()
        await balancer.wait()
        for gateway in gateways:
            await gateway.stop()
    print(f"{RESTARTS} restarts behind nginx   {told.line()}")
    print(f"  each took {sum(took) / len(took):.1f} s, the other one answering")
    return told


async def main() -> int:
    port = free_port()
    upstream = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.bench.upstream", str(port))
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 0.5).close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        with folder() as home:
            url = f"http://127.0.0.1:{port}"
            told = [await reloads(home, url), await restarts(home, url)]
    finally:
        upstream.terminate()
        await upstream.wait()
    failures = [failure for each in told for failure in each.failures]
    for failure in failures[:10]:
        print(f"failed: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
