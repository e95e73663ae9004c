"""Runs the cases and prints the table: requests/s, CPU µs per request and per stream event, ratio to the echo."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.bench.upstream import TEXTS

CONNECTIONS = 16
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "3000"))
STREAMS = REQUESTS // 6
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Case:
    name: str
    path: str
    model: str
    stream: bool
    events: int = 1


CASES = [
    Case("JSON, same format", "/v1/chat/completions", "bench-chat", False),
    Case("JSON, cross format", "/v1/messages", "bench-chat", False),
    Case("JSON, cross format back", "/v1/chat/completions", "bench-messages", False),
    Case("stream, same format", "/v1/chat/completions", "bench-chat", True, TEXTS + 4),
    Case("stream, cross format", "/v1/messages", "bench-chat", True, TEXTS + 4),
    Case("stream, cross format back", "/v1/chat/completions", "bench-messages", True, TEXTS + 5),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def program(*command: str, environ: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environ or {})})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise SystemExit(f"a program ended with {process.returncode} before it was ready")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("a program was not ready within 30 s")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its finished children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(fields[place]) for place in (11, 12, 13, 14)) / TICKS


async def load(url: str, key: str, case: Case, count: int) -> float:
    """Sends the requests over CONNECTIONS connections; seconds taken."""
    body = {
        "model": case.model,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Say something that is fifty words long, please."}],
        **({"stream": True} if case.stream else {}),
    }
    data = json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    left = iter(range(count))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:

        async def work() -> None:
            for _ in left:
                async with session.post(url + case.path, data=data, headers=headers) as answer:
                    text = await answer.read()
                    if answer.status != 200 or b"word" not in text:
                        raise SystemExit(f"{case.name}: {answer.status} {text[:300]!r}")

        begin = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
        return time.perf_counter() - begin


def measure(url: str, key: str, pid: int, case: Case) -> tuple[float, float]:
    """(requests/s, CPU µs per request) after a warm-up."""
    count = STREAMS if case.stream else REQUESTS
    asyncio.run(load(url, key, case, max(count // 5, 50)))
    before = cpu_seconds(pid)
    seconds = asyncio.run(load(url, key, case, count))
    return count / seconds, (cpu_seconds(pid) - before) / count * 1e6


def configuration(folder: Path, upstream: str) -> Path:
    """Two models on the canned upstream."""

    def provider(form: str, header: str, value: str) -> dict[str, object]:
        return {"base_url": upstream, "formats": [form], "auth": {"header": header, "value": value}, "api_key": "x"}

    def model(provider: str) -> dict[str, object]:
        price = {"input": 1, "output": 2}
        return {
            "owned_by": "bench",
            "created": 1,
            "price": price,
            "targets": [{"provider": provider, "model": "bench"}],
        }

    text = json.dumps(
        {
            "store": {"url": f"tinydb:{folder}/data"},
            "providers": {
                "chatty": provider("openai.chat", "Authorization", "Bearer {{ key }}"),
                "messy": provider("anthropic.messages", "x-api-key", "{{ key }}"),
            },
            "models": {"bench-chat": model("chatty"), "bench-messages": model("messy")},
        }
    )
    path = folder / "gateway.yaml"
    path.write_text(text)
    return path


def make_key(nexeon: str, config: Path) -> str:
    def run(*arguments: str) -> str:
        return subprocess.run(
            [nexeon, *arguments, "-c", str(config)], check=True, capture_output=True, text=True
        ).stdout

    account = json.loads(run("accounts", "create", "--name", "bench", "--json"))["id"]
    run("credits", "add", account, "1000000")
    return str(json.loads(run("keys", "create", "--account", account, "--name", "bench", "--json"))["key"])


def main() -> None:
    nexeon = shutil.which("nexeon") or str(Path(sys.executable).with_name("nexeon"))
    folder = Path(tempfile.mkdtemp(prefix="nexeon-bench-"))
    ports = [free_port() for _ in range(3)]
    upstream = f"http://127.0.0.1:{ports[0]}"
    config = configuration(folder, upstream)
    try:
        key = make_key(nexeon, config)
        with (
            program(sys.executable, "-m", "tests.bench.upstream", str(ports[0])) as canned,
            program(sys.executable, "-m", "tests.bench.echo", str(ports[1]), upstream) as echo,
            program(nexeon, "serve", "-c", str(config), "--port", str(ports[2])) as gateway,
        ):
            for port, process in zip(ports, (canned, echo, gateway), strict=True):
                wait_for(port, process)
            print(f"{'case':<27}{'':>9}{'req/s':>9}{'CPU µs/req':>12}{'µs/event':>10}{'x echo':>8}")
            for case in CASES:
                rate, bare = measure(f"http://127.0.0.1:{ports[1]}", key, echo.pid, case)
                show(case, "echo", rate, bare, bare)
                rate, ours = measure(f"http://127.0.0.1:{ports[2]}", key, gateway.pid, case)
                show(case, "nexeon", rate, ours, bare)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def show(case: Case, who: str, rate: float, cpu: float, bare: float) -> None:
    per_event = f"{cpu / case.events:>10.1f}" if case.stream else f"{'':>10}"
    print(f"{case.name:<27}{who:>9}{rate:>9.0f}{cpu:>12.0f}{per_event}{cpu / bare:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
