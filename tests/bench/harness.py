"""Starts the programs of a bench, loads them with wrk and reads what they cost from the operating system."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")

SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
{headers}
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
"""

DONE = """
done = function(summary, latency, requests)
  local bad = summary.errors.status + summary.errors.read + summary.errors.connect + summary.errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, bad,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """What wrk saw: microseconds, and answers other than 2xx."""

    requests: int
    seconds: float
    failed: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="nexeon-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def program(*command: str, port: int | None = None, environ: Mapping[str, str] | None = None) -> Iterator[int]:
    """A running program, once it accepts connections on `port`; its process id."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **(environ or {})}, text=True
    )
    try:
        if port is not None:
            _wait(process, port)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@contextmanager
def piped(*command: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """A running program that is told what to do, once it accepts connections on `port`. What it complains of goes where
    the bench's own complaints go. At the end it is killed: what it has under way may take long to end."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        _wait(process, port)
        yield process
    finally:
        process.kill()
        process.communicate()


def _wait(process: subprocess.Popen[str], port: int, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = process.stderr.read()[-2000:] if process.stderr is not None else ""
            raise SystemExit(f"{process.args!r} ended with {process.returncode}:\n{said}")
        if answers(port):
            return
        time.sleep(0.02)
    raise SystemExit(f"{process.args!r} was not ready within {seconds:g} s")


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def family(pid: int) -> list[int]:
    """A process and all of its descendants."""
    found = [pid]
    for one in found:
        for task in _tasks(one):
            try:
                found += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                continue
    return found


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def cpu(pid: int) -> float:
    """User and system seconds of a process tree so far."""
    return sum(cpu_of(one) for one in family(pid))


def cpu_of(pid: int) -> float:
    """The same of one process alone."""
    total = 0
    for task in _tasks(pid):
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (OSError, IndexError):
            continue
    return total / 1e9


def memory(pid: int) -> float:
    """Resident, in MB, of a process tree."""
    total = 0
    for one in family(pid):
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1])
        except OSError:
            continue
    return total * PAGE / 1e6


def wrk(
    url: str,
    body: Mapping[str, Any] | bytes,
    *,
    key: str,
    connections: int,
    seconds: int,
    where: Path,
    headers: Mapping[str, str] | None = None,
) -> Load:
    """Loads a URL with POST requests."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    (where / "body.json").write_bytes(data)
    sent = {"authorization": f"Bearer {key}", **(headers or {})}
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in sent.items())
    script = SCRIPT.format(headers=lines, body=where / "body.json")
    return run_wrk(url, script, connections=connections, seconds=seconds, where=where)


def run_wrk(url: str, script: str, *, connections: int, seconds: int, where: Path) -> Load:
    """Loads a URL with the requests of a script (Lua) of wrk's."""
    file = where / "load.lua"
    file.write_text(script + DONE)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", str(file), url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    requests, duration, failed, p50, p99 = (int(field) for field in line.split()[1:])
    return Load(requests, duration / 1e6, failed, p50, p99)
