"""A reload that is asked for while the server still starts."""

from __future__ import annotations

from pathlib import Path

import httpx
from processes import Process
from upstream import Upstream

from tests.patience import PATIENCE

TOLD_AT_ONCE = """
import os, signal
import nexeon.gateway.server.serve as server
compiles = server.compile_folders

def told(*arguments):
    os.kill(os.getpid(), signal.SIGHUP)
    return compiles(*arguments)

server.compile_folders = told
"""


async def test_a_signal_during_the_start_is_heard_after_it(tmp_path: Path, upstream: Upstream) -> None:
    server = Process(tmp_path / "one", upstream.url)
    server.first = TOLD_AT_ONCE
    try:
        await server.start()
        await server.said("the configuration is as it was (signal)")
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as http:
            assert 'nexeon_reload_total{outcome="unchanged"} 1' in (await http.get("/metrics")).text
    finally:
        await server.kill()
