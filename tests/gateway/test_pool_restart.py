"""What a gateway knows of provider keys, after its whole process was killed and started again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
from processes import Process
from scripts import says, talks
from upstream import Call, Upstream

from nexeon.admin import connect

REST = 8.0


async def test_a_rejected_key_stays_rejected_and_a_rest_holds_until_its_time(tmp_path: Path) -> None:
    limited = True

    async def by_key(call: Call) -> None:
        key = call.headers["x-secret"].removeprefix("Key ")
        if key == "revoked":
            await says({"oops": {"kind": "authentication", "say": "no"}}, 401)(call)
        elif key == "limited" and limited:
            await says({"oops": {"kind": "rate", "say": "no"}}, 429, headers={"retry-after": str(int(REST))})(call)
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
        async with httpx.AsyncClient(timeout=20) as client:
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
        rested = time.monotonic()
        limited = False
        before = await states()
        assert before["config:one:1"] == ("cooling", "rate limit (429)")
        assert before["config:one:2"] == ("removed", "401 authentication")
        await process.kill()
        await process.start()
        told = len(upstream.calls)
        assert time.monotonic() < rested + REST - 2, "the start took longer than the rest"
        assert await states() == before
        while time.monotonic() < rested + REST - 1:
            assert await ask() == "good"
        assert len(upstream.calls) > told
        async with httpx.AsyncClient() as client:
            metrics = (await client.get(process.url + "/metrics")).text
        assert 'nexeon_provider_keys{provider="one",state="removed"} 1' in metrics
        used: set[str] = set()
        while time.monotonic() < rested + REST + 5 and "limited" not in used:
            used.add(await ask())
        assert "limited" in used
        assert "revoked" not in {call.headers["x-secret"].removeprefix("Key ") for call in upstream.calls[told:]}
        assert (await states())["config:one:2"] == ("removed", "401 authentication")
    finally:
        await process.kill()
        await upstream.stop()
