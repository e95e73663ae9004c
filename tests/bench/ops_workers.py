"""Requests a second of one and of two workers on PostgreSQL: `python -m tests.bench.ops_workers`. Figures, not a test.

The load (wrk), the upstream (nginx, a canned answer) and the database share the machine's cores with the workers, so
what each of them takes is printed, and what follows from it: with `g` the gateway's CPU for a request and `o` that of
all others, one worker answers at most 1/g a second, and two on C cores min(2/g, C/(g+o)): on two cores 2g/(g+o) times
as much. Both gateways are up all the time and are loaded in turns, a few seconds each, because a machine that does
something else does not do it evenly.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import resource
import shutil
import signal
import statistics
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nexeon.admin import connect_http
from tests.bench import harness
from tests.servers import PostgresServer, postgres_programs

SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "256"))
"""So many that two workers are never without work while others wait for their commits."""
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
GOAL = 1.6
TOKEN = "a token of this bench only"
BODY = {"model": "bench", "max_tokens": 100, "messages": [{"role": "user", "content": "fifty words, please"}]}
OTHERS = ("sessions", "backgrounds", "upstream", "wrk")
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "bench",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "word " * 50}}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 50, "total_tokens": 62},
}
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 100000000;
  server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{answer}'; }} }}
}}
"""


async def account(url: str) -> str:
    """A key whose account has credit."""
    from nexeon.store import open_store
    from nexeon.store.records import Account, ApiKey
    from nexeon.store.secrets import digest, last4, new_secret

    secret = new_secret()
    store = await open_store(url)
    await store.add(Account("acc_1", "bench", 0.0))
    await store.add(ApiKey("key_1", "acc_1", "bench", 0.0, digest(secret), last4(secret)))
    await store.post("acc_1", "grant", 10**15)
    await store.close()
    return secret


def configuration(folder: Path, store: str, upstream: int, workers: int) -> tuple[Path, int]:
    port = harness.free_port()
    model = {"owned_by": "bench", "created": 1, "price": {"input": 1, "output": 2}}
    value: dict[str, Any] = {
        "server": {"port": port, "workers": workers, "watch": False},
        "store": {"url": store},
        "providers": {
            "canned": {
                "base_url": f"http://127.0.0.1:{upstream}/v1",
                "formats": ["openai.chat"],
                "auth": {"header": "Authorization", "value": "Bearer {{ key }}"},
                "api_key": "x",
            }
        },
        "models": {"bench": {**model, "targets": [{"provider": "canned", "model": "bench"}]}},
    }
    value["admin"] = {"http": {"token": TOKEN}}
    file = folder / f"workers{workers}.yaml"
    file.write_text(json.dumps(value))
    return file, port


@dataclass
class Served:
    """A gateway, and the sum of what its slices of the load have shown."""

    workers: int
    pid: int
    port: int
    loads: list[harness.Load] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)
    shares: dict[int, float] = field(default_factory=dict)
    """CPU seconds by what took them, and by worker."""

    @property
    def requests(self) -> int:
        return sum(load.requests for load in self.loads)

    @property
    def seconds(self) -> float:
        return sum(load.seconds for load in self.loads)

    def each(self, *names: str) -> float:
        """CPU seconds of a request."""
        return sum(self.spent[name] for name in names) / self.requests


def busy() -> float:
    """CPU seconds of the whole machine so far."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, soft, steal = (int(word) for word in words[:8])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def spent(served: Served, database: int, upstream: int) -> dict[str, float]:
    """CPU seconds so far; wrk is a child that has ended."""
    wrk = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = dict.fromkeys(("sessions", "backgrounds"), 0.0)
    for process in harness.family(database):
        with contextlib.suppress(OSError):
            session = "127.0.0.1(" in Path(f"/proc/{process}/cmdline").read_text()
            found["sessions" if session else "backgrounds"] += harness.cpu_of(process)
    return found | {
        "gateway": harness.cpu(served.pid),
        "upstream": harness.cpu(upstream),
        "wrk": wrk.ru_utime + wrk.ru_stime,
        "machine": busy(),
    }


def load(served: Served, where: Path, key: str, database: int, upstream: int, seconds: int) -> None:
    """One slice."""
    url = f"http://127.0.0.1:{served.port}/v1/chat/completions"
    workers = {pid: harness.cpu_of(pid) for pid in harness.family(served.pid)}
    before = spent(served, database, upstream)
    served.loads.append(harness.wrk(url, BODY, key=key, connections=CONNECTIONS, seconds=seconds, where=where))
    for name, now in spent(served, database, upstream).items():
        served.spent[name] = served.spent.get(name, 0.0) + now - before[name]
    for pid, was in workers.items():
        served.shares[pid] = served.shares.get(pid, 0.0) + harness.cpu_of(pid) - was


def status(served: Served, key: str) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(BODY), headers)
        return connection.getresponse().status


def spreading(told: Served, other: Served, key: str) -> float:
    """Seconds from the answer to a key's disabling at one gateway to its refusal at another; it is enabled again."""

    async def disable(disabled: bool) -> None:
        admin = connect_http(f"http://127.0.0.1:{told.port}", TOKEN)
        await admin.call("keys.update", key="key_1", disabled=disabled)
        await admin.close()

    asyncio.run(disable(True))
    began = time.monotonic()
    while status(other, key) != 401:
        pass
    took = time.monotonic() - began
    asyncio.run(disable(False))
    while status(other, key) != 200:
        pass
    return took


