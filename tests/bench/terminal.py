"""The admin terminal at size: `python -m tests.bench.terminal`. Figures, not a test.

NEXEON_BENCH_KEYS (100,000) and NEXEON_BENCH_REQUESTS (1,000,000) records beside a real gateway, which the real program
looks at through the admin socket, in a pseudo-terminal of 160 × 48. A key's time is from its writing to the terminal
until what it brings about is drawn. NEXEON_BENCH_STORE names a folder that keeps the records for the next run.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import os
import pty
import re
import select
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from nexeon.store.checkpoint import Snapshot
from nexeon.store.journal import segment
from nexeon.store.records import Account, ApiKey
from nexeon.store.requests import RequestLog
from nexeon.store.secrets import digest
from nexeon.store.state import Put, State
from tests.bench.terminal_keys import presses

KEYS = int(os.environ.get("NEXEON_BENCH_KEYS", "100000"))
REQUESTS = int(os.environ.get("NEXEON_BENCH_REQUESTS", "1000000"))
MODELS = [f"model-{number}" for number in range(40)]
SIZE = (160, 48)
ROUNDS = 40
PROVIDERS = ("one", "two")
RARE = 99_991
"""Every so many requests went to the second provider."""
WORDS = ("ci", "laptop", "nightly", "web", "agent")
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;:?<>=]*[a-zA-Z]|[\]PX^_].*?(?:\x07|\x1b\\)|[^\[\]PX^_])")


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
        "provider": PROVIDERS[number % RARE == 0],
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


class Terminal:
    """The real program in a pseudo-terminal, as a person has it: keys go in, and what it draws is read."""

    def __init__(self, config: Path) -> None:
        self.begun = time.perf_counter()
        self.pid, self._line = pty.fork()
        if self.pid == 0:
            arguments = [sys.executable, "-m", "nexeon.cli", "tui", "-c", "gateway.yaml", "-c", str(config)]
            os.execvpe(sys.executable, arguments, {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"})
        fcntl.ioctl(self._line, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))

    def press(self, keys: str) -> float:
        """Returns when (a performance counter's seconds)."""
        begun = time.perf_counter()
        os.write(self._line, keys.encode())
        return begun

    def until(self, *words: str, limit: float = 30.0) -> float:
        """Reads until one of the words is drawn; returns when that was. Raises TimeoutError."""
        drawn, end = b"", time.perf_counter() + limit
        while True:
            drawn += self._read(0.05)
            seen = time.perf_counter()
            plain = _ESCAPES.sub("", drawn.decode(errors="replace"))
            if plain and any(word in plain for word in words):
                return seen
            if seen > end:
                raise TimeoutError(f"none of {words} was drawn, but {' '.join(plain.split())[-500:]}")

    def rest(self, seconds: float = 0.1) -> None:
        """Reads until nothing is drawn for so long, or for a second."""
        end = time.perf_counter() + 1.0
        while self._read(seconds) and time.perf_counter() < end:
            pass

    def _read(self, seconds: float) -> bytes:
        return os.read(self._line, 1 << 16) if select.select([self._line], [], [], seconds)[0] else b""

    def cpu(self) -> float:
        """Seconds that all its threads have run."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def close(self) -> None:
        os.write(self._line, b"\x11")
        with contextlib.suppress(OSError):
            while os.read(self._line, 65536):
                pass
        os.waitpid(self.pid, 0)
        os.close(self._line)


Times = list[tuple[float, float]]
"""Seconds from a key to its effect on the screen, and seconds of CPU that the program used for it."""


def key(number: int) -> str:
    return f"{WORDS[number % 5]}-{number}"


def newest(wanted: Callable[[int], bool]) -> str:
    """The key of the newest request of that kind."""
    return key(next(number for number in range(REQUESTS - 1, -1, -1) if wanted(number)) % KEYS)


def timed(terminal: Terminal, keys: str, *words: str) -> tuple[float, float]:
    """A key, or several, until one of the words is drawn."""
    terminal.rest()
    used = terminal.cpu()
    begun = terminal.press(keys)
    seen = terminal.until(*words)
    terminal.rest()
    return seen - begun, terminal.cpu() - used


def searched(terminal: Terminal, text: str, *words: str) -> tuple[float, float]:
    """Enter, once what is searched for stands in the search line, and before it is searched for by itself."""
    terminal.rest()
    terminal.press("/")
    terminal.rest()
    terminal.press(text)
    terminal.until(text)
    terminal.rest(0.03)
    used = terminal.cpu()
    begun = terminal.press("\r")
    seen = terminal.until(*words)
    terminal.rest()
    return seen - begun, terminal.cpu() - used


def unsearched(terminal: Terminal, word: str) -> tuple[float, float]:
    """Escape, out of a search line that is open."""
    terminal.rest()
    terminal.press("/")
    return timed(terminal, "\x1b", word)


def told(name: str, found: Times) -> None:
    cells = []
    for column in zip(*found, strict=True):
        ranked = sorted(column)
        cells += [statistics.median(ranked), ranked[math.ceil(len(ranked) * 0.95) - 1], ranked[-1]]
    print(f"  {name:<50}" + "".join(f"{cell * 1000:8.1f}" for cell in cells), flush=True)


def start(config: Path) -> Terminal:
    terminal = Terminal(config)
    drawn = terminal.until("Overview") - terminal.begun
    used = terminal.cpu()
    figures = terminal.until("Nothing needs", "no credit") - terminal.begun
    words = f"first screen after {drawn:.2f} s ({used:.2f} s of CPU), its figures after {figures:.2f} s"
    print(f"  start: {words}", flush=True)
    return terminal


def drive(terminal: Terminal) -> None:
    columns = ("median", "p95", "worst", "CPU", "p95", "worst")
    print(f"  {'milliseconds from a key to what it draws':<50}" + "".join(f"{name:>8}" for name in columns))
    keys = [key(number) for number in range(ROUNDS)]
    live = [key((REQUESTS - 1 - number) % KEYS) for number in range(ROUNDS)]
    told("3: the keys, for the first time", [timed(terminal, "3", keys[0])])
    told("6: the requests, for the first time", [timed(terminal, "6", live[0])])
    other = {"3": keys[0], "6": live[0]}
    told("a screen opened again", [timed(terminal, digit, other[digit]) for digit in "36" * (ROUNDS // 4) + "3"])
    told("j, in the list of keys", [timed(terminal, "j", name) for name in keys[1:]])
    terminal.press("g")
    page = SIZE[1] - 3
    pages = [timed(terminal, "\x04", key(page * (number + 1) + page // 2)) for number in range(ROUNDS)]
    told("ctrl+d, a page on (with what is loaded on the way)", pages)
    terminal.press("g/")
    typed = "nightly-99999-laptop-12"
    letters = [timed(terminal, letter, typed[: at + 1]) for at, letter in enumerate(typed)]
    told("a letter in the search line", letters)
    timed(terminal, "\x1b", keys[0])  # seen before the next key, with which it would be another
    for name, text, found in (
        ("one", key(KEYS - 1), f" {key(KEYS - 1)} "),
        ("a fifth", WORDS[3], key(8)),
        ("none", "nobody", "Nothing matches"),
    ):
        told(f"{name} found among {KEYS:,}: Enter", [searched(terminal, text, found)])
        told("… and all of them again: Escape", [unsearched(terminal, keys[0])])
    terminal.press("6")
    terminal.rest()
    told("j, in the live list of requests", [timed(terminal, "j", name) for name in live[1:]])
    terminal.press("g")
    for search, name in (
        (f"model:{MODELS[9]}", newest(lambda number: number * number % 40 == 9)),
        ("failed", newest(lambda number: number % 997 == 0)),
        ("status:502", newest(lambda number: number % 997 == 0)),
        (f"key:{key(13)}", f" {key(13)} "),
        (f"provider:{PROVIDERS[1]}", newest(lambda number: number % RARE == 0)),
        ("provider:nobody", "No request like that"),
        ("model:nobody", "No request like that"),
        ("status:418", "No request like that"),
    ):
        times: Times = []
        for _ in range(3):
            times.append(searched(terminal, search, name))
            unsearched(terminal, live[0])
        told(f"{search} of {REQUESTS:,}: Enter", times)


def drive_all(terminal: Terminal) -> None:
    """Every kind of key, some rounds of them."""
    timed(terminal, "3", key(0))
    found: dict[str, Times] = {}
    for _ in range(5):
        for press in presses(key(0), "account-0"):
            took = timed(terminal, press.keys, press.word)
            if press.name:
                found.setdefault(press.name, []).append(took)
    for name, times in found.items():
        told(name, times)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nx", dir="/tmp") as name:
        folder, config = Path(os.environ.get("NEXEON_BENCH_STORE") or Path(name) / "data"), Path(name) / "own.yaml"
        config.write_text(f"store: {{url: 'tinydb:{folder}'}}\nserver: {{port: 0}}\n")
        if not folder.exists():
            folder.mkdir(mode=0o700)
            print(f"making {KEYS:,} keys and {REQUESTS:,} requests …", file=sys.stderr, flush=True)
            asyncio.run(make(folder))
        with served(folder, config):
            for _ in range(2):
                start(config).close()
            terminal = start(config)
            try:
                terminal.rest(1.5)  # meanwhile it makes the other screens ahead
                drive(terminal)
                drive_all(terminal)
            finally:
                terminal.close()


if __name__ == "__main__":
    main()
