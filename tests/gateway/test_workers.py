"""Several processes at one address: they answer, one that dies is replaced, signals reach all of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))

from fleet import SECRET_KEY
from upstream import Upstream

from nexeon.config import load_config
from nexeon.gateway.limits.windows import Claim, Exceeded, MemoryWindows
from nexeon.gateway.server.siblings import labelled
from nexeon.gateway.server.workers import Seat, Supervisor
from nexeon.store.postgres.engine import PostgresStore
from nexeon.store.records import Account, ApiKey
from nexeon.store.secrets import VARIABLE, digest, last4, new_secret
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.servers import need_postgres, schema_url

ROOT = Path(__file__).parents[2]


class Served:
    """A parent with its workers."""

    def __init__(self, process: subprocess.Popen[str], url: str, key: str, errors: Path) -> None:
        self.process = process
        self.url = url
        self.key = key
        self.errors = errors

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def until_told(self, words: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while words not in self.errors.read_text():
                assert self.process.poll() is None, self.errors.read_text()
                await asyncio.sleep(0.1)

    def ask(self, model: str = "plain") -> int:
        """On a connection of its own, since the kernel shares out connections."""
        body = {"model": model, "say": [{"who": "user", "text": "hi"}]}
        return httpx.post(
            f"{self.url}/talk", json=body, headers={"authorization": f"Bearer {self.key}"}, timeout=PATIENCE
        ).status_code


def start(folder: Path, config: dict[str, object]) -> tuple[subprocess.Popen[str], Path]:
    file, errors = folder / "workers.yaml", folder / "errors.txt"
    file.write_text(yaml.safe_dump(config))
    with errors.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "nexeon.cli", "serve", "-c", str(file)],
            stderr=log,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: SECRET_KEY},
        )
    return process, errors


@pytest.fixture
async def served(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    from conftest import settings

    monkeypatch.setenv(VARIABLE, SECRET_KEY)
    url = await schema_url(tmp_path)
    secret = new_secret()
    store = await PostgresStore.open(url)
    await store.add(Account("acc_1", "acme", 0.0))
    await store.add(ApiKey("key_1", "acc_1", "k", 0.0, digest(secret), last4(secret)))
    await store.post("acc_1", "grant", 10**12)
    await store.close()
    port = free_port()
    config = {
        **settings(upstream.url),
        "store": {"url": url},
        "server": {"port": port, "workers": 2, "drain": 5, "watch": False},
        "admin": {"http": {"token": "a token of tests only"}},
    }
    process, errors = start(tmp_path, config)
    found = Served(process, f"http://127.0.0.1:{port}", secret, errors)
    try:
        await found.until_told("nexeon answers at")
        yield found
    finally:
        if process.poll() is None:
            process.terminate()
            await asyncio.to_thread(process.wait, PATIENCE)


async def test_workers_answer_are_replaced_and_end_together(served: Served, upstream: Upstream) -> None:
    from scripts import talks

    upstream.plays(talks())
    assert "lets in its share of every limit" in served.errors.read_text()
    before = served.workers()
    assert len(before) == 2
    await stopped_for_a_while(served.process)
    statuses = await asyncio.gather(*(asyncio.to_thread(served.ask) for _ in range(24)))
    assert set(statuses) == {200}
    async with asyncio.timeout(PATIENCE):
        while sum((counts := await answered(served)).values()) < 24:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert sum(counts.values()) == 24
    assert set(counts) == {"0", "1"}, "both got some of 24 connections"
    os.kill(before[1], signal.SIGKILL)
    await served.until_told("another takes its place")
    async with asyncio.timeout(PATIENCE):
        while len(served.workers()) < 2 or "1" not in await workers_of(served):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert set(await asyncio.gather(*(asyncio.to_thread(served.ask) for _ in range(12)))) == {200}
    after = served.workers()
    served.process.terminate()
    assert await asyncio.to_thread(served.process.wait, PATIENCE) == 0
    assert not [pid for pid in after if running(pid)]


async def stopped_for_a_while(process: subprocess.Popen[str]) -> None:
    """As a machine is that sleeps: for longer than the parent waits from one look to the next."""
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(0.5)
    process.send_signal(signal.SIGCONT)


async def measures(served: Served) -> list[str]:
    """The lines of all workers that answer."""
    try:
        text = (await asyncio.to_thread(httpx.get, f"{served.url}/metrics", timeout=PATIENCE)).text
    except httpx.HTTPError:
        return []
    return [line for line in text.splitlines() if 'worker="' in line]


async def workers_of(served: Served) -> set[str]:
    """Those whose measures are told."""
    return {line.split('worker="')[1][0] for line in await measures(served)}


async def answered(served: Served) -> dict[str, int]:
    """By each worker: requests that went well."""
    return {
        line.split('worker="')[1][0]: int(line.rpartition(" ")[2])
        for line in await measures(served)
        if line.startswith("nexeon_requests_total{") and 'status="200"' in line and 'model="plain"' in line
    }


async def test_what_one_worker_takes_up_all_do_and_those_after_them(served: Served, upstream: Upstream) -> None:
    from scripts import talks

    upstream.plays(talks())
    file = served.errors.parent / "workers.yaml"
    config = yaml.safe_load(file.read_text())
    config["models"]["fresh"] = config["models"]["plain"]
    file.write_text(yaml.safe_dump(config))
    assert served.ask("fresh") == 404
    headers = {"authorization": "Bearer a token of tests only"}
    told = await asyncio.to_thread(httpx.post, f"{served.url}/admin/v1/reload", headers=headers, timeout=PATIENCE)
    assert told.status_code == 200, told.text

    async def all_know() -> bool:
        return set(await asyncio.gather(*(asyncio.to_thread(served.ask, "fresh") for _ in range(12)))) == {200}

    async with asyncio.timeout(PATIENCE):
        while not await all_know():  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    os.kill(served.workers()[0], signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while len(served.workers()) < 2 or await workers_of(served) != {"0", "1"}:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert await all_know()


async def test_workers_end_when_their_parent_is_killed(served: Served) -> None:
    workers = served.workers()
    served.process.kill()
    await asyncio.to_thread(served.process.wait, PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while any(running(pid) for pid in workers):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def test_what_keeps_all_from_starting_is_told_once(tmp_path: Path) -> None:
    need_postgres()
    config = {
        "store": {"url": f"postgresql://127.0.0.1:{free_port()}/nowhere"},
        "server": {"port": free_port(), "workers": 2},
    }
    process, errors = start(tmp_path, {**json.loads(json.dumps(config)), "routes": [], "providers": {}, "models": {}})
    assert await asyncio.to_thread(process.wait, PATIENCE) == 1
    text = errors.read_text()
    assert "cannot be used now" in text
    assert "nexeon: no worker could be started" in text
    assert "Traceback" not in text


def test_series_are_labelled_by_worker() -> None:
    text = '# HELP a Words.\n# TYPE a counter\na{x="}\\" 1"} 5\n# HELP b More.\n# TYPE b gauge\nb 2\n'
    assert labelled({"0": text, "1": text.replace("5", "7")}) == (
        '# HELP a Words.\n# TYPE a counter\na{x="}\\" 1",worker="0"} 5\na{x="}\\" 1",worker="1"} 7\n'
        '# HELP b More.\n# TYPE b gauge\nb{worker="0"} 2\nb{worker="1"} 2\n'
    )


def test_a_worker_lets_in_its_part_of_a_limit() -> None:
    windows = MemoryWindows(parts=4)
    claims = [Claim("k", 10, 60), Claim("one", 1, 0.0)]
    taken = [windows.take_now(claims[:1]) for _ in range(2)]
    assert taken[1].levels[0].claim is claims[0]
    assert taken[1].levels[0].left == 0
    with pytest.raises(Exceeded) as refusal:
        windows.take_now(claims[:1])
    assert refusal.value.level.claim is claims[0]
    assert windows.take_now(claims[1:]).levels[0].left == 0, "one at least"


def test_workers_get_the_time_that_their_configuration_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where that was changed since the start."""
    file = tmp_path / "gateway.yaml"
    file.write_text("server: {drain: 30, linger: 2}")
    supervisor = Supervisor(load_config([file], environ={}), lambda seat: None)
    monkeypatch.setattr(supervisor, "_folder", tmp_path)
    assert supervisor._longest() == 32
    with socket.socket() as listener:
        for number, seconds in ((0, 20.0), (1, 300.5), (1, 240.5)):
            Seat(number, 2, listener, tmp_path, -1).takes(seconds)
    assert supervisor._longest() == 240.5
