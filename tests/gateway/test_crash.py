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
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from nexeon.data import data_path
from nexeon.store.records import Account, ApiKey
from nexeon.store.secrets import digest, last4, new_secret
from nexeon.store.tinydb_engine import TinyStore
from tests.patience import PATIENCE, until, wait_until

ROOT = Path(__file__).parents[2]
CRASHES = int(os.environ.get("NEXEON_CRASHES", "4"))
CLIENTS = 12
CREDIT = 10**12
MODEL = "m"
PATH = "/v1/chat/completions"


@dataclass
class Crashed:
    """A store folder, its gateway, and what clients were told."""

    folder: Path
    secret: str
    process: subprocess.Popen[str] | None = None
    url: str = ""
    over: bool = False
    # requests by what their clients have heard: the whole answer, or only its beginning
    answered: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)

    async def start(self, preexec: Callable[[], None] | None = None) -> None:
        files = [str(data_path("gateway.yaml")), str(self.folder / "store.yaml")]
        command = ["-m", "nexeon.cli", "serve", "--sandbox", "--port", "0", "-c", files[0], "-c", files[1]]
        with (self.folder / "errors.txt").open("a") as errors:
            self.process = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, *command],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                preexec_fn=preexec,
            )
        assert self.process.stdout is not None
        lines = [await asyncio.to_thread(self.process.stdout.readline) for _ in range(3)]
        assert lines[2].startswith("curl"), (self.folder / "errors.txt").read_text()
        self.url = next(word for word in lines[2].split() if word.startswith("http"))
        self.url = self.url[: self.url.index("/", len("http://"))]

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.communicate()

    async def load(self, seconds: float, after: Callable[[], None]) -> None:
        """Asks all the time, in both modes, and does `after` in the midst of it."""
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE, limits=limits) as http:
            clients = [asyncio.create_task(self._client(http)) for _ in range(CLIENTS)]
            so_far = len(self.answered)
            await until(lambda: len(self.answered) > so_far + CLIENTS)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(after)
            await asyncio.wait_for(asyncio.gather(*clients), PATIENCE)

    async def _client(self, http: httpx.AsyncClient) -> None:
        chance = random.Random()
        while not self.over:
            stream = chance.random() < 0.4
            body = {"model": MODEL, "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
            try:
                async with http.stream(
                    "POST", PATH, json=body, headers={"authorization": f"Bearer {self.secret}"}
                ) as answer:
                    self.statuses[answer.status_code] += 1
                    number = answer.headers["x-request-id"]
                    if answer.status_code == 200:
                        self.begun.add(number)
                    text = (await answer.aread()).decode()
            except httpx.HTTPError:
                return
            if answer.status_code == 200 and ("data: [DONE]" in text if stream else "choices" in json.loads(text)):
                self.answered.add(number)
            elif answer.status_code == 503:
                await asyncio.sleep(0.02)

    async def check(self) -> None:
        """What was told is on the disk: once, and nothing else is."""
        store = await TinyStore.open(self.folder / "store")
        entries = await store.ledger("acc_1", limit=10**9)
        balance = await store.balance("acc_1")
        assert await store.reservations() == []
        await store.close()
        charges = Counter(entry.request for entry in entries if entry.kind == "charge")
        assert set(charges.values()) <= {1}, "charged twice"
        assert self.answered <= set(charges), "answered, and not charged"
        told = {entry.request: entry for entry in entries if entry.kind == "charge"}
        assert not any(told[number].estimated for number in self.answered)
        assert all(told[number].amount < 0 and told[number].price and told[number].usage for number in self.answered)
        assert not [entry for entry in entries if entry.kind == "shortfall"]
        assert sum(entry.amount for entry in entries) == balance.balance
        assert (balance.reserved, entries[-1].amount) == (0, CREDIT)
        assert [entry.previous for entry in entries] == [*(entry.id for entry in entries[1:]), ""]


@pytest.fixture
async def crashed(tmp_path: Path) -> Crashed:
    secret = new_secret()
    model = {"owned_by": "tests", "created": 1, "price": {"input": 1, "output": 2}, "max_output_tokens": 100}
    provider = json.loads(json.dumps(next(iter(_shipped()["providers"]))))
    config = {
        "store": {"url": f"tinydb:{tmp_path / 'store'}"},
        "models": {MODEL: {**model, "targets": [{"provider": provider, "model": MODEL}]}},
    }
    (tmp_path / "store.yaml").write_text(json.dumps(config))
    store = await TinyStore.open(tmp_path / "store")
    await store.add(Account("acc_1", "acme", 0.0))
    await store.add(ApiKey("key_1", "acc_1", "k", 0.0, digest(secret), last4(secret)))
    await store.post("acc_1", "grant", CREDIT)
    await store.close()
    return Crashed(tmp_path, secret)


def _shipped() -> dict[str, dict[str, object]]:
    import yaml

    found: dict[str, dict[str, object]] = yaml.safe_load(data_path("gateway.yaml").read_text())
    return found


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
