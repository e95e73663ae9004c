"""What a request costs beside how much there is: keys, models, ledger entries, provider keys, open streams.

A gateway for each size, all asked by turns, so that what else the machine does hits all of them: what a request costs
beside the least size is the median of rounds, in each of which both were asked. Every key, or every model, is asked for
in its turn. With PostgreSQL the database's part counts, too. Open streams are silent while requests are measured: their
own events are no part of what a request costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import uvloop

from tests.bench import crowd, deployment, peers, store
from tests.bench.harness import cpu, memory, piped, run_wrk
from tests.bench.peers import NEXEON, Peer, nexeon
from tests.bench.start import until_ready
from tests.ports import free_port
from tests.servers import PostgresServer, postgres_programs

SIZES = (100, 1_000, 10_000, 100_000)
FEWER = (1, 10, 100)
"""Keys of one provider."""

STREAMS = (100, 1_000, 10_000, 100_000)
KEYS, MODELS, ENTRIES, SHARED, PROVIDER_KEYS, OPEN = (
    "keys", "models", "ledger entries", "ledger entries in PostgreSQL", "provider keys", "open streams"
)  # fmt: skip
WHATS = (KEYS, MODELS, ENTRIES, SHARED, PROVIDER_KEYS, OPEN)
CHAT = "openai.chat"
_FEW = 100
_ONE_ACCOUNT = 10
"""So few keys have one account, and with it every entry of the ledger."""

_SECONDS = 1
_ROUNDS = 9
_SETTLED = 2
"""Seconds after which what the begin, or the end, of streams brings with it is over."""

_STEP = 10_000
"""Streams that are opened between two lines about it."""

INSIDE = "held-inside"
"""The model of streams within the gateway's process."""

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
    the load, and the CPU of a request beside that at the least size. Open streams have no start of their own: 0."""

    cpu: float
    ready: float
    memory: float
    beside: float | None = None


Sizes = Mapping[int, Size]


@dataclass
class _Asked:
    """A gateway of some size. `database` is a process whose work counts; `idle` is what the gateway takes anyhow, CPU
    seconds in each second. `costs` are by round, None where nothing was answered."""

    peer: Peer
    ready: float
    keys: int = _FEW
    models: int = 0
    database: int | None = None
    idle: float = 0.0
    costs: list[float | None] = field(default_factory=list)
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
        if done.failed:
            raise SystemExit(f"{done.failed} of {done.requests} requests failed")
        if not done.requests:  # the disk, or the whole machine, stood
            print(f"  no answer within {done.seconds:.1f} s", flush=True)
            if counted:
                self.costs.append(None)
            return
        self.count += done.requests
        if counted:
            self.costs.append((sum(map(cpu, pids)) - before - self.idle * done.seconds) / done.requests * 1e6)

    def size(self, least: _Asked) -> Size:
        """Beside the least size. Raises SystemExit where nothing was answered."""
        both = [(mine, other) for mine, other in zip(self.costs, least.costs, strict=True) if mine and other]
        if not both:
            raise SystemExit("no request was answered")
        beside = median(mine / other for mine, other in both)
        return Size(median(mine for mine, _ in both), self.ready, memory(self.peer.pid), beside)


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


def _deploy(
    home: Path, upstream: int, what: str, size: int, database: str | None, held: Mapping[str, str] | None = None
) -> Path:
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
        together=2 * max(STREAMS) if what == OPEN else 4096,
        store=database,
        held=held,
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
            for asked in _in_turn(list(all.values()), turn):
                asked.load(home, counted=turn > 0)  # the first warms up
        return {size: asked.size(all[sizes[0]]) for size, asked in all.items()}


def _in_turn(all: list[_Asked], turn: int) -> list[_Asked]:
    """Forth and back: who is asked first has what the one before left in the processor's caches."""
    return all if turn % 2 else all[::-1]


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


def _beside_streams(home: Path, upstream: int) -> dict[int, Size]:
    """By turns a gateway with a few streams and one with more and more. As many as the system lets a process have files
    for are opened over the network, the others within that process."""
    most = max(STREAMS)
    with ExitStack() as stack:
        files = stack.enter_context(crowd.many_files(2 * most + crowd.OTHER_FILES))
        outside = min(most, (files - crowd.OTHER_FILES) // 2)
        if outside < most:
            print(
                f"  {outside:,} of {most:,} streams are over the network: a process may have {files:,} files open here"
            )
        held = {f"held-{number}": crowd.address(number) for number in range(-(-outside // crowd.AN_ADDRESS))}
        port = stack.enter_context(peers.upstream(free_port(), *held.values())).port
        urls = {name: f"http://{address}:{port}" for name, address in (held | {INSIDE: crowd.INSIDE}).items()}
        gateways = []
        for name in ("few", "many"):
            config = _deploy(home / name, upstream, OPEN, 0, None, urls)
            gateways.append(stack.enter_context(_Crowded.started(config, outside)))
        return uvloop.run(_with_streams(*gateways, home))


async def _with_streams(few: _Crowded, many: _Crowded, home: Path) -> dict[int, Size]:
    """What the streams of one themselves take is measured while the other is asked."""
    found: dict[int, Size] = {}
    least, *more = STREAMS
    await few.grow(least)
    taken = 0.0
    for streams in more:
        await many.grow(streams)
        await asyncio.sleep(_SETTLED)
        fewest, most = both = _Asked(few.peer, 0.0), _Asked(many.peer, 0.0)
        for turn in range(_ROUNDS + 1):
            for asked in _in_turn(list(both), turn):
                other = most if asked is fewest else fewest
                before, began = cpu(other.peer.pid), time.monotonic()
                await asyncio.to_thread(asked.load, home, counted=turn > 0)
                other.idle = (cpu(other.peer.pid) - before) / (time.monotonic() - began)
        taken = taken or memory(few.peer.pid)
        found[streams] = most.size(fewest)
        for gateway in (few, many):
            await gateway.check()
    return {least: replace(fewest.size(fewest), memory=taken), **found}


@dataclass
class _Crowded:
    """A gateway with streams: `outside` are over the network at most, the others within it."""

    peer: Peer
    outside: int
    process: subprocess.Popen[str]
    crowd: crowd.Crowd
    count: int = 0

    @classmethod
    @contextlib.contextmanager
    def started(cls, config: Path, outside: int) -> Iterator[_Crowded]:
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.crowded", str(config), str(port), INSIDE]
        with piped(*command, port=port) as process:
            clients = crowd.Crowd(port, lambda number: crowd.held(f"held-{number // crowd.AN_ADDRESS}", number))
            yield cls(Peer("nexeon", port, process.pid), outside, process, clients)

    async def grow(self, streams: int) -> None:
        began = time.monotonic()
        while self.count < streams:
            self.count = min(streams, self.count + _STEP)
            await self.crowd.grow(min(self.count, self.outside))
            await self._told(max(0, self.count - self.outside))
            if streams > _STEP:
                print(f"  {self.count:,} open after {time.monotonic() - began:.0f} s", flush=True)

    async def check(self) -> None:
        """Raises SystemExit where a stream is over."""
        ended = self.crowd.ended + await self._told(max(0, self.count - self.outside))
        if ended:
            raise SystemExit(f"{ended} of {self.count} streams broke off")

    async def _told(self, inside: int) -> int:
        """How many of those within have ended, once there are so many."""
        if not inside:
            return 0
        return await asyncio.to_thread(self._tell, inside)

    def _tell(self, inside: int) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{inside}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the gateway with streams ended")
        return int(line.split()[1])
