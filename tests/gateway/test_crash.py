"""`kill -9` under load, a full disk and a read-only folder, met by the real program on the offline upstream.

`NEXEON_CRASHES` is how often it is killed; `make soak` sets it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from heard import ROOT, Heard, one_model, open_account, serve

from nexeon.store.tinydb_engine import TinyStore
from tests.patience import PATIENCE, until, wait_until

CRASHES = int(os.environ.get("NEXEON_CRASHES", "4"))
CLIENTS = 12
CREDIT = 10**12


@dataclass
class Crashed(Heard):
    """A store folder, its gateway, and what clients were told."""

    folder: Path = field(kw_only=True)
    secret: str = field(kw_only=True)
    process: subprocess.Popen[str] | None = None
    url: str = ""
    over: bool = False

    async def start(self, preexec: Callable[[], None] | None = None) -> None:
        self.process, self.url = await serve(self.folder / "store.yaml", self.folder / "errors.txt", preexec=preexec)

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.communicate()

    async def load(self, seconds: float, after: Callable[[], None]) -> None:
        """Asks all the time, in both modes, and does `after` in the midst of it."""
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(timeout=PATIENCE, limits=limits) as http:
            clients = [asyncio.create_task(self._client(http)) for _ in range(CLIENTS)]
            so_far = len(self.answered)
            await until(lambda: len(self.answered) > so_far + CLIENTS)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(after)
            await asyncio.wait_for(asyncio.gather(*clients), PATIENCE)

    async def _client(self, http: httpx.AsyncClient) -> None:
        chance = random.Random()
        while not self.over and await self.ask(http, self.url, self.secret, chance):
            pass

    async def check(self) -> None:
        """What was told is on the disk: once, and nothing else is."""
        store = await TinyStore.open(self.folder / "store")
        entries = await store.ledger("acc_1", limit=10**9)
        balance = await store.balance("acc_1")
        assert await store.reservations() == []
        await store.close()
        self.agree(entries[::-1], balance, CREDIT)


@pytest.fixture
async def crashed(tmp_path: Path) -> Crashed:
    url = f"tinydb:{tmp_path / 'store'}"
    (tmp_path / "store.yaml").write_text(json.dumps(one_model(url)))
    secret = await open_account(await TinyStore.open(tmp_path / "store"), CREDIT)
    return Crashed(folder=tmp_path, secret=secret)


def tear(folder: Path, chance: random.Random) -> None:
    """What a power cut may leave: a piece of a batch that nobody was told of."""
    journal = max(folder.glob("journal-*"))
    good = journal.read_bytes().rstrip(b"\0")
    journal.write_bytes(
        good + chance.choice([b"j1 0123", b"j1 00000000 9 40\nhalf", chance.randbytes(30)]).rstrip(b"\0")
    )


@pytest.mark.timeout(300 + 20 * CRASHES)
async def test_a_killed_gateway_loses_and_doubles_no_charge(crashed: Crashed) -> None:
    chance = random.Random(4)
    for number in range(CRASHES):
        await crashed.start()
        await crashed.load(chance.uniform(0.05, 1.5), crashed.kill)
        if number % 3 == 1:
            tear(crashed.folder / "store", chance)
        await crashed.check()
    assert set(crashed.statuses) == {200}
    assert len(crashed.answered) > 10 * CRASHES
    assert crashed.begun > crashed.answered or CRASHES < 20, "some were killed in the midst of their answer"


async def test_a_full_disk_is_met_at_admission(crashed: Crashed) -> None:
    limit = 1 << 20
    await crashed.start(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))

    def full() -> None:
        wait_until(lambda: crashed.statuses[503] > CLIENTS)
        crashed.over = True

    await crashed.load(0, full)
    crashed.kill()
    crashed.over = False
    assert set(crashed.statuses) == {200, 503}
    assert crashed.answered == crashed.begun, "what was admitted was answered to its end, and charged"
    await crashed.check()
    before = len(crashed.answered)
    await crashed.start()
    await crashed.load(0.1, crashed.kill)
    assert len(crashed.answered) > before, "once there is room it goes on"
    await crashed.check()


async def test_a_read_only_folder_is_told_and_left_as_it_is(crashed: Crashed, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    (folder / "store.lock").unlink()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    run = [sys.executable, "-m", "nexeon.cli", "serve", "--port", "0", "-c", str(tmp_path / "store.yaml")]
    if os.geteuid() == 0:
        words = f'mount --bind "{folder}" "{folder}" && mount -o remount,bind,ro "{folder}" && exec "$@"'
        run = ["unshare", "-m", "sh", "-c", words, "sh", *run]
        if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"], check=False).returncode:  # noqa: ASYNC221
            pytest.skip("root may write anywhere, and cannot mount a folder read-only here")
    else:
        folder.chmod(0o500)
    done = subprocess.run(  # noqa: ASYNC221
        run, capture_output=True, text=True, timeout=PATIENCE, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    folder.chmod(0o700)
    if "mount:" in done.stderr:
        pytest.skip(f"a folder cannot be mounted read-only here: {done.stderr.strip()}")
    assert done.returncode == 1
    assert str(folder) in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    await crashed.check()
