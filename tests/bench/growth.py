"""What a request costs beside how much there is: keys, models, ledger entries, open streams.

A gateway for each size, all asked by turns, so that what else the machine does hits all of them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import uvloop

from tests.bench import deployment, paced, store
from tests.bench.harness import cpu, wrk
from tests.bench.peers import NEXEON, Peer, nexeon
from tests.bench.start import until_ready

SIZES = (100, 1_000, 10_000, 100_000)
STREAMS = (10, 100, 1_000, 2_000)
CHAT = "openai.chat"
_FEW = 100
_SECONDS = 1
_ROUNDS = 4


def measure(where: Path, upstream: int, told: Callable[[str, dict[int, float]], None]) -> dict[str, dict[int, float]]:
    """CPU µs a request, by what there is more of and by how many of it."""
    found: dict[str, dict[int, float]] = {}
    for what in ("keys", "models", "ledger entries"):
        found[what] = _side_by_side(where / what.replace(" ", "-"), upstream, what)
        told(what, found[what])
    found["open streams"] = _beside_streams(where / "streams", upstream)
    told("open streams", found["open streams"])
    return found


def _deploy(home: Path, upstream: int, *, keys: int = 0, models: int = 0, entries: int = 0) -> tuple[Path, str]:
    """The configuration and a key."""
    home.mkdir(parents=True)
    if keys or entries:
        store.make(home / "data", max(keys, _FEW), entries)
    url = f"http://127.0.0.1:{upstream}"
    key = deployment.make_key(NEXEON, deployment.configuration(home, url))
    return deployment.configuration(home, url, models=models), key


def _side_by_side(home: Path, upstream: int, what: str) -> dict[int, float]:
    with ExitStack() as stack:
        peers: dict[int, tuple[Peer, str]] = {}
        for size in SIZES:
            config, key = _deploy(
                home / str(size),
                upstream,
                keys=size if what == "keys" else 0,
                models=size if what == "models" else 0,
                entries=size if what == "ledger entries" else 0,
            )
            peers[size] = stack.enter_context(nexeon(config)), key
            until_ready(peers[size][0].port)
        spent, count = dict.fromkeys(SIZES, 0.0), dict.fromkeys(SIZES, 0)
        for turn in range(_ROUNDS + 1):
            for size, (peer, key) in peers.items():
                used, asked = _load(peer, key, home)
                if turn:  # the first warms up
                    spent[size] += used
                    count[size] += asked
    return {size: spent[size] / count[size] * 1e6 for size in SIZES}


def _beside_streams(home: Path, upstream: int) -> dict[int, float]:
    config, key = _deploy(home, upstream)
    with nexeon(config) as peer:
        _load(peer, key, home)
        return uvloop.run(_with_streams(peer, key, home))


async def _with_streams(peer: Peer, key: str, home: Path) -> dict[int, float]:
    """By turns too: a few streams, many, and again."""
    body = deployment.body(CHAT, deployment.model("held", CHAT), stream=True)
    request = paced.post(deployment.path(CHAT, "", stream=True), body, key)
    spent, count = dict.fromkeys(STREAMS, 0.0), dict.fromkeys(STREAMS, 0)
    for _ in range(_ROUNDS // 2):
        for streams in STREAMS:
            async with paced.opened(peer.port, request, streams):
                await asyncio.sleep(0.5)
                for _ in range(2):
                    used, asked = await asyncio.to_thread(_load, peer, key, home)
                    spent[streams] += used
                    count[streams] += asked
            await asyncio.sleep(0.5)
    return {streams: spent[streams] / count[streams] * 1e6 for streams in STREAMS}


def _load(peer: Peer, key: str, where: Path) -> tuple[float, int]:
    """CPU seconds and requests."""
    body = json.dumps(deployment.body(CHAT, deployment.model("json", CHAT))).encode()
    url = f"http://127.0.0.1:{peer.port}{deployment.path(CHAT, '')}"
    before = cpu(peer.pid)
    done = wrk(url, body, key=key, connections=16, seconds=_SECONDS, where=where)
    if done.failed or not done.requests:
        raise SystemExit(f"{done.failed} of {done.requests} requests failed")
    return cpu(peer.pid) - before, done.requests