def until_ready(served: Served) -> None:
    """The port is open before every worker is ready."""
    deadline = time.monotonic() + 120
    wanted = f'worker="{served.workers - 1}"' if served.workers > 1 else "# TYPE"
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{served.port}/metrics") as answer:
            if wanted in answer.read().decode():
                return
        time.sleep(0.1)
    raise SystemExit("not every worker was ready within 120 s")


def main() -> None:
    if postgres_programs() is None or not shutil.which("wrk"):
        print("workers on PostgreSQL: needs Debian's postgresql and wrk")
        return
    with harness.folder() as folder, contextlib.ExitStack() as stack:
        folder.chmod(0o755)
        store = PostgresServer(folder / "postgres", durable=True)
        store.make()
        store.start()
        stack.callback(store.stop, signal.SIGQUIT)
        assert store.process is not None
        port = harness.free_port()
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=port, answer=json.dumps(ANSWER)))
        binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin") or "nginx"
        upstream = stack.enter_context(
            harness.program(binary, "-c", str(config), "-e", str(folder / "nginx.log"), port=port)
        )
        key = asyncio.run(account(store.url))
        gateways = []
        for workers in (1, 2):
            file, at = configuration(folder, store.url, port, workers)
            command = [sys.executable, "-m", "nexeon.cli", "serve", "-c", str(file)]
            gateways.append(Served(workers, stack.enter_context(harness.program(*command, port=at)), at))
            until_ready(gateways[-1])
        for gateway in gateways:
            harness.wrk(
                f"http://127.0.0.1:{gateway.port}/v1/chat/completions", BODY,
                key=key, connections=CONNECTIONS, seconds=2, where=folder,
            )  # fmt: skip
        for _ in range(ROUNDS):
            for gateway in gateways:
                load(gateway, folder, key, store.process.pid, upstream, SECONDS)
        show(*gateways)
        took = [spreading(gateways[0], gateways[1], key) * 1e3 for _ in range(10)]
        print(f"a key disabled at one gateway is refused by the other within {max(took):.0f} ms ({len(took)} times)")


def show(one: Served, two: Served) -> None:
    print(f"{CONNECTIONS} connections, {ROUNDS} slices of {SECONDS} s each in turns; CPU in µs a request")
    heads = ("workers", "req/s", "p50 ms", "p99 ms", "gateway", *OTHERS, "not ours", "failed")
    print("".join(f"{head:>12}" for head in heads))
    cores = len(os.sched_getaffinity(0))
    for served in (one, two):
        p50 = statistics.median(load.p50 for load in served.loads) / 1e3
        p99 = statistics.median(load.p99 for load in served.loads) / 1e3
        took = [served.each(name) * 1e6 for name in ("gateway", *OTHERS)]
        print(
            f"{served.workers:>12}{served.requests / served.seconds:>12.0f}{p50:>12.1f}{p99:>12.1f}"
            + "".join(f"{value:>12.0f}" for value in took)
            + f"{foreign(served):>8.2f} core{sum(load.failed for load in served.loads):>12}"
        )
    rates = [[load.rate for load in served.loads] for served in (one, two)]
    ratios = [after / before for before, after in zip(*rates, strict=True)]
    print("slices: " + ", ".join(f"{a:.0f} → {b:.0f} ({b / a:.2f})" for a, b in zip(*rates, strict=True)))
    print("CPU of each worker, in cores: " + ", ".join(f"{value / two.seconds:.2f}" for value in two.shares.values()))
    taken = " and ".join(f"{foreign(each):.2f}" for each in (one, two))
    print(
        f"two workers answer {statistics.median(ratios):.2f} times as much as one (median; best {max(ratios):.2f}; "
        f"goal: ≥ {GOAL}), while something else took {taken} cores"
    )
    (g1, o1), (g2, o2) = ((each.each("gateway") * 1e6, each.each(*OTHERS) * 1e6) for each in (one, two))
    alone, together = 1e6 / max(g1, (g1 + o1) / cores), 1e6 * min(2 / g2, cores / (g2 + o2))
    print(
        f"by what a request takes, and on {cores} cores of their own: one {alone:.0f} a second (1 / {g1:.0f} µs), "
        f"two {together:.0f} ({cores} / ({g2:.0f} + {o2:.0f}) µs): {together / alone:.2f} times; if a second one made "
        f"nothing dearer, {min(2, cores * g1 / (g1 + o1)):.2f}"
    )


def foreign(served: Served) -> float:
    """Cores that were taken by what is no part of this."""
    ours = sum(served.spent[name] for name in ("gateway", *OTHERS))
    return (served.spent["machine"] - ours) / served.seconds


if __name__ == "__main__":
    main()
