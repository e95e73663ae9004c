"""The whole server inside a test's own loop: store in a folder, admin service, configuration from a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import yaml
from conftest import CREDIT, settings, until

from nexeon.config import Config, load_config
from nexeon.gateway.server.serve import run
from nexeon.store import Store
from nexeon.store.guests import GuestStore
from tests.patience import PATIENCE


@dataclass
class Guest:
    """An overlay that listens on a free port, and puts a guest into the store."""

    url: str = ""
    key: str = ""
    account: str = ""
    store: GuestStore | None = None

    async def start(self, config: Config) -> Config:
        return self.over(config)

    def over(self, config: Config) -> Config:
        return replace(config, server=replace(config.server, port=0))

    async def wrap(self, store: Store) -> Store:
        self.store = GuestStore(store)
        account, self.key = await self.store.welcome("guest", CREDIT)
        self.account = account.id
        return self.store

    async def listening(self, url: str) -> None:
        self.url = url

    async def stop(self) -> None:
        return


@dataclass
class Served:
    """`settings` are written to `file` by `write`, and nowhere else."""

    file: Path
    settings: dict[str, Any]
    guest: Guest = field(default_factory=Guest)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def write(self, text: str | None = None) -> None:
        """In one step: whoever watches the file never finds a part of it."""
        new = self.file.with_suffix(".new")
        new.write_text(yaml.safe_dump(self.settings) if text is None else text)
        new.replace(self.file)

    async def begin(self) -> None:
        self.write()

        def load() -> Config:
            return load_config([self.file], environ={})

        self.task = asyncio.create_task(run(load(), overlay=self.guest, stop=self.ending, load=load))
        task = self.task
        await until(lambda: self.guest.url or task.done())
        if task.done():
            await task

    async def end(self) -> None:
        self.ending.set()
        if self.task is not None:
            await asyncio.wait_for(asyncio.gather(self.task, return_exceptions=True), PATIENCE)

    @property
    def store_url(self) -> str:
        return str(self.settings["store"]["url"])

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.guest.url, headers={"x-api-key": self.guest.key}, timeout=PATIENCE)


def served(folder: Path, upstream: str, change: Callable[[dict[str, Any]], object] | None = None) -> Served:
    value = json.loads(json.dumps(settings(upstream)))
    value["store"] = {"url": f"tinydb:{folder / 'data'}"}
    value["server"]["watch"] = False
    if change is not None:
        change(value)
    return Served(folder / "gateway.yaml", value)
