"""Several real gateways on one database, on the offline upstream, and clients that note what they were told."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from nexeon.data import data_path
from nexeon.store.postgres.engine import PostgresStore
from nexeon.store.records import Account, ApiKey
from nexeon.store.secrets import VARIABLE, digest, last4, new_secret
from tests.patience import PATIENCE, until

ROOT = Path(__file__).parents[2]
MODEL = "m"
PATH = "/v1/chat/completions"
SECRET_KEY = "a secret that only tests know"


@dataclass
class Member:
    """One gateway's process."""

    process: subprocess.Popen[str]
    url: str

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.communicate()


@dataclass
class Fleet:
    """`answered` are requests whose whole answer was heard, `begun` those of which at least the beginning was."""

    folder: Path
    database: str
    secret: str
    redis: str | None = None
    members: list[Member] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    over: bool = False

    @classmethod
    async def make(cls, folder: Path, database: str, *, credit: int, redis: str | None = None, **key: Any) -> Fleet:
        secret = new_secret()
        store = await PostgresStore.open(database)
        await store.add(Account("acc_1", "acme", 0.0))
        await store.add(ApiKey("key_1", "acc_1", "k", 0.0, digest(secret), last4(secret), **key))
        await store.post("acc_1", "grant", credit)
        await store.close()
        fleet = cls(folder, database, secret, redis)
        fleet.configure()
        return fleet

    def configure(self, **more: Any) -> None:
        shipped = yaml.safe_load(data_path("gateway.yaml").read_text())
        provider = next(iter(shipped["providers"]))
        model = {"owned_by": "tests", "created": 1, "price": {"input": 1, "output": 2}, "max_output_tokens": 100}
        config: dict[str, Any] = {
            "store": {"url": self.database},
            "models": {MODEL: {**model, "targets": [{"provider": provider, "model": MODEL}]}},
            **more,
        }
        if self.redis is not None:
            config["limits"] = {"url": self.redis, **config.get("limits", {})}
        (self.folder / "fleet.yaml").write_text(json.dumps(config))

    async def start(self) -> Member:
        files = [str(data_path("gateway.yaml")), str(self.folder / "fleet.yaml")]
        command = ["-m", "nexeon.cli", "serve", "--sandbox", "--port", "0", "-c", files[0], "-c", files[1]]
        with (self.folder / "errors.txt").open("a") as errors:
            process = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, *command],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: SECRET_KEY},
            )
        assert process.stdout is not None
        lines = [await asyncio.to_thread(process.stdout.readline) for _ in range(3)]
        assert lines[2].startswith("curl"), self.errors()
        url = next(word for word in lines[2].split() if word.startswith("http"))
        member = Member(process, url[: url.index("/", len("http://"))])
        self.members.append(member)
        return member

    def errors(self) -> str:
        return (self.folder / "errors.txt").read_text()

    async def restart(self, place: int) -> None:
        """Kills a gateway in the midst of its work, and starts another in its place."""
        member = self.members[place]
        await asyncio.to_thread(member.kill)
        await self.start()
        self.members[place] = self.members.pop()

    def stop(self) -> None:
        for member in self.members:
            if member.process.poll() is None:
                member.kill()

    async def load(self, clients: int, during: Callable[[], Awaitable[None]]) -> None:
        """Asks any of the gateways all the time, in both modes, while something is done."""
        self.over = False
        async with httpx.AsyncClient(timeout=PATIENCE, limits=httpx.Limits(max_connections=clients)) as http:
            running = [asyncio.create_task(self._client(http, number)) for number in range(clients)]
            try:
                await during()
            finally:
                self.over = True
            await asyncio.wait_for(asyncio.gather(*running), PATIENCE)

    async def goes_on(self) -> None:
        """Waits for some more answers."""
        enough = len(self.answered) + 20
        await until(lambda: len(self.answered) > enough)

    async def _client(self, http: httpx.AsyncClient, seed: int) -> None:
        chance = random.Random(seed)
        while not self.over:
            stream = chance.random() < 0.4
            body = {"model": MODEL, "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
            headers = {"authorization": f"Bearer {self.secret}"}
            member = chance.choice(self.members)
            try:
                async with http.stream("POST", member.url + PATH, json=body, headers=headers) as answer:
                    self.statuses[answer.status_code] += 1
                    number = answer.headers["x-request-id"]
                    if answer.status_code == 200:
                        self.begun.add(number)
                    text = (await answer.aread()).decode()
            except httpx.HTTPError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 200:
                if "data: [DONE]" in text if stream else "choices" in json.loads(text):
                    self.answered.add(number)
            else:
                self.codes[json.loads(text)["error"]["code"]] += 1
                await asyncio.sleep(0.02)

    async def check(self, credit: int) -> int:
        """What was told is in the ledger, once; nothing else is; every nano-dollar is where it belongs. The charges."""
        store = await PostgresStore.open(self.database)
        try:
            await store.sweep()
            entries = []
            while page := await store.history(after=entries[-1].id if entries else "", limit=5000):
                entries += page
            balance = await store.balance("acc_1")
            assert await store.reservations() == [], "credit is held for nobody"
        finally:
            await store.close()
        charges = Counter(entry.request for entry in entries if entry.kind == "charge")
        told = {entry.request: entry for entry in entries if entry.kind == "charge"}
        assert set(charges.values()) <= {1}, "charged twice"
        assert self.answered <= set(charges), "answered, and not charged"
        assert not any(told[number].estimated for number in self.answered)
        assert all(told[number].amount < 0 and told[number].price and told[number].usage for number in self.answered)
        assert sum(entry.amount for entry in entries) == balance.balance >= 0
        assert (balance.reserved, entries[0].amount) == (0, credit)
        assert [entry.previous for entry in entries] == ["", *(entry.id for entry in entries[:-1])]
        assert [entry.id for entry in entries] == [f"led_{number:012d}" for number in range(1, len(entries) + 1)]
        running = 0
        for entry in entries:
            running += entry.amount
            assert entry.balance == running
        return len(charges)
