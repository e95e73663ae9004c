"""What is measured of every peer: the cases, and one case's figures side by side."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import deployment, first, paced, requests
from tests.bench.deployment import SHORT
from tests.bench.harness import Load, cpu, wrk
from tests.bench.peers import Peer

CHAT, MESSAGES = "openai.chat", "anthropic.messages"
CONNECTIONS = (1, 16)
FEW_STREAMS = 8
STREAMS = (FEW_STREAMS, 32, 500)
SLOW = 0.02
"""Seconds of one request: with many connections at once, none would be answered within a short load."""
_PATIENCE = 60.0
_WARMING = 5
_LONG = 4
"""Seconds of a load with which a slow peer is asked."""


@dataclass(frozen=True)
class Case:
    """`latency`: its added latency is measured too; `streams` that are open at once."""

    name: str
    client: str
    upstream: str
    way: str = "json"
    latency: bool = False
    make: Callable[[str], dict[str, Any]] | None = None
    streams: int = 0

    @property
    def same(self) -> bool:
        return self.client == self.upstream

    @property
    def stream(self) -> bool:
        return self.way != "json"

    @property
    def model(self) -> str:
        return deployment.model(self.way, self.upstream)

    def body(self) -> dict[str, Any]:
        if self.make is not None:
            return self.make(self.model)
        return deployment.body(self.client, self.model, stream=self.stream)

    def path(self, peer: Peer) -> str:
        if not peer.direct:
            return deployment.path(self.client, self.model, stream=self.stream)
        path = deployment.path(self.upstream, "bench", stream=self.stream)
        return f"/{self.way}{path}"

    def fits(self, peer: Peer) -> bool:
        """LiteLLM is asked in the format that it speaks best, and for as many paced streams as it keeps up with;
        Portkey for JSON, as its streams fail on recent Node."""
        if peer.name == "litellm":
            keeps_up = self.way != "paced" or self.streams <= FEW_STREAMS
            return self.client == CHAT and self.upstream in (CHAT, MESSAGES) and keeps_up
        if peer.name == "portkey":
            return self.client == CHAT and self.upstream == CHAT and not self.stream
        return True


@dataclass
class Row:
    """What one peer took for one case; CPU in µs a request (or event), latencies in ms beyond the upstream's own."""

    peer: str
    cpu: float
    rate: float = 0.0
    added: dict[str, float] = field(default_factory=dict)
    per: str = "request"


Table = dict[str, list[Row]]


def cases(only: str = "") -> list[Case]:
    formats = list(SHORT)
    found = [Case(f"JSON, {SHORT[one]}", one, one, latency=one == CHAT) for one in formats]
    found += [
        Case(
            f"JSON, {SHORT[client]} to {SHORT[upstream]}",
            client,
            upstream,
            latency=(client, upstream) in ((MESSAGES, CHAT), (CHAT, MESSAGES)),
        )
        for client in formats
        for upstream in formats
        if client != upstream
    ]
    found += [Case(f"burst, {SHORT[one]}", one, one, "burst") for one in formats]
    found += [
        Case(f"burst, {SHORT[client]} to {SHORT[upstream]}", client, upstream, "burst")
        for client, upstream in (
            (CHAT, MESSAGES),
            (MESSAGES, CHAT),
            ("openai.responses", CHAT),
            (CHAT, "gemini.generate_content"),
        )
    ]
    found += [
        Case("20 messages with tools", CHAT, CHAT, make=requests.with_tools),
        Case("20 messages with tools, chat to messages", CHAT, MESSAGES, make=requests.with_tools),
        Case("1 MB with a picture", CHAT, CHAT, make=requests.with_picture),
        Case("1 MB with a picture, chat to messages", CHAT, MESSAGES, make=requests.with_picture),
        Case("100k tokens", CHAT, CHAT, make=requests.with_context),
        Case("100k tokens, chat to messages", CHAT, MESSAGES, make=requests.with_context),
    ]
    return [case for case in found if re.search(only, case.name)]


PACED = (("chat", CHAT, CHAT), ("messages to chat", MESSAGES, CHAT), ("chat to messages", CHAT, MESSAGES))


def load(case: Case, peer: Peer, key: str, where: Path, *, connections: int = 16, seconds: int = 2) -> Load:
    url = f"http://127.0.0.1:{peer.port}{case.path(peer)}"
    headers = peer.headers(case.way)
    done = wrk(url, case.body(), key=key, connections=connections, seconds=seconds, where=where, headers=headers)
    if done.failed or not done.requests:
        raise SystemExit(f"{case.name}, {peer.name}: {done.failed} of {done.requests} requests failed")
    peer.asked(done.requests)
    return done


