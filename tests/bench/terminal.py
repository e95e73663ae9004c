"""The admin terminal at size: `python -m tests.bench.terminal`. Figures, not a test.

NEXEON_BENCH_KEYS (100,000) and NEXEON_BENCH_REQUESTS (1,000,000) records beside a real gateway, which a real terminal
(a pseudo-terminal of 160 × 48) and the app under Textual's pilot look at through the admin socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import select
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from nexeon.admin import AdminClient, connect
from nexeon.store.checkpoint import Snapshot
from nexeon.store.journal import segment
from nexeon.store.records import Account, ApiKey
from nexeon.store.requests import RequestLog
from nexeon.store.secrets import digest
from nexeon.store.state import Put, State
from tui.app import AdminApp
from tui.screens.listing import ListScreen
from tui.widgets.search import PAUSE, SearchLine

KEYS = int(os.environ.get("NEXEON_BENCH_KEYS", "100000"))
REQUESTS = int(os.environ.get("NEXEON_BENCH_REQUESTS", "1000000"))
MODELS = [f"model-{number}" for number in range(40)]
SIZE = (160, 48)
ROUNDS = 20
WORDS = ("ci", "laptop", "nightly", "web", "agent")


async def make(folder: Path) -> None:
    """A store with that many keys, and a log with that many requests."""
    state = State()
    accounts = [f"acc_{number:016x}" for number in range(max(KEYS // 10, 1))]
    for number, account in enumerate(accounts):
        state.apply(Put(Account(account, f"account-{number}", 1.7e9)))
    for number in range(KEYS):
        id, name = f"key_{number:016x}", f"{WORDS[number % 5]}-{number}"
        state.apply(
            Put(ApiKey(id, accounts[number % len(accounts)], name, 1.7e9, digest(f"s{number}"), f"{number:04x}"[-4:]))
        )
    Snapshot(state).save(folder / "checkpoint.json", generation=1, archived=0)
    segment(folder, 1).touch()
    log = RequestLog(folder)
    await log.list()  # makes the tables
    await log.close()
    _fill(folder / "requests.sqlite3")


def _fill(file: Path) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN")
    begin = time.time() - REQUESTS / 10
    columns = "id, started, account, key, model, provider, status, facts"
    query = f"INSERT INTO requests ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    connection.executemany(query, (_row(number, begin) for number in range(REQUESTS)))
    connection.execute("COMMIT")
    connection.close()


def _row(number: int, begin: float) -> tuple[Any, ...]:
    """Ten a second until now."""
    started = begin + number / 10
    status = 502 if number % 997 == 0 else 200
    facts = {
        "id": f"req_{number:024x}",
        "started": started,
        "ended": started + 0.9,
        "steps": {"admitted": 0.002, "answered": 0.4, "settled": 0.9},
        "account": f"acc_{number % max(KEYS // 10, 1):016x}",
        "key": f"key_{number % KEYS:016x}",
        "model": MODELS[number * number % 40],
        "served": MODELS[number * number % 40],
        "provider": "one",
        "format": "a.format",
        "stream": True,
        "status": status,
        "error": "" if status == 200 else "no target answered",
        "attempts": [{"provider": "one", "model": "m", "key": "pk", "outcome": "ok", "status": 200, "seconds": 0.4}],
        "usage": {"input": 1200, "cached_input": 800, "output": 350},
        "cost": 4_200_000,
        "estimated": False,
        "dropped": [],
    }
    columns = (facts[name] for name in ("id", "started", "account", "key", "model", "provider", "status"))
    return (*columns, orjson.dumps(facts))


@contextlib.contextmanager
def served(folder: Path, config: Path) -> Iterator[None]:
    command = [
        sys.executable,
        "-m",
        "nexeon.cli",
        "serve",
        "--sandbox",
        "--port",
        "0",
        "-c",
        "gateway.yaml",
        "-c",
        str(config),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if b"answers at" in line:
                break
        else:
            raise RuntimeError(b"".join(said).decode())
        yield
    finally:
        process.terminate()
        process.wait()


def first_screen(config: Path) -> tuple[float, float, float]:
    """Seconds from the command to the first screen, and to its figures, in a real terminal; and CPU until the first."""
    begun = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        arguments = [sys.executable, "-m", "nexeon.cli", "tui", "-c", "gateway.yaml", "-c", str(config)]
        os.execvpe(sys.executable, arguments, {**os.environ, "TERM": "xterm-256color"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
    seen, drawn, figures, used = b"", 0.0, 0.0, 0.0
    while not figures and time.perf_counter() - begun < 30:
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536)
        if not drawn and b"Overview" in seen:
            drawn = time.perf_counter() - begun
            used = _cpu(pid)
        if drawn and (b"Nothing needs" in seen or b"no credit" in seen):
            figures = time.perf_counter() - begun
    os.write(terminal, b"\x11")
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass
    os.waitpid(pid, 0)
    os.close(terminal)
    return drawn, figures, used


def _cpu(pid: int) -> float:
    """Seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def lag() -> AsyncIterator[list[float]]:
    """The longest times, in seconds, for which the event loop let nothing else run."""
    found: list[float] = []

    async def watch() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.001)
            found.append(time.perf_counter() - begun - 0.001)

    task = asyncio.create_task(watch())
    try:
        yield found
    finally:
        task.cancel()


