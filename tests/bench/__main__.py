"""Runs the cases and prints the tables, then what is to hold with the figure measured for it; see `make bench`."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import time
from functools import partial
from pathlib import Path

from nexeon.data import data_path
from nexeon.mapping import load_library
from tests.bench import engine, growth, paced, start, targets
from tests.bench.cases import (
    CHAT,
    MESSAGES,
    PACED,
    STREAMS,
    Case,
    cases,
    load,
    measure,
    measure_first,
    measure_paced,
    show,
)
from tests.bench.harness import folder, memory
from tests.bench.keeping import kept
from tests.bench.peers import Peer, all_of
from tests.bench.plot import SHOWN, plot

PARTS = ("engine", "cases", "first", "paced", "streams", "start", "growth", "memory")
MANY_STREAMS = 2000
_LOOKS = 10


def arguments() -> argparse.Namespace:
    environ = os.environ.get
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="What the gateway costs beside a bare echo of the same libraries, nginx, and other gateways: "
        "CPU of the whole process tree as the operating system counts it, latency, memory, start. "
        "Figures, not a test: read them as ratios of one run.",
        epilog="Every option can be given as a variable of that name in capitals too: BENCH_SECONDS=5; PEERS=1.",
    )
    add = parser.add_argument
    add("--seconds", type=int, default=int(environ("BENCH_SECONDS") or 1), help="of one load (1)")
    add("--rounds", type=int, default=int(environ("BENCH_ROUNDS") or 3), help="of all peers by turns (3)")
    add("--only", default=environ("BENCH_ONLY") or "", metavar="PATTERN", help="cases whose name it matches")
    add(
        "--parts",
        default=environ("BENCH_PARTS") or ",".join(PARTS),
        help=f"what to measure, with commas in between ({','.join(PARTS)})",
    )
    add(
        "--requests",
        type=int,
        default=int(environ("BENCH_REQUESTS") or 100_000),
        help="until memory is read the last time (100,000)",
    )
    add("--plot", default=environ("BENCH_PLOT") or "", metavar="FILE", help="where to draw the best known cases (SVG)")
    add(
        "--keep",
        default=environ("BENCH_KEEP") or "",
        metavar="FILE",
        help="where figures are kept, for a bench in several goes: those of earlier ones are told and drawn, too",
    )
    add(
        "--peers",
        action="store_true",
        default=environ("PEERS") == "1",
        help="LiteLLM and Portkey too, installed at the first use under ~/.cache/nexeon-bench",
    )
    found = parser.parse_args()
    found.parts = found.parts.split(",")
    if unknown := set(found.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return found


def run(asked: argparse.Namespace, where: Path, seen: targets.Figures, key: str, canned: Peer, all: list[Peer]) -> None:
    """Each part for itself: one that fails is told, and the others go on."""
    gateway = next(peer for peer in all if peer.name == "nexeon")
    start.until_ready(gateway.port)
    seen.begun = seen.begun or {peer.name: memory(peer.pid) for peer in all}
    now = ", ".join(f"{peer.name} {memory(peer.pid):.0f} MB" for peer in all)
    print(f"memory at start: {now}", flush=True)
    if "engine" in asked.parts:
        with seen.attempt("mapping engine"):
            _engine(seen)
    print(f"{'case':<42}{'':>9}{'per s':>9}{'CPU':>11}{'':>12}{'x echo':>6}  beyond the upstream")
    for case in cases(asked.only) if "cases" in asked.parts else ():
        with seen.attempt(case.name):
            seen.table[case.name] = measure(case, all, canned, key, where, rounds=asked.rounds, seconds=asked.seconds)
            show(case.name, seen.table[case.name])
    for case in _streams("first text of a stream", "first", asked) if "first" in asked.parts else ():
        with seen.attempt(case.name):
            seen.first[case.name] = measure_first(case, all, canned, key)
            show(case.name, seen.first[case.name])
    for streams in STREAMS if "paced" in asked.parts else ():
        for case in _streams(f"{streams} paced streams", "paced", asked, streams):
            with seen.attempt(case.name):
                seen.paced[case.name] = measure_paced(case, all, canned, key)
                show(case.name, seen.paced[case.name])
    if "memory" in asked.parts:
        with seen.attempt("memory"):
            grown(asked, seen, where, key, all)
    if "streams" in asked.parts:
        with seen.attempt("open streams"):
            seen.streaming = streaming(gateway, key)
    if "start" in asked.parts:
        with seen.attempt("cold start"):
            seen.starts = start.measure(where, canned.port)
            for name, one in seen.starts.items():
                print(f"cold start, {name}: {one.line()}", flush=True)
    if "growth" in asked.parts:
        print("CPU of a request beside how much there is")
        for what in filter(partial(re.search, asked.only), growth.WHATS):
            with seen.attempt(f"cost, by {what}"):
                sizes = growth.measure(what, where / "growth", canned.port)
                if sizes:
                    seen.growth = {**seen.growth, what: sizes}
                    _tell(what, sizes)


def _engine(seen: targets.Figures) -> None:
    library = load_library([data_path("mappings")])
    engine.agree(library)
    seen.engine = {**engine.requests(library), **engine.streams(library)}
    for name, taken in seen.engine.items():
        print(f"mapping engine, {name:<58}{taken:>9.1f} µs", flush=True)


def _streams(words: str, way: str, asked: argparse.Namespace, streams: int = 1) -> list[Case]:
    found = [Case(f"{words}, {name}", client, upstream, way, streams=streams) for name, client, upstream in PACED]
    return [case for case in found if re.search(asked.only, case.name)]


def _tell(what: str, sizes: growth.Sizes) -> None:
    for size, one in sizes.items():
        ready = f", ready after {one.ready:.1f} s of CPU" if one.ready else ""
        print(f"{what:<42}{size:>9,}{one.cpu:>11.0f} µs/request, {one.memory:.0f} MB{ready}", flush=True)


def grown(asked: argparse.Namespace, seen: targets.Figures, where: Path, key: str, all: list[Peer]) -> None:
    """The gateway's memory, on its way to so many requests; the others', after what they have answered."""
    case = Case("JSON", CHAT, CHAT)
    gateway = next(peer for peer in all if peer.name == "nexeon")
    seen.grown = [(0, memory(gateway.pid))]
    count, step = 0, asked.requests / _LOOKS
    while count < asked.requests:
        begun = count
        while count < min(begun + step, asked.requests):
            count += load(case, gateway, key, where, seconds=min(10, max(2, int(step / 2000)))).requests
        seen.grown.append((count, memory(gateway.pid)))
        print(f"memory after {count:,} requests: {seen.grown[-1][1]:.0f} MB", flush=True)
    others = [f"{peer.name} {memory(peer.pid):.0f} MB after {peer.count[0]:,}" for peer in all if peer is not gateway]
    print(f"memory of the others: {', '.join(others)}", flush=True)


def streaming(gateway: Peer, key: str) -> float:
    """MB of one process with many open streams, an event a second on each."""
    for client, upstream in ((CHAT, CHAT), (MESSAGES, CHAT)):
        case = Case("streams", client, upstream, "slow")
        one = paced.measure(
            gateway.port, case.path(gateway), case.body(), key, gateway.pid, streams=MANY_STREAMS, seconds=5
        )
        pair = "same format" if case.same else "another format"
        print(
            f"{MANY_STREAMS:,} open streams with an event a second, {pair}: {one.memory:.0f} MB, "
            f"{one.cpu:.0f} µs an event",
            flush=True,
        )
    return one.memory


def main() -> None:
    asked = arguments()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: `apt-get install wrk nginx-light` gives what the bench needs")
    began = time.monotonic()
    with kept(asked.keep) as seen, folder() as where, all_of(where, more=asked.peers) as (key, canned, peers):
        try:
            run(asked, where, seen, key, canned, peers)
        except KeyboardInterrupt:
            print("interrupted: what was measured until here", file=sys.stderr)
    targets.show(seen)
    print(f"in {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    if asked.plot:
        table = {**seen.table, **seen.paced}
        if missing := [name for name in SHOWN if name not in table]:
            print(f"{asked.plot} stays as it is, without {'; '.join(missing)}", flush=True)
            return
        Path(asked.plot).write_text(plot({name: {row.peer: row.cpu for row in rows} for name, rows in table.items()}))


if __name__ == "__main__":
    main()
