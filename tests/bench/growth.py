"""What a request costs beside how much there is: keys, models, ledger entries, provider keys, open streams.

A gateway for each size, all asked by turns, so that what else the machine does hits all of them. Every key, or every
model, is asked for in its turn. With PostgreSQL the database's part counts, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import uvloop

from tests.bench import deployment, paced, store
from tests.bench.harness import cpu, memory, run_wrk
from tests.bench.peers import NEXEON, Peer, nexeon
from tests.bench.start import until_ready
from tests.servers import PostgresServer, postgres_programs

SIZES = (100, 1_000, 10_000, 100_000)
FEWER = (1, 10, 100)
"""Keys of one provider."""

STREAMS = (100, 1_000, 10_000)
KEYS, MODELS, ENTRIES, SHARED, PROVIDER_KEYS, OPEN = (
    "keys", "models", "ledger entries", "ledger entries in PostgreSQL", "provider keys", "open streams"
)  # fmt: skip
WHATS = (KEYS, MODELS, ENTRIES, SHARED, PROVIDER_KEYS, OPEN)
CHAT = "openai.chat"
_FEW = 100
_ONE_ACCOUNT = 10
"""So few keys have one account, and with it every entry of the ledger."""

_SECONDS = 1
_ROUNDS = 5
_SETTLED = 2
"""Seconds after which what the begin, or the end, of streams brings with it is over."""

_OTHER_FILES = 500
"""Files that a process may have open beside those of streams."""

SCRIPT = """
wrk.method, wrk.path = "POST", "{path}"
local number, keys, models = {first}, {keys}, {models}
request = function()
  number = number + 1
  local model = "{model}"
  if models > 0 then model = model .. number % models end
  local headers = {{ ["content-type"] = "application/json", ["authorization"] = "Bearer secret " .. number % keys }}
  return wrk.format(nil, nil, headers, (([==[{body}]==]):gsub("MODEL", model)))