Times = list[tuple[float, float]]
"""Seconds, and seconds of the UI thread's CPU, which a busy machine does not lengthen so much."""


async def timed(act: Callable[[], Awaitable[Any]], rounds: int = ROUNDS) -> Times:
    found = []
    for _ in range(rounds):
        begun, used = time.perf_counter(), time.thread_time()
        await act()
        found.append((time.perf_counter() - begun, time.thread_time() - used))
    return found


def told(name: str, found: Times) -> None:
    cells = []
    for column in zip(*found, strict=True):
        cells += [statistics.median(column), max(column)]
    print(f"  {name:<58}" + "".join(f"{cell * 1000:9.1f}" for cell in cells), flush=True)


async def until(happened: Callable[[], bool], limit: float = 30.0) -> None:
    """Looks every millisecond. Raises TimeoutError."""
    async with asyncio.timeout(limit):
        while not happened():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.001)


async def drive(store: str) -> None:
    async def near() -> AdminClient:
        return await connect(store, actor="bench")

    app = AdminApp(near)
    async with app.run_test(size=SIZE) as pilot:
        print(f"  {'milliseconds':<58}{'median':>9}{'worst':>9}{'CPU':>9}{'worst':>9}")

        def loaded() -> bool:
            return not any(worker.is_running for worker in app.workers if worker.name == "load")

        async def visit(key: str) -> None:
            await pilot.press(key)
            screen = app.screen
            await until(lambda: not isinstance(screen, ListScreen) or bool(screen.table.items))

        async with lag() as stalls:
            told("a screen opened for the first time (keys)", await timed(lambda: visit("3"), 1))
            told("… (requests)", await timed(lambda: visit("6"), 1))
            told("a screen opened again", await timed(lambda: visit("3")))
            screen = app.screen
            assert isinstance(screen, ListScreen)
            told("j, in the list of keys", await timed(lambda: pilot.press("j")))
            told("ctrl+d, a page", await timed(lambda: pilot.press("ctrl+d")))
            await pilot.press("g", "slash")
            line = screen.query_one(SearchLine)
            letters = iter("nightly-99999laptop-12")
            told("a letter in the search line", await timed(lambda: pilot.press(next(letters)), 12))
            for search, kind in (("nightly-99999", "rare"), ("web", "common"), ("nobody", "in none")):

                async def look(search: str = search) -> None:
                    line.value = search
                    line.tell()
                    await until(lambda: screen.looking_for == search and loaded())

                told(f"{kind} text found among {KEYS:,} keys (+ {PAUSE * 1000:.0f} ms of pause)", await timed(look, 1))
            await pilot.press("escape")
            await visit("6")
            await pilot.pause()
            requests = app.screen
            assert isinstance(requests, ListScreen)
            told("j, in the live list of requests", await timed(lambda: pilot.press("j")))
            for search in (f"model:{MODELS[9]}", "failed", "status:502", "key:web-13", "model:nobody"):

                async def filtered(search: str = search) -> None:
                    requests.seek(search)
                    await pilot.pause()
                    await until(loaded)

                told(f"{search}, of {REQUESTS:,} requests", await timed(filtered, 3))
        told("the UI's event loop held up, all that time", [(stall, 0.0) for stall in stalls])


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nx", dir="/tmp") as name:
        folder, config = Path(name) / "data", Path(name) / "own.yaml"
        folder.mkdir(mode=0o700)
        config.write_text(f"store: {{url: 'tinydb:{folder}'}}\nserver: {{port: 0}}\n")
        print(f"making {KEYS:,} keys and {REQUESTS:,} requests …", file=sys.stderr, flush=True)
        asyncio.run(make(folder))
        with served(folder, config):
            for _ in range(3):
                drawn, figures, used = first_screen(config)
                words = f"first screen after {drawn:.2f} s ({used:.2f} s of CPU), its figures after {figures:.2f} s"
                print(f"  start: {words}", flush=True)
            asyncio.run(drive(f"tinydb:{folder}"))


if __name__ == "__main__":
    main()
