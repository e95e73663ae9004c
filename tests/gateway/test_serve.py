"""The server process: what stands around the app, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from conftest import CREDIT, settings, until
from scripts import COST, EVENTS, USAGE, hangs, talks
from upstream import Call, Upstream

from nexeon.admin import connect, connect_http
from nexeon.config import Config, load_config
from nexeon.errors import AdminError, ConfigError, NotFound
from nexeon.gateway.server.serve import run
from nexeon.store import Balance, Store, open_store, to_usd
from nexeon.store.guests import GuestStore
from tests.patience import PATIENCE

BODY = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}


@dataclass
class Recorder:
    """An overlay that notes what is called, and puts a guest into the store."""

    calls: list[str]
    url: str = ""
    key: str = ""
    account: str = ""
    store: GuestStore | None = None

    async def start(self, config: Config) -> Config:
        self.calls.append("start")
        return self.over(config)

    def over(self, config: Config) -> Config:
        return replace(config, server=replace(config.server, port=0))

    async def wrap(self, store: Store) -> Store:
        self.calls.append("wrap")
        self.store = GuestStore(store)
        account, self.key = await self.store.welcome("guest", CREDIT)
        self.account = account.id
        return self.store

    async def listening(self, url: str) -> None:
        self.calls.append("listening")
        self.url = url

    async def stop(self) -> None:
        self.calls.append("stop")


Launch = Callable[[Callable[[dict[str, Any]], object]], Awaitable[tuple[Recorder, asyncio.Event, asyncio.Task[None]]]]


@pytest.fixture
async def launch(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Launch]:
    running: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

    async def start(
        change: Callable[[dict[str, Any]], object],
    ) -> tuple[Recorder, asyncio.Event, asyncio.Task[None]]:
        value = settings(upstream.url)
        value["store"] = {"url": f"tinydb:{tmp_path / 'data'}"}
        change(value)
        file = tmp_path / "gateway.yaml"
        file.write_text(yaml.safe_dump(value))
        recorder, stop = Recorder([]), asyncio.Event()
        task = asyncio.create_task(run(load_config([file], environ={}), overlay=recorder, stop=stop))
        running.append((stop, task))
        await until(lambda: recorder.url or task.done())
        if task.done():
            await task
        return recorder, stop, task

    yield start
    for stop, task in running:
        stop.set()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), PATIENCE)


def client(recorder: Recorder) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=recorder.url, headers={"x-api-key": recorder.key}, timeout=PATIENCE)


async def test_it_serves_and_the_admin_socket_answers(launch: Launch, upstream: Upstream, tmp_path: Path) -> None:
    upstream.plays(talks())
    recorder, stop, task = await launch(lambda value: None)
    async with client(recorder) as http:
        assert (await http.post("/talk", json=BODY)).status_code == 200
        assert (await http.get("/readyz")).status_code == 200
    admin = await connect(f"tinydb:{tmp_path / 'data'}")
    created = await admin.call("accounts.create", name="acme")
    await admin.close()
    assert created["name"] == "acme"
    stop.set()
    await asyncio.wait_for(task, PATIENCE)
    assert recorder.calls == ["start", "wrap", "listening", "stop"]
    store = await open_store(f"tinydb:{tmp_path / 'data'}")
    assert [account.name for account in await store.accounts()] == ["acme"], "the guest was never written"
    await store.close()


async def test_a_running_stream_finishes_and_nothing_new_begins(launch: Launch, upstream: Upstream) -> None:
    go = asyncio.Event()

    async def slow(call: Call) -> None:
        await call.begin_stream()
        await call.event(EVENTS[0])
        await go.wait()
        for event in (*EVENTS[1:], USAGE, b"[END]"):
            await call.event(event)
        await call.end_stream()

    upstream.plays(slow)
    recorder, stop, task = await launch(lambda value: value["server"].update(drain=10 * PATIENCE))
    async with (
        client(recorder) as http,
        client(recorder) as other,
        http.stream("POST", "/talk", json={**BODY, "stream": True}) as answer,
    ):
        lines = answer.aiter_lines()
        await anext(lines)
        stop.set()
        with pytest.raises(httpx.ConnectError):
            await ask_on(other)
        go.set()
        rest = [line async for line in lines]
    assert "data: [END]" in rest
    await asyncio.wait_for(task, PATIENCE)
    assert recorder.store is not None
    assert (await recorder.store.balance(recorder.account)).balance == CREDIT - COST


async def ask_on(http: httpx.AsyncClient) -> None:
    """On a new connection each time, until that fails."""
    async with asyncio.timeout(PATIENCE):
        while (await http.get("/healthz", headers={"connection": "close"})).status_code == 200:
            pass


@pytest.mark.parametrize("quiet", [False, True])
async def test_what_does_not_finish_in_time_is_cut_and_charged(launch: Launch, upstream: Upstream, quiet: bool) -> None:
    async def endless(call: Call) -> None:
        await call.begin_stream()
        await call.event({"text": "a few words"})
        while not call.left.is_set():
            if not quiet:
                await call.event({"text": "word"})
            await asyncio.sleep(0.02)

    upstream.plays(endless)
    recorder, stop, task = await launch(lambda value: value["server"].update(drain=0.3))
    text = ""
    async with client(recorder) as http, http.stream("POST", "/talk", json={**BODY, "stream": True}) as answer:
        async for part in answer.aiter_text():
            text += part
            stop.set()
    assert "shutting down" in text.strip().rsplit("\n\n", 1)[-1]
    assert "[END]" not in text
    await asyncio.wait_for(task, PATIENCE)
    await asyncio.wait_for(upstream.calls[0].left.wait(), PATIENCE)
    assert recorder.store is not None
    balance = await recorder.store.balance(recorder.account)
    assert (balance.reserved, balance.balance < CREDIT) == (0, True)
    assert recorder.calls[-1] == "stop"


async def test_a_request_that_waits_at_the_end_of_the_drain_is_released(launch: Launch, upstream: Upstream) -> None:
    upstream.plays(hangs)
    recorder, stop, task = await launch(lambda value: value["server"].update(drain=0.1))
    async with client(recorder) as http:
        asking = asyncio.create_task(http.post("/talk", json=BODY))
        await until(lambda: upstream.calls)
        stop.set()
        answer = await asking
    assert (answer.status_code, answer.json()["oops"]["code"]) == (503, "shutting_down")
    await asyncio.wait_for(task, PATIENCE)
    assert recorder.store is not None
    assert await recorder.store.balance(recorder.account) == Balance(CREDIT, 0)


async def test_a_taken_port_is_told_with_the_mend(upstream: Upstream, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        value = {**settings(upstream.url), "server": {"port": port}, "store": {"url": f"tinydb:{tmp_path / 'data'}"}}
        file = tmp_path / "gateway.yaml"
        file.write_text(yaml.safe_dump(value))
        with pytest.raises(ConfigError, match=rf"cannot listen on 127.0.0.1:{port}.*--port"):
            await run(load_config([file], environ={}), stop=asyncio.Event())


async def test_operators_reach_the_admin_service_over_http(launch: Launch, upstream: Upstream) -> None:
    token = "an-admin-token-of-some-length"
    recorder, _, _ = await launch(lambda value: value.update(admin={"http": {"token": token}}))
    admin = connect_http(recorder.url, token)
    made = await admin.call("accounts.create", name="acme / eu", soft_limit="2")
    assert (await admin.call("accounts.show", account="acme / eu"))["id"] == made["id"]
    assert "soft limit" in (await admin.call("status"))["warnings"][0]
    with pytest.raises(NotFound, match="no account `none`"):
        await admin.call("accounts.show", account="none")
    (target,) = await admin.call("explain", model="plain", format="talk", request=BODY)
    assert (target["refusal"], target["body"]["model"]) == ("", target["model"])
    assert target["values"]
    with pytest.raises(AdminError, match="no model `plan`: did you mean `plain`"):
        await admin.call("explain", model="plan", format="talk", request=BODY)
    assert [each["actor"].split(" ")[-1] for each in (await admin.call("audit.list"))["items"]] == ["(127.0.0.1)"]
    await admin.close()
    stranger = connect_http(recorder.url, "another-token-of-some-length")
    words = r"takes another admin token: give its `admin\.http\.token` in NEXEON_ADMIN_TOKEN"
    with pytest.raises(AdminError, match=words):
        await stranger.call("accounts.list")
    await stranger.close()
    async with client(recorder) as http:
        assert (await http.get("/admin/v1/accounts")).status_code == 401


async def test_owners_of_keys_see_their_usage_and_limits(launch: Launch, upstream: Upstream) -> None:
    upstream.plays(talks())
    recorder, _, _ = await launch(lambda value: None)
    async with client(recorder) as http:
        assert (await http.post("/talk", json=BODY)).status_code == 200
        page = (await http.get("/v1/usage", params={"by": "model"})).json()
        assert [(row["model"], row["requests"]) for row in page["items"]] == [("plain", 1)]
        assert page["items"][0]["cost"] == to_usd(COST)
        assert (await http.get("/v1/usage", params={"by": "moon"})).status_code == 400
        assert (await http.get("/v1/usage", params={"of": "account", "limit": "1"})).json()["next"] is None
        me = (await http.get("/v1/me")).json()
        assert me["key"]["limits"]["rpm"] is None
        assert (me["overdraft"], me["key"]["budget"]) == ("0.00", None)
        assert (await http.get("/admin/v1/accounts")).status_code == 404, "nothing is served there without a token"


async def test_usage_is_counted_before_anybody_asks(
    launch: Launch, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nexeon.gateway.services._SWEEP", 0.05)
    await launch(lambda value: None)
    admin = await connect(f"tinydb:{tmp_path / 'data'}")
    await admin.call("accounts.create", name="acme")
    entry = await admin.call("credits.add", account="acme", usd="1")
    await admin.close()

    def position() -> list[tuple[str]]:
        connection = sqlite3.connect(tmp_path / "data" / "usage.sqlite3")
        try:
            return connection.execute("SELECT entry FROM position").fetchall()
        except sqlite3.OperationalError:
            return []  # it is being made
        finally:
            connection.close()

    await until((tmp_path / "data" / "usage.sqlite3").exists)
    await until(lambda: position() == [(entry["id"],)])
