"""A gateway on a real port, in front of an upstream that answers with recorded bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from nexeon.config import load_config
from nexeon.gateway.server.app import create_app, gateway_of, services_of
from nexeon.store import open_store, to_nano
from nexeon.store.guests import GuestStore
from tests.listening import listen
from tests.patience import PATIENCE

from . import engine
from .cases import CHAT, GEMINI, MESSAGES, RESPONSES, Case

ROOT = Path(__file__).parents[2]
_PRICE = {"input": 1, "output": 1}
PROMPT = "Say what was recorded."


Target = tuple[str, str, str]
"""Provider, format, model."""


@dataclass
class Replay:
    """The upstream: gives `body` to whoever asks, in random pieces where that is a stream, and keeps what was asked."""

    body: bytes = b""
    stream: bool = False
    status: int = 200
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    pieces: random.Random = field(default_factory=lambda: random.Random(7))
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def load(self, case: Case) -> None:
        self.body, self.status = case.raw, case.status
        self.stream = case.stream and case.status == 200
        self.asked.clear()
        self.heard.clear()

    async def wait(self) -> None:
        """Until something was asked: an answer in the background asks after its receipt has left."""
        await asyncio.wait_for(self.heard.wait(), 20)

    @property
    def asked_body(self) -> Any:
        """The one request since `load`."""
        assert len(self.asked) == 1, f"{len(self.asked)} requests"
        return json.loads(self.asked[0][1])

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")
                headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines[1:]}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.asked.append((lines[0].split(" ")[1], body))
                self.heard.set()
                await (self._stream(writer) if self.stream else self._whole(writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _whole(self, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {self.status} X\r\ncontent-type: application/json\r\ncontent-length: {len(self.body)}\r\n"
        writer.write(head.encode() + b"\r\n" + self.body)
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        longest = max(len(self.body) // 8, 200)
        at = 0
        while at < len(self.body):
            piece = self.body[at : at + self.pieces.randint(1, longest)]
            at += len(piece)
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        await writer.drain()


@dataclass
class Live:
    """A running gateway and its upstream; every recorded model has a name of its own here."""

    client: httpx.AsyncClient
    replay: Replay
    names: dict[Target, str]
    store: GuestStore
    account: str

    async def charged(self) -> dict[str, int]:
        """The usage that the last answer was charged for."""
        for entry in await self.store.ledger(self.account):
            if entry.kind == "charge":
                used = {name: value for name, value in entry.usage.items() if isinstance(value, int)}
                cached = used.get("cached_input", 0)
                written = used.get("cache_write", 0) + used.get("cache_write_1h", 0)
                return {
                    "input": used.get("input", 0) + cached + written,
                    "cached": cached,
                    "output": used.get("output", 0),
                    "reasoning": used.get("reasoning", 0),
                }
        return {}

    async def ask(self, case: Case, client: str) -> httpx.Response:
        """A client's least request for a recorded answer."""
        self.replay.load(case)
        return await self.send(target_of(case), client, prompt(client, stream=case.stream), stream=case.stream)

    async def send(self, target: Target, client: str, body: dict[str, Any], *, stream: bool) -> httpx.Response:
        """A client's request, whose model becomes this target's."""
        model = self.names[target]
        body = dict(body)
        if client == GEMINI:
            verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
            return await self.client.post(f"/v1beta/models/{model}:{verb}", json=body)
        body["model"] = model
        path = {CHAT: "/v1/chat/completions", RESPONSES: "/v1/responses", MESSAGES: "/v1/messages"}[client]
        return await self.client.post(path, json=body)


def prompt(client: str, *, stream: bool) -> dict[str, Any]:
    """A client's least request."""
    if client == GEMINI:
        return {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
    if client == RESPONSES:
        body: dict[str, Any] = {"input": PROMPT}
    else:
        body = {"messages": [{"role": "user", "content": PROMPT}]}
    if client == MESSAGES:
        body["max_tokens"] = 1000
    return body | engine.client_body(client, stream=stream)


def target_of(case: Case) -> Target:
    return case.provider, case.format, case.model


@contextlib.asynccontextmanager
async def live(targets: Iterable[Target], folder: Path) -> AsyncIterator[Live]:
    """A gateway for some targets, configured as it ships but for its models and the providers' addresses."""
    replay = Replay()
    upstream = await asyncio.start_server(replay.answer, "127.0.0.1", 0, limit=2**26)
    address = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
    names = {target: f"recorded-{number}" for number, target in enumerate(dict.fromkeys(targets))}
    models: dict[str, Any] = {}
    for (provider, format, model), name in names.items():
        target = {"provider": provider, "model": model, "format": format}
        models[name] = {"owned_by": "tests", "created": 1, "price": _PRICE, "targets": [target]}
    settings = yaml.safe_load((ROOT / "gateway.yaml").read_text())
    for facts in settings["providers"].values():
        facts |= {"base_url": address, "api_key": "provider-secret", "key_rest": False}
    settings |= {"models": models, "server": {"host": "127.0.0.1", "port": 0, "keepalive": 0, "body_limit": 2**26}}
    settings["materialise"] = {"enabled": False}  # no test goes out to the network
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(settings))
    config = load_config([file], environ={})
    store = GuestStore(await open_store("memory:"))
    account, key = await store.welcome("guest", to_nano("100000"))
    app = create_app(config, engine.library(), store)
    serving, url = await listen(app, config)
    while not gateway_of(app).ready:  # noqa: ASYNC110 (readiness has no event)
        await asyncio.sleep(0.01)
    try:
        async with httpx.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE
        ) as client:
            yield Live(client, replay, names, store, account.id)
    finally:
        await serving.finish()
        await services_of(app).stop()
        await store.close()
        upstream.close()


def sse_events(text: str) -> tuple[list[tuple[str | None, str]], str | None]:
    """(name, data) of each event of our own streams, and a problem with their framing."""
    if not text.endswith("\n\n"):
        return [], "the stream does not end with a whole event"
    events: list[tuple[str | None, str]] = []
    for block in text[:-2].split("\n\n"):
        lines = block.split("\n")
        if all(line.startswith(":") for line in lines):
            continue
        name = lines[0].removeprefix("event: ") if lines[0].startswith("event: ") else None
        data = lines[1:] if name is not None else lines
        if len(data) != 1 or not data[0].startswith("data: "):
            return [], f"a block that is no event: {block[:100]!r}"
        events.append((name, data[0].removeprefix("data: ")))
    return events, None
