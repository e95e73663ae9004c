"""Memory over a million requests, in as many goes as one likes: `python -m tests.bench.million`. Figures, not a test.

The requests are of every kind that could leave something behind: each client format, JSON and streams, answers that are
kept, idempotency keys, a thousand API keys, texts that never come twice; and refused ones, with keys and models that
nobody knows, each another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nexeon.store import open_store
from nexeon.store.records import Account, ApiKey
from nexeon.store.secrets import digest, last4, new_secret
from tests.bench import deployment, keeping
from tests.bench.harness import cpu, memory, run_wrk
from tests.bench.peers import NEXEON
from tests.bench.start import until_ready
from tests.bench.targets import slope
from tests.ports import free_port

KEYS = 1000
KEYS_AN_ACCOUNT = 10
CONNECTIONS = 16
SLICE = 10
"""Seconds of one load."""

CHAT, RESPONSES, MESSAGES, GEMINI = deployment.FORMATS
KINDS = (
    *[(CHAT, CHAT, "json")] * 3,
    *[(CHAT, MESSAGES, "json")] * 2,
    *[(MESSAGES, CHAT, "json")] * 2,
    (GEMINI, MESSAGES, "json"),
    (RESPONSES, CHAT, "json"),
    (CHAT, CHAT, "burst"),
    (MESSAGES, CHAT, "burst"),
    (RESPONSES, GEMINI, "burst"),
    (CHAT, CHAT, "kept"),
    (CHAT, CHAT, "repeatable"),
    (CHAT, CHAT, "stranger"),
    (CHAT, CHAT, "unknown"),
)
REFUSED = 2
"""Of these kinds."""

SCRIPT = """
local kinds = {{ {kinds} }}
local keys = {{ {keys} }}
local number, first = 0, "{first}"
request = function()
  number = number + 1
  local kind = kinds[number % #kinds + 1]
  local unique = first .. number
  local headers = {{ ["content-type"] = "application/json", ["authorization"] = "Bearer " .. keys[number % #keys + 1] }}
  if kind[3] == "repeatable" then headers["idempotency-key"] = "bench-" .. unique end
  if kind[3] == "stranger" then headers["authorization"] = "Bearer nex-sk-" .. unique end
  return wrk.format("POST", kind[1], headers, (kind[2]:gsub("UNIQUE", unique)))
end
"""


def _kind(client: str, upstream: str, what: str) -> str:
    """As a table of Lua: path, body, what."""
    model = deployment.model("burst" if what == "burst" else "json", upstream)
    stream = what == "burst"
    body = deployment.body(client, model, stream=stream, prompt="Say something about UNIQUE, please.")
    if what == "kept":
        client, body = RESPONSES, {"model": model, "input": "Say something about UNIQUE, please."}
    if what == "unknown":
        body["model"] = "UNIQUE"
    return f"{{'{deployment.path(client, model, stream=stream)}', [==[{json.dumps(body)}]==], '{what}'}}"


async def _keys(folder: Path) -> list[str]:
    """New keys, in a store that nobody holds."""
    store = await open_store(f"tinydb:{folder}/data")
    secrets = [new_secret() for _ in range(KEYS)]
    for number, secret in enumerate(secrets):
        account = f"acc_{number // KEYS_AN_ACCOUNT:016x}"
        if number % KEYS_AN_ACCOUNT == 0:
            await store.add(Account(account, account, 0.0))
            await store.post(account, "grant", 10**15)
        await store.add(ApiKey(f"key_{number:016x}", account, "bench", 0.0, digest(secret), last4(secret)))
    await store.close()
    return secrets


def _spawn(folder: Path, *command: str) -> int:
    """A program that outlives this one."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=Path.cwd()
        )
    return process.pid


def begin(folder: Path) -> dict[str, Any]:
    """A gateway of its own, over an upstream of its own."""
    folder.mkdir(parents=True)
    ports = [free_port(), free_port()]
    config = deployment.configuration(folder, f"http://127.0.0.1:{ports[0]}")
    keys = asyncio.run(_keys(folder))
    upstream = _spawn(folder, sys.executable, "-m", "tests.bench.upstream", str(ports[0]))
    gateway = _spawn(folder, NEXEON, "serve", "-c", str(config), "--port", str(ports[1]))
    state = {"gateway": gateway, "upstream": upstream, "port": ports[1], "keys": keys, "seen": []}
    _save(folder, state)
    deadline = time.monotonic() + 120
    while True:
        try:
            until_ready(ports[1])
            break
        except SystemExit:
            if time.monotonic() > deadline or not _runs(gateway):
                end(folder, state)
                raise
    state["seen"] = [_look(folder, state, 0, 0.0)]
    _save(folder, state)
    return state


def _runs(pid: int) -> bool:
    try:
        return pid > 0 and "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def _look(folder: Path, state: dict[str, Any], count: int, spent: float) -> list[float]:
    """Requests so far, MB of memory, MB on the disk, CPU µs a request since the last look."""
    disk = sum(file.stat().st_blocks * 512 for file in (folder / "data").iterdir()) / 1e6
    return [count, memory(state["gateway"]), disk, spent]


def load(folder: Path, state: dict[str, Any], seconds: int) -> int:
    """Requests answered as they should be. Raises SystemExit."""
    kinds = ", ".join(_kind(*kind) for kind in KINDS)
    keys = ", ".join(f"'{key}'" for key in state["keys"])
    script = SCRIPT.format(kinds=kinds, keys=keys, first=f"{time.time_ns():x}-")
    url = f"http://127.0.0.1:{state['port']}"
    done = run_wrk(url, script, connections=CONNECTIONS, seconds=seconds, where=folder)
    wanted = done.requests * REFUSED / len(KINDS)
    if not done.requests or abs(done.failed - wanted) > 2 * CONNECTIONS + REFUSED:
        raise SystemExit(f"{done.failed} of {done.requests} requests failed; see {folder / 'log'}")
    return done.requests


def go_on(folder: Path, state: dict[str, Any], *, requests: int, every: int, seconds: float) -> None:
    """Until there were so many requests, or the time is over."""
    begun = time.monotonic()
    seen = state["seen"]
    count = int(seen[-1][0])
    asked, before = 0, cpu(state["gateway"])
    while count < requests and time.monotonic() - begun < seconds:
        more = load(folder, state, SLICE)
        count, asked = count + more, asked + more
        over = count >= requests or time.monotonic() - begun >= seconds
        if over or count // every > (count - more) // every:
            spent = cpu(state["gateway"])
            seen.append(_look(folder, state, count, (spent - before) / asked * 1e6))
            asked, before = 0, spent
            _save(folder, state)
            _tell(seen[-1])


def _tell(look: list[float]) -> None:
    print(
        f"after {look[0]:>10,.0f} requests: {look[1]:6.0f} MB of memory, {look[2]:7.0f} MB on the disk, "
        f"CPU {look[3]:5.0f} µs a request",
        flush=True,
    )


def _save(folder: Path, state: dict[str, Any]) -> None:
    (folder / "state.json").write_text(json.dumps(state))


def end(folder: Path, state: dict[str, Any]) -> None:
    """Stops both programs and clears up."""
    for name in ("gateway", "upstream"):
        if _runs(state[name]):
            os.kill(state[name], signal.SIGTERM)
    deadline = time.monotonic() + 60
    while any(_runs(state[name]) for name in ("gateway", "upstream")) and time.monotonic() < deadline:
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.million",
        description="What memory a gateway takes on its way to a million requests of every kind. Gateway and upstream "
        "go on running between two goes; the same command continues.",
    )
    add = parser.add_argument
    add("--requests", type=int, default=1_000_000, help="to end with (1,000,000)")
    add("--every", type=int, default=50_000, help="requests between two lines (50,000)")
    add("--seconds", type=float, default=float("inf"), help="for this go (until the end)")
    add("--folder", type=Path, default=Path(tempfile.gettempdir()) / "nexeon-million", help="of what goes on")
    add(
        "--keep",
        default=os.environ.get("BENCH_KEEP") or "",
        metavar="FILE",
        help="where `make bench` finds the figures",
    )
    add("--stop", action="store_true", help="tell what was seen, and end it")
    asked = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: `apt-get install wrk` gives what the bench needs")
    file = asked.folder / "state.json"
    state = json.loads(file.read_text()) if file.exists() else None
    if state is not None and not _runs(state["gateway"]):
        end(asked.folder, state)
        raise SystemExit(f"the gateway of {asked.folder} has ended; begin again")
    if state is None:
        if asked.stop:
            raise SystemExit(f"nothing goes on in {asked.folder}")
        state = begin(asked.folder)
    for look in state["seen"]:
        _tell(look)
    try:
        if not asked.stop:
            go_on(asked.folder, state, requests=asked.requests, every=asked.every, seconds=asked.seconds)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    seen = [(int(look[0]), look[1]) for look in state["seen"]]
    if (more := slope(seen)) is not None:
        print(f"in the second half {more:+.1f} MB for each million requests", flush=True)
    with keeping.kept(asked.keep) as figures:
        figures.million = seen
    if asked.stop or seen[-1][0] >= asked.requests:
        end(asked.folder, state)
    else:
        print(f"goes on with the same command; `--stop` ends it (gateway: process {state['gateway']})")


if __name__ == "__main__":
    main()
