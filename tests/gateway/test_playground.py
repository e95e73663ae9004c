"""Prompts in every client format of the shipped configuration, asked of the gateway and read again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nexeon.admin.client import SocketClient
from nexeon.cli.sandbox import Sandbox
from nexeon.config import load_config
from nexeon.data import data_path
from nexeon.errors import AdminError
from nexeon.gateway.server.serve import run
from nexeon.mapping import load_library
from tests.patience import PATIENCE, until

FORMATS = ("openai.chat", "openai.responses", "anthropic.messages", "gemini.generate_content")


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[SocketClient]:
    """The admin service of a gateway in front of the offline upstream."""
    own = tmp_path / "own.yaml"
    own.write_text(f"server: {{port: 0}}\nstore: {{url: 'tinydb:{tmp_path}/data'}}\n")
    stop = asyncio.Event()
    serving = asyncio.create_task(run(load_config([data_path("gateway.yaml"), own]), overlay=Sandbox(), stop=stop))
    await until((tmp_path / "data" / "admin.sock").exists)
    client = None
    async with asyncio.timeout(PATIENCE):
        while client is None:
            assert not serving.done(), serving
            with contextlib.suppress(OSError):
                client = await SocketClient.open(tmp_path / "data" / "admin.sock", actor="test")
    try:
        yield client
    finally:
        await client.close()
        stop.set()
        await serving


async def ask(admin: SocketClient, secret: str, **asked: Any) -> tuple[httpx.Response, dict[str, Any]]:
    made = await admin.call("playground.compose", **asked)
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        answer = await http.post(
            made["url"], json=made["body"], headers={**made["headers"], "authorization": f"Bearer {secret}"}
        )
    names = {name: asked[name] for name in ("format", "model", "stream")}
    return answer, await admin.call("playground.read", **names, answer=answer.text, status=answer.status_code)


async def test_every_format_asks_and_is_read(admin: SocketClient) -> None:
    assert {each["id"] for each in (await admin.call("playground.list"))["items"]} == set(FORMATS)
    await admin.call("accounts.create", name="acme")
    await admin.call("credits.add", account="acme", usd="10")
    secret = (await admin.call("keys.create", account="acme", name="play"))["key"]
    model = (await admin.call("models.list", limit=1))["items"][0]["id"]
    for name in FORMATS:
        for stream in (True, False):
            asked = {"format": name, "model": model, "prompt": "Say hello.", "system": "Be brief.", "stream": stream}
            answer, told = await ask(admin, secret, **asked, max_tokens=100)
            assert answer.status_code == 200, (name, answer.text)
            assert ("event-stream" in answer.headers["content-type"]) is stream
            texts = [block["text"] for block in told["blocks"] if block["type"] == "text"]
            assert texts, (name, stream, told)
            assert all(texts)
            assert told["finish"]["reason"] == "stop"
            assert told["usage"]["output"] > 0
            if stream:
                half = answer.text[: len(answer.text) // 2]
                part = await admin.call("playground.read", format=name, model=model, stream=True, answer=half)
                assert len(part["blocks"]) <= len(told["blocks"])
    answer, told = await ask(admin, "nex-sk-none", format=FORMATS[0], model=model, prompt="x", stream=True)
    assert answer.status_code == 401
    assert "key" in told["error"]["message"]


async def test_what_cannot_be_asked_is_told(admin: SocketClient) -> None:
    for asked, words in (
        ({"format": "nothing"}, "no format `nothing`"),
        ({"prompt": " "}, "prompt"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
    ):
        given: dict[str, Any] = {"format": FORMATS[0], "model": "m", "prompt": "x"} | asked
        with pytest.raises(AdminError, match=words):
            await admin.call("playground.compose", **given)
    with pytest.raises(AdminError, match="not JSON"):
        await admin.call("playground.read", format=FORMATS[0], model="m", answer="<html>", stream=False)


def test_the_formats_above_are_all() -> None:
    assert set(FORMATS) == set(load_library(load_config([data_path("gateway.yaml")]).mappings).formats)
