"""Runs the cases and prints the table; see `make bench`.

BENCH_SECONDS (2) a run, BENCH_ROUNDS (2) of them, BENCH_ONLY (a pattern of case names), PEERS=1 for LiteLLM,
BENCH_REQUESTS (100,000) until memory is read again, BENCH_PLOT (a file for the plot).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import deployment, paced, requests
from tests.bench.deployment import SHORT
from tests.bench.harness import Load, cpu, folder, memory, wrk
from tests.bench.peers import Peer, all_of, seconds_to_serve
from tests.bench.plot import plot

SECONDS = int(os.environ.get("BENCH_SECONDS", "2"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "2"))
ONLY = os.environ.get("BENCH_ONLY", "")
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "100000"))
CHAT, MESSAGES = "openai.chat", "anthropic.messages"
EVENTS = 203


@dataclass(frozen=True)
class Case:
    """`latency`: its added latency is measured too."""

    name: str
    client: str
    upstream: str
    way: str = "json"
    latency: bool = False
    make: Callable[[str], dict[str, Any]] | None = None

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
        if peer.name != "litellm":
            return True
        return self.client == CHAT and self.upstream in (CHAT, MESSAGES)


@dataclass
class Row:
    """What one peer took for one case; CPU in µs a request (or event), latencies in ms beyond the upstream's own."""

    peer: str
    cpu: float
    rate: float = 0.0
    added: dict[str, float] = field(default_factory=dict)
    per: str = "request"


