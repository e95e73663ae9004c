"""Two gateways that share the store of answers: what one makes in the background is followed and ended at the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from nexeon.config import load_config
from nexeon.data import data_path
from nexeon.gateway.answers import behind, kept
from nexeon.gateway.server.app import create_app, gateway_of, services_of
from nexeon.mapping import Library, load_library
from nexeon.sandbox.app import create_app as create_sandbox
from nexeon.store import open_store, to_nano
from nexeon.store.answers import SQLiteAnswers
from nexeon.store.guests import GuestStore
from tests.patience import PATIENCE

SLOW = "[[delay 20ms]] [[tokens 60]]"


@dataclass
class Pair:
    """Clients of both gateways, with one account's key; `services` of the first one, `answers` of both."""

    one: httpx.AsyncClient
    two: httpx.AsyncClient
    services: Any
    answers: SQLiteAnswers


@cache
def library() -> Library:
    return load_library([data_path("mappings")])


@pytest.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(behind, "RENEW", 0.05)
    monkeypatch.setattr(behind, "_LOOK", 0.02)
    for module in (behind, kept):
        monkeypatch.setattr(module, "LOST", 10 * PATIENCE)
    (tmp_path / "own.yaml").write_text("store: {url: 'memory:'}\n")
    config = load_config([data_path("gateway.yaml"), tmp_path / "own.yaml"], environ={"OPENAI_API_KEY": "secret"})
    store = GuestStore(await open_store("memory:"))
    _, secret = await store.welcome("guest", to_nano("10"))
    upstream = httpx.ASGITransport(create_sandbox())  # type: ignore[arg-type]
    answers = SQLiteAnswers(tmp_path)
    answers.shared = True
    clients, services = [], []
    for _ in range(2):
        app = create_app(config, library(), store, transport=lambda _: upstream)
        services.append(services_of(app))
        services[-1].answers = gateway_of(app).answers = answers
        await services[-1].start()
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        headers = {"authorization": f"Bearer {secret}"}
        clients.append(httpx.AsyncClient(transport=transport, base_url="http://gateway/v1", headers=headers))
    yield Pair(clients[0], clients[1], services[0], answers)
    for client in clients:
        await client.aclose()
    for each in services:
        await each.stop(0)
    await store.close()


async def ask(client: httpx.AsyncClient, text: str, **more: Any) -> dict[str, Any]:
    body = {"model": "gpt-5", "input": text, "background": True, **more}
    answer: dict[str, Any] = (await client.post("/responses", json=body)).json()
    return answer


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


async def test_followed(pair: Pair) -> None:
    asked = asyncio.create_task(pair.one.post("/responses", json={
        "model": "gpt-5", "input": SLOW, "background": True, "stream": True
    }))  # fmt: skip
    while not pair.services.behind.running:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    ((_, id),) = pair.services.behind.running
    assert (await pair.two.get(f"/responses/{id}")).json()["status"] in ("queued", "in_progress")
    followed = await pair.two.get(f"/responses/{id}", params={"stream": "true"})
    events = events_of((await asked).text)
    assert events_of(followed.text) == events
    assert events[-1]["type"] == "response.completed"
    assert (await pair.two.get(f"/responses/{id}")).json() == events[-1]["response"]


@pytest.mark.parametrize("ended", ["cancelled", "deleted"])
async def test_ended_at_the_other(pair: Pair, ended: str) -> None:
    answer = await ask(pair.one, "[[first-byte 600s]] Hi")
    path = f"/responses/{answer['id']}"
    if ended == "cancelled":
        assert (await pair.two.post(f"{path}/cancel")).json()["status"] == "cancelled"
    else:
        assert (await pair.two.delete(path)).json()["deleted"] is True
    async with asyncio.timeout(PATIENCE):
        while pair.services.behind.running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for client in (pair.one, pair.two):
        found = await client.get(path)
        assert (found.json().get("status") if found.status_code == 200 else None) == (
            "cancelled" if ended == "cancelled" else None
        )


async def test_its_gateway_is_gone(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is under way as long as somebody says so; then it is lost."""
    answer = await ask(pair.one, "[[first-byte 600s]] Hi")
    path = f"/responses/{answer['id']}"
    ((account, id),) = pair.services.behind.running

    async def touched() -> float:
        await pair.answers.flush()
        return (await pair.answers.get(account, id)).touched

    begun = await touched()
    async with asyncio.timeout(PATIENCE):
        while await touched() <= begun + 0.1:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await pair.two.get(path)).json()["status"] == "in_progress"
    pair.services.behind._renewing.cancel()
    await asyncio.sleep(0.2)
    monkeypatch.setattr(kept, "LOST", 0.1)
    lost = (await pair.two.get(path)).json()
    assert lost["status"] == "failed"
    assert "stopped" in lost["error"]["message"]