end
"""


@dataclass(frozen=True)
class Size:
    """What one size of something takes: CPU µs of a request, CPU seconds until the gateway was ready, MB of it after
    the load. Open streams have no start of their own: 0."""

    cpu: float
    ready: float
    memory: float


Sizes = Mapping[int, Size]


@dataclass
class _Asked:
    """A gateway of some size. `database` is a process whose work counts; `idle` is what the gateway takes anyhow, CPU
    seconds in each second."""

    peer: Peer
    ready: float
    keys: int = _FEW
    models: int = 0
    database: int | None = None
    idle: float = 0.0
    costs: list[float] = field(default_factory=list)
    count: int = 0

    def load(self, where: Path, *, counted: bool = True) -> None:
        script = SCRIPT.format(
            path=deployment.path(CHAT, ""),
            first=self.count,
            keys=self.keys,
            models=self.models,
            model="more-" if self.models else deployment.model("json", CHAT),
            body=json.dumps(deployment.body(CHAT, "MODEL")),
        )
        pids = [self.peer.pid, *([self.database] if self.database is not None else [])]
        before = sum(map(cpu, pids))
        url = f"http://127.0.0.1:{self.peer.port}"
        done = run_wrk(url, script, connections=16, seconds=_SECONDS, where=where)
        if done.failed or not done.requests:
            raise SystemExit(f"{done.failed} of {done.requests} requests failed")
        self.count += done.requests
        if counted:
            self.costs.append((sum(map(cpu, pids)) - before - self.idle * done.seconds) / done.requests * 1e6)

    def size(self) -> Size:
        return Size(median(self.costs), self.ready, memory(self.peer.pid))


def measure(what: str, where: Path, upstream: int) -> dict[int, Size]:
    """By how many there are of it; nothing where what it needs is missing."""
    home = where / what.replace(" ", "-")
    try:
        if what == OPEN:
            return _beside_streams(home, upstream)
        if what == SHARED and postgres_programs() is None:
            return {}
        return _side_by_side(home, upstream, what, FEWER if what == PROVIDER_KEYS else SIZES)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _deploy(home: Path, upstream: int, what: str, size: int, database: str | None) -> Path:
    """The configuration, and a store in which every account has credit."""
    home.mkdir(parents=True)
    keys = size if what == KEYS else _ONE_ACCOUNT if what in (ENTRIES, SHARED) else _FEW
    accounts = max(1, keys // store.KEYS_AN_ACCOUNT)
    store.make(home / "data", keys, size if what in (ENTRIES, SHARED) else accounts)
    config = deployment.configuration(
        home,
        f"http://127.0.0.1:{upstream}",
        models=size if what == MODELS else 0,
        provider_keys=size if what == PROVIDER_KEYS else 1,
        together=100_000 if what == OPEN else 4096,
        store=database,
    )
    if database is not None:
        command = [NEXEON, "store", "migrate", f"tinydb:{home}/data", database]
        subprocess.run(command, check=True, capture_output=True)
    return config


def _side_by_side(home: Path, upstream: int, what: str, sizes: tuple[int, ...]) -> dict[int, Size]:
    home.mkdir(parents=True)
    with ExitStack() as stack:
        all: dict[int, _Asked] = {}
        for size in sizes:
            server = stack.enter_context(_postgres(home / f"postgres-{size}")) if what == SHARED else None
            config = _deploy(home / str(size), upstream, what, size, server.url if server is not None else None)
            peer = stack.enter_context(nexeon(config))
            until_ready(peer.port)
            keys = size if what == KEYS else _ONE_ACCOUNT if what in (ENTRIES, SHARED) else _FEW
            asked = all[size] = _Asked(peer, cpu(peer.pid), keys, size if what == MODELS else 0)
            if server is not None and server.process is not None:
                asked.database = server.process.pid
        for turn in range(_ROUNDS + 1):
            for asked in all.values():
                asked.load(home, counted=turn > 0)  # the first warms up
        return {size: asked.size() for size, asked in all.items()}


@contextlib.contextmanager
def _postgres(folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(folder, durable=True)
    for parent in (folder.parent, *folder.parent.parents):  # it runs as another user
        parent.chmod(parent.stat().st_mode | 0o011)
        if parent.parent == Path(tempfile.gettempdir()):
            break
    server.make()
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGQUIT)


def most_streams() -> int:
    """That one process can have open: each has a client's connection and a provider's."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (allowed - _OTHER_FILES) // 2


def _beside_streams(home: Path, upstream: int) -> dict[int, Size]:
    config = _deploy(home, upstream, OPEN, 0, None)
    with nexeon(config) as peer:
        until_ready(peer.port)
        asked = _Asked(peer, 0.0)
        asked.load(home, counted=False)
        return uvloop.run(_with_streams(asked, home))


async def _with_streams(asked: _Asked, home: Path) -> dict[int, Size]:
    """By turns too: a few streams, many, and again."""
    body = deployment.body(CHAT, deployment.model("held", CHAT), stream=True)
    request = paced.post(deployment.path(CHAT, "", stream=True), body, "secret 1")
    wanted = sorted({min(streams, most_streams()) for streams in STREAMS})
    each = {streams: _Asked(asked.peer, 0.0) for streams in wanted}
    taken: dict[int, float] = {}
    for _ in range(2):
        for streams in wanted:
            async with paced.opened(asked.peer.port, request, streams):
                await asyncio.sleep(_SETTLED)
                before = cpu(asked.peer.pid)
                await asyncio.sleep(_SECONDS)
                each[streams].idle = (cpu(asked.peer.pid) - before) / _SECONDS
                for _ in range(2):
                    await asyncio.to_thread(each[streams].load, home)
                taken.setdefault(streams, memory(asked.peer.pid))  # later what more streams took is still there
            await asyncio.sleep(_SETTLED)
    return {streams: Size(median(one.costs), 0.0, taken[streams]) for streams, one in each.items()}
