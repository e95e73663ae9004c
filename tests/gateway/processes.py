"""`nexeon serve` in a process of its own, on a port and a store of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml
from conftest import settings

from nexeon.admin import connect
from tests.patience import PATIENCE
from tests.ports import free_port


class Process:
    """One gateway; `change` alters its settings in place."""

    def __init__(
        self,
        folder: Path,
        upstream: str,
        *,
        change: Callable[[dict[str, Any]], object] = lambda value: None,
        **server: Any,
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        value = settings(upstream)
        value["server"] |= {"port": self.port, "watch": False, **server}
        value["store"] = {"url": f"tinydb:{folder / 'data'}"}
        change(value)
        self.file = folder / "gateway.yaml"
        self.file.write_text(yaml.safe_dump(value))
        self.key = ""
        self.first = ""
        """Python that the next process runs before anything else."""
        self.process: asyncio.subprocess.Process | None = None

    def change(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Alters the settings of what is started next."""
        value = yaml.safe_load(self.file.read_text())
        change(value)
        self.file.write_text(yaml.safe_dump(value))

    async def start(self) -> None:
        with (self.folder / "stderr").open("a") as told:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *self._main(), "serve", "-c", str(self.file), stderr=told
            )
        async with httpx.AsyncClient() as http, asyncio.timeout(PATIENCE):
            while True:
                try:
                    if (await http.get(self.url + "/readyz")).status_code == 200:
                        break
                except httpx.TransportError:
                    assert self.process.returncode is None, (self.folder / "stderr").read_text()
                await asyncio.sleep(0.02)
        if not self.key:
            client = await connect(f"tinydb:{self.folder / 'data'}")
            try:
                await client.call("accounts.create", name="a")
                await client.call("credits.add", account="a", usd="1000")
                self.key = (await client.call("keys.create", account="a", name="k"))["key"]
            finally:
                await client.close()

    def _main(self) -> list[str]:
        if not self.first:
            return ["-m", "nexeon.cli"]
        return ["-c", f"import runpy\n{self.first}\nrunpy.run_module('nexeon.cli', run_name='__main__')"]

    def told(self) -> str:
        """What stands on its stderr."""
        return (self.folder / "stderr").read_text()

    async def said(self, words: str) -> None:
        """Waits until that stands there."""
        async with asyncio.timeout(PATIENCE):
            while words not in self.told():  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self) -> int:
        assert self.process is not None
        return await asyncio.wait_for(self.process.wait(), PATIENCE)

    async def balance(self) -> tuple[str, str]:
        """Balance and what is reserved, from the store itself."""
        client = await connect(f"tinydb:{self.folder / 'data'}")
        try:
            account = await client.call("accounts.show", account="a")
            return account["balance"], account["reserved"]
        finally:
            await client.close()
