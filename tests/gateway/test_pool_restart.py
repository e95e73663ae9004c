"""What a gateway knows of provider keys, after its whole process was killed and started again."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import httpx
from processes import Process
from scripts import says, talks
from upstream import Call, Upstream

from nexeon.admin import connect
from tests.patience import PATIENCE

REST = 600
LEAPS = f"""
import signal, time
times, shift = (time.time, time.monotonic), 0
def leap(*_):
    global shift
    shift += {REST}
time.time, time.monotonic = (lambda: times[0]() + shift), (lambda: times[1]() + shift)
signal.signal(signal.SIGUSR1, leap)
"""
"""SIGUSR1 takes the process into the time after the rest."""


async def test_a_rejected_key_stays_rejected_and_a_rest_holds_until_its_time(tmp_path: Path) -> None:
    limited = True

    async def by_key(call: Call) -> None:
        key = call.headers["x-secret"].removeprefix("Key ")
        if key == "revoked":
            await says({"oops": {"kind": "authentication", "say": "no"}}, 401)(call)
        elif key == "limited" and limited:
            await says({"oops": {"kind": "rate", "say": "no"}}, 429, headers={"retry-after": str(REST)})(call)
        else:
            await talks()(call)

    def three(value: dict[str, Any]) -> None:
        value["providers"]["one"].update(
            api_key="", keys=[{"key": "limited", "weight": 1000}, {"key": "revoked", "weight": 1000}, {"key": "good"}]
        )

    upstream = Upstream()
    await upstream.start()
    upstream.plays(by_key)
    process = Process(tmp_path / "one", upstream.url, change=three)

    async def ask() -> str:
        body = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            answer = await client.post(process.url + "/talk", json=body, headers={"x-api-key": process.key})
        assert answer.status_code == 200, answer.text
        return upstream.calls[-1].headers["x-secret"].removeprefix("Key ")

    async def states() -> dict[str, tuple[str, str]]:
        client = await connect(f"tinydb:{process.folder / 'data'}")
        try:
            page = await client.call("provider_keys.list", provider="one")
        finally:
            await client.close()
        return {each["id"]: (each["state"], each["reason"]) for each in page["items"]}

    try:
        await process.start()
        while len({call.headers["x-secret"] for call in upstream.calls}) < 3:
            await ask()
        limited = False
        before = await states()
        assert before["config:one:1"] == ("cooling", "rate limit (429)")
        assert before["config:one:2"] == ("removed", "401 authentication")
        await process.kill()
        process.first = LEAPS
        await process.start()
        told = len(upstream.calls)
        assert await states() == before
        assert {await ask() for _ in range(20)} == {"good"}
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            metrics = (await client.get(process.url + "/metrics")).text
        assert 'nexeon_provider_keys{provider="one",state="removed"} 1' in metrics
        used: set[str] = set()
        process.signal(signal.SIGUSR1)
        async with asyncio.timeout(PATIENCE):
            while "limited" not in used:
                used.add(await ask())
        assert "revoked" not in {call.headers["x-secret"].removeprefix("Key ") for call in upstream.calls[told:]}
        assert (await states())["config:one:2"] == ("removed", "401 authentication")
    finally:
        await process.kill()
        await upstream.stop()
