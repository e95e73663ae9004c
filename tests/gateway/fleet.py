"""Several real gateways on one database, on the offline upstream, and clients that note what they were told."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from heard import Heard, one_model, open_account, serve

from nexeon.store.postgres.engine import PostgresStore
from nexeon.store.records import LedgerEntry
from nexeon.store.secrets import VARIABLE
from tests.patience import PATIENCE, until

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
class Fleet(Heard):
    """Gateways on one database, and what their clients have heard."""

    folder: Path = field(kw_only=True)
    database: str = field(kw_only=True)
    secret: str = field(kw_only=True)
    redis: str | None = None
    members: list[Member] = field(default_factory=list)
    over: bool = False

    @classmethod
    async def make(cls, folder: Path, database: str, *, credit: int, redis: str | None = None, **key: Any) -> Fleet:
        secret = await open_account(await PostgresStore.open(database), credit, **key)
        fleet = cls(folder=folder, database=database, secret=secret, redis=redis)
        fleet.configure()
        return fleet

    def configure(self, **more: Any) -> None:
        config: dict[str, Any] = {**one_model(self.database), **more}
        if self.redis is not None:
            config["limits"] = {"url": self.redis, **config.get("limits", {})}
        (self.folder / "fleet.yaml").write_text(json.dumps(config))

    async def start(self) -> Member:
        member = Member(
            *await serve(self.folder / "fleet.yaml", self.folder / "errors.txt", environ={VARIABLE: SECRET_KEY})
        )
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
            if not await self.ask(http, chance.choice(self.members).url, self.secret, chance):
                await asyncio.sleep(0.05)

    async def check(self, credit: int) -> int:
        """What was told is in the ledger, once; nothing else is; every nano-dollar is where it belongs. The charges."""
        store = await PostgresStore.open(self.database)
        try:
            await store.sweep()
            entries: list[LedgerEntry] = []
            while page := await store.history(after=entries[-1].id if entries else "", limit=5000):
                entries += page
            balance = await store.balance("acc_1")
            assert await store.reservations() == [], "credit is held for nobody"
        finally:
            await store.close()
        assert [entry.id for entry in entries] == [f"led_{number:012d}" for number in range(1, len(entries) + 1)]
        return self.agree(entries, balance, credit)
