"""From the start of the process until it is ready and until its first answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench import deployment
from tests.bench.harness import cpu, memory
from tests.bench.peers import NEXEON
from tests.ports import free_port

_PATIENCE = 60.0
_RUNS = 5
CHAT = "openai.chat"


@dataclass(frozen=True)
class Start:
    """Seconds from the start, CPU seconds until ready, MB then."""

    ready: float
    answer: float
    cpu: float
    memory: float

    def line(self) -> str:
        return (
            f"ready {self.ready:.2f} s, first answer {self.answer:.2f} s, CPU until ready {self.cpu:.2f} s, "
            f"{self.memory:.0f} MB"
        )


def start(config: Path, key: str, environ: Mapping[str, str]) -> Start:
    port = free_port()
    body = json.dumps(deployment.body(CHAT, deployment.model("json", CHAT)))
    began = time.perf_counter()
    process = subprocess.Popen(
        [NEXEON, "serve", "-c", str(config), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environ},
    )
    try:
        _ask(port, "GET", "/readyz", None, {}, process)
        ready, spent, size = time.perf_counter() - began, cpu(process.pid), memory(process.pid)
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        _ask(port, "POST", "/v1/chat/completions", body, headers, process)
        return Start(ready, time.perf_counter() - began, spent, size)
    finally:
        process.terminate()
        process.wait(30)


def until_ready(port: int) -> None:
    """Raises SystemExit."""
    _ask(port, "GET", "/readyz", None, {})


def _ask(
    port: int,
    method: str,
    path: str,
    body: str | None,
    headers: Mapping[str, str],
    process: subprocess.Popen[bytes] | None = None,
) -> None:
    """Until there is an answer; what is asked once the socket listens waits there for it."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        with contextlib.closing(connection), contextlib.suppress(ConnectionError):
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            if answer.status == 200:
                return
            raise SystemExit(f"{method} {path}: {answer.status} {answer.read()[:300]!r}")
        time.sleep(0.002)
    raise SystemExit(f"{method} {path}: no answer")


def measure(where: Path, upstream: int) -> dict[str, Start]:
    """The best of some, by what is there: nothing kept by an earlier start; what an installed package keeps (its
    bytecode, compiled mappings); the same with 1,000 models more."""
    found: dict[str, Start] = {}
    for models in (0, 1000):
        home = where / f"start-{models}"
        home.mkdir()
        config = deployment.configuration(home, f"http://127.0.0.1:{upstream}", models=models)
        key = deployment.make_key(NEXEON, config)
        kept = {
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(where / "bytecode"),
            "NEXEON_CACHE": str(where / "cache"),
        }
        first = start(config, key, kept)
        if not models:
            found["the very first time"] = first
        total = models + len(deployment.WAYS) * len(deployment.SHORT)
        found[f"{total:,} models"] = min((start(config, key, kept) for _ in range(_RUNS)), key=lambda one: one.ready)
    return found