def cases() -> list[Case]:
    formats = list(SHORT)
    found = [Case(f"JSON, {SHORT[one]}", one, one, latency=one == CHAT) for one in formats]
    found += [
        Case(
            f"JSON, {SHORT[client]} to {SHORT[upstream]}",
            client,
            upstream,
            latency=(client, upstream) == (MESSAGES, CHAT),
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
    return [case for case in found if re.search(ONLY, case.name)]


def load(case: Case, peer: Peer, key: str, where: Path, *, connections: int = 16, seconds: int = SECONDS) -> Load:
    url = f"http://127.0.0.1:{peer.port}{case.path(peer)}"
    done = wrk(url, case.body(), key=key, connections=connections, seconds=seconds, where=where)
    if done.failed or not done.requests:
        raise SystemExit(f"{case.name}, {peer.name}: {done.failed} of {done.requests} requests failed")
    return done


def warm(case: Case, peer: Peer, key: str, where: Path) -> None:
    """Until it answers: some load what they need only then."""
    url = f"http://127.0.0.1:{peer.port}{case.path(peer)}"
    for _ in range(30):
        if wrk(url, case.body(), key=key, connections=16, seconds=1, where=where).requests:
            return
    raise SystemExit(f"{case.name}: {peer.name} gave no answer within 30 s")


def measure(case: Case, peers: list[Peer], canned: Peer, key: str, where: Path) -> list[Row]:
    """Every peer by turns, so that what else the machine does hits all of them."""
    mine = [peer for peer in peers if case.fits(peer)]
    spent = dict.fromkeys((peer.name for peer in mine), 0.0)
    loads: dict[str, list[Load]] = {peer.name: [] for peer in mine}
    for peer in mine:
        warm(case, peer, key, where)
    for _ in range(ROUNDS):
        for peer in mine:
            before = cpu(peer.pid)
            loads[peer.name].append(load(case, peer, key, where))
            spent[peer.name] += cpu(peer.pid) - before
    rows = []
    for peer in mine:
        count = sum(one.requests for one in loads[peer.name])
        rate = sum(one.rate for one in loads[peer.name]) / ROUNDS
        rows.append(Row(peer.name, spent[peer.name] / count * 1e6, rate))
    if case.latency:
        for connections in (1, 16):
            base = load(case, canned, key, where, connections=connections)
            for row, peer in zip(rows, mine, strict=True):
                one = load(case, peer, key, where, connections=connections)
                row.added[f"p50@{connections}"] = (one.p50 - base.p50) / 1e3
                row.added[f"p99@{connections}"] = (one.p99 - base.p99) / 1e3
    return rows


def show(name: str, rows: list[Row]) -> None:
    bare = next((row.cpu for row in rows if row.peer == "echo"), 0.0)
    for row in rows:
        ratio = f"{row.cpu / bare:.2f}" if bare else ""
        added = "  ".join(f"{what} {value:+.2f} ms" for what, value in row.added.items())
        rate = f"{row.rate:.0f}" if row.rate else ""
        print(f"{name:<42}{row.peer:>9}{rate:>9}{row.cpu:>11.0f} µs/{row.per:<8}{ratio:>7}  {added}", flush=True)


def measure_paced(case: Case, peers: list[Peer], canned: Peer, key: str, streams: int) -> list[Row]:
    rows = []
    body = case.body()
    base = paced.measure(
        canned.port,
        f"/paced{deployment.path(case.upstream, 'bench', stream=True)}",
        body,
        key,
        canned.pid,
        streams=streams,
    )
    for peer in [peer for peer in peers if case.fits(peer)]:
        one = paced.measure(peer.port, case.path(peer), body, key, peer.pid, streams=streams)
        added = {"p50": one.p50 - base.p50, "p99": one.p99 - base.p99}
        rows.append(Row(peer.name, one.cpu, one.events / 2.5, added, "event"))
    return rows


def cold_start(where: Path, port: int) -> None:
    for models in (0, 1000):
        home = where / f"cold-{models}"
        home.mkdir()
        config = deployment.configuration(home, f"http://127.0.0.1:{port}", models=models)
        key = deployment.make_key(shutil.which("nexeon") or str(Path(sys.executable).with_name("nexeon")), config)
        body = json.dumps(deployment.body(CHAT, deployment.model("json", CHAT)))
        ask = ["curl", "-sf", "-H", f"authorization: Bearer {key}", "-H", "content-type: application/json", "-d", body]
        taken = [seconds_to_serve(config, [*ask, "http://127.0.0.1:PORT/v1/chat/completions"]) for _ in range(3)]
        print(
            f"cold start to the first answer, {len(deployment.WAYS) * len(SHORT) + models} models: {min(taken):.2f} s"
        )


def grown(case: Case, peer: Peer, key: str, where: Path) -> None:
    before, count = memory(peer.pid), 0
    while count < REQUESTS:
        count += load(case, peer, key, where, seconds=10).requests
    print(f"memory after {count:,} requests: {before:.0f} -> {memory(peer.pid):.0f} MB")


def main() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: `apt-get install wrk nginx-light` gives what the bench needs")
    table: dict[str, list[Row]] = {}
    with folder() as where, all_of(where, more=os.environ.get("PEERS") == "1") as (key, canned, peers):
        print("memory at start: " + ", ".join(f"{peer.name} {memory(peer.pid):.0f} MB" for peer in peers), flush=True)
        print(f"{'case':<42}{'':>9}{'req/s':>9}{'CPU':>11}{'':>12}{'x echo':>6}  beyond the upstream")
        for case in cases():
            table[case.name] = measure(case, peers, canned, key, where)
            show(case.name, table[case.name])
        for streams in (32, 500):
            for case in (Case("chat", CHAT, CHAT, "paced"), Case("messages to chat", MESSAGES, CHAT, "paced")):
                name = f"{streams} paced streams, {case.name}"
                if re.search(ONLY, name):
                    table[name] = measure_paced(case, peers, canned, key, streams)
                    show(name, table[name])
        gateway = next(peer for peer in peers if peer.name == "nexeon")
        if not ONLY:
            cold_start(where, canned.port)
            grown(Case("JSON", CHAT, CHAT), gateway, key, where)
    if file := os.environ.get("BENCH_PLOT"):
        Path(file).write_text(plot({name: {row.peer: row.cpu for row in rows} for name, rows in table.items()}))


if __name__ == "__main__":
    main()