def warm(case: Case, peer: Peer, key: str) -> float:
    """A few requests, as some load what they need only then. Seconds that one takes in the end."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}", **peer.headers(case.way)}
    body = json.dumps(case.body())
    took = 0.0
    try:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", peer.port, timeout=_PATIENCE)) as connection:
            for _ in range(_WARMING):
                began = time.perf_counter()
                connection.request("POST", case.path(peer), body, headers)
                answer = connection.getresponse()
                told = answer.read()
                took = time.perf_counter() - began
                if answer.status != 200:
                    raise SystemExit(f"{case.name}, {peer.name}: {answer.status} {told[:200]!r}")
    except (OSError, http.client.HTTPException) as error:
        raise SystemExit(f"{case.name}, {peer.name}: {error!r}") from None
    return took


@dataclass
class _Turns:
    """What a peer took in its turns; `takes` seconds for one request."""

    peer: Peer
    takes: float
    spent: float = 0.0
    loads: list[Load] = field(default_factory=list)
    failed: bool = False

    def load(self, case: Case, key: str, where: Path, seconds: int) -> None:
        slow = self.takes > SLOW  # a load must be long beside one request
        enough = max(seconds, _LONG, min(20, int(10 * self.takes))) if slow else seconds
        before = cpu(self.peer.pid)
        self.loads.append(load(case, self.peer, key, where, connections=2 if slow else 16, seconds=enough))
        self.spent += cpu(self.peer.pid) - before

    def row(self) -> Row:
        count = sum(one.requests for one in self.loads)
        return Row(self.peer.name, self.spent / count * 1e6, sum(one.rate for one in self.loads) / len(self.loads))


def measure(
    case: Case, peers: list[Peer], canned: Peer, key: str, where: Path, *, rounds: int, seconds: int
) -> list[Row]:
    """Every peer by turns, so that what else the machine does hits all of them; but for one that does not answer."""
    turns: list[_Turns] = []
    for peer in [peer for peer in peers if case.fits(peer)]:
        with _without(case, peer):
            turns.append(_Turns(peer, warm(case, peer, key)))
    for _ in range(rounds):
        for one in [one for one in turns if not one.failed]:
            one.failed = True
            with _without(case, one.peer):
                one.load(case, key, where, seconds)
                one.failed = False
    turns = [one for one in turns if not one.failed]
    rows = [one.row() for one in turns]
    if case.latency:
        for connections in CONNECTIONS:
            base = load(case, canned, key, where, connections=connections, seconds=seconds)
            for row, one in zip(rows, turns, strict=True):
                with _without(case, one.peer):
                    asked = load(case, one.peer, key, where, connections=connections, seconds=seconds)
                    row.added[f"p50@{connections}"] = (asked.p50 - base.p50) / 1e3
                    row.added[f"p99@{connections}"] = (asked.p99 - base.p99) / 1e3
    return rows


@contextmanager
def _without(case: Case, peer: Peer) -> Iterator[None]:
    """Another gateway that fails is left out; ours, and the yardstick, are what it is about."""
    try:
        yield
    except SystemExit as error:
        if peer.name in ("nexeon", "echo"):
            raise
        print(f"{case.name}, without {peer.name}: {error}", file=sys.stderr, flush=True)


def measure_paced(case: Case, peers: list[Peer], canned: Peer, key: str) -> list[Row]:
    """CPU an event, and how much later it comes than from the upstream itself."""
    body = case.body()
    base = paced.measure(canned.port, case.path(canned), body, key, canned.pid, streams=case.streams)
    rows = []
    for peer in [peer for peer in peers if case.fits(peer)]:
        with _without(case, peer):
            one = paced.measure(peer.port, case.path(peer), body, key, peer.pid, streams=case.streams)
            added = {"p50": one.p50 - base.p50, "p99": one.p99 - base.p99}
            rows.append(Row(peer.name, one.cpu, one.events / one.seconds, added, "event"))
    return rows


def measure_first(case: Case, peers: list[Peer], canned: Peer, key: str) -> list[Row]:
    """How much later the first text of a stream comes than from the upstream itself; one stream at a time."""
    body = case.body()
    base = first.measure(canned.port, case.path(canned), body, key)
    rows = []
    for peer in [peer for peer in peers if case.fits(peer) and peer.name != "litellm"]:
        before = cpu(peer.pid)
        one = first.measure(peer.port, case.path(peer), body, key)
        spent = (cpu(peer.pid) - before) / first.STREAMS * 1e6
        rows.append(Row(peer.name, spent, 0.0, {"p50": one.p50 - base.p50, "p99": one.p99 - base.p99}))
    return rows


def show(name: str, rows: list[Row]) -> None:
    bare = next((row.cpu for row in rows if row.peer == "echo"), 0.0)
    for row in rows:
        ratio = f"{row.cpu / bare:.2f}" if bare else ""
        added = "  ".join(f"{what} {value:+.2f} ms" for what, value in row.added.items())
        rate = f"{row.rate:.0f}" if row.rate else ""
        print(f"{name:<42}{row.peer:>9}{rate:>9}{row.cpu:>11.0f} µs/{row.per:<8}{ratio:>7}  {added}", flush=True)
