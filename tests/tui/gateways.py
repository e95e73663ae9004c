"""A real gateway in front of the offline upstream, and its admin socket."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from nexeon.admin import AdminClient, connect
from nexeon.cli.sandbox import Sandbox
from nexeon.config import load_config
from nexeon.data import data_path
from nexeon.gateway.server.serve import run
from tests.patience import until

OWN = """
server: {{port: 0}}
store: {{url: "tinydb:{folder}/data"}}
log: {{bodies: true}}
"""


@dataclass
class Served:
    """A gateway that answers. `connect` is what the terminal is given."""

    folder: Path

    async def connect(self) -> AdminClient:
        return await connect(f"tinydb:{self.folder}/data", actor="tui")


@asynccontextmanager
async def gateway(own: str = OWN) -> AsyncIterator[Served]:
    """Every shipped model, answered offline, on a store that is empty."""
    # a socket's path must be short
    with tempfile.TemporaryDirectory(prefix="nx", dir="/tmp") as name:
        folder = Path(name)
        (folder / "own.yaml").write_text(own.format(folder=folder))
        config = load_config([data_path("gateway.yaml"), folder / "own.yaml"])
        stop = asyncio.Event()
        serving = asyncio.create_task(run(config, overlay=Sandbox(), stop=stop))
        try:
            await until(lambda: (folder / "data" / "admin.sock").exists() or serving.done())
            yield Served(folder)
        finally:
            stop.set()
            await serving
