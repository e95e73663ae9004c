"""`python -m nexeon.sandbox`."""

import asyncio
import signal
import sys

import httpx
import pytest

from nexeon.sandbox import SandboxServer


async def run(*arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nexeon.sandbox", *arguments, stdout=pipe, stderr=pipe
    )


async def test_it_serves_until_it_is_told_to_stop():
    process = await run("--port", "0")
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    async with httpx.AsyncClient() as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "[[cut-after 1]] x"}], "stream": True}
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(url + "/chat/completions", json=body)
        assert (await client.get(url + "/models")).status_code == 200
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"Stop with Ctrl-C.\n")


async def test_a_taken_port_is_explained():
    async with SandboxServer() as url:
        process = await run("--port", url.rpartition(":")[2])
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"Take another --port" in errors


async def test_help_lists_the_directives():
    process = await run("--help")
    assert process.stdout is not None
    output, _ = await process.communicate()
    assert b"[[error-after 3]]" in output
