"""Another configuration in the place of the one that answers."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from conftest import FIXTURES, until
from scripts import EVENTS, USAGE, talks
from served import Served, served
from upstream import Call, Upstream

from nexeon.admin import AdminClient, connect
from nexeon.config import load_config
from nexeon.data import data_path
from nexeon.errors import AdminError
from nexeon.gateway.gateway import Gateway
from nexeon.gateway.server.compiled import compile_folders
from nexeon.gateway.server.reload import Reloader
from nexeon.gateway.services import Services
from nexeon.store import open_store
from tests.patience import PATIENCE

BODY = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
Begin = Callable[..., Awaitable[Served]]


@pytest.fixture
async def begin(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Begin]:
    begun: list[Served] = []

    async def start(change: Callable[[dict[str, Any]], object] | None = None) -> Served:
        begun.append(served(tmp_path, upstream.url, change))
        await begun[-1].begin()
        return begun[-1]

    yield start
    for each in begun:
        await each.end()


async def admin(server: Served) -> AdminClient:
    return await connect(server.store_url, wait=0)


async def reload(server: Served) -> dict[str, Any]:
    client = await admin(server)
    try:
        outcome: dict[str, Any] = await client.call("reload")
        return outcome
    finally:
        await client.close()


async def status(server: Served) -> dict[str, Any]:
    client = await admin(server)
    try:
        found: dict[str, Any] = await client.call("status")
        return found
    finally:
        await client.close()


async def test_what_changed_holds_for_the_next_request(begin: Begin, upstream: Upstream) -> None:
    upstream.plays(talks())
    server = await begin()
    async with server.client() as http:
        assert (await http.post("/talk", json={**BODY, "model": "new"})).status_code == 404
        server.settings["models"]["new"] = deepcopy(server.settings["models"]["plain"])
        server.settings["models"]["plain"]["price"]["input"] = 5
        del server.settings["models"]["strict"]
        server.write()
        outcome = await reload(server)
        assert (outcome["outcome"], outcome["cause"], outcome["problems"]) == ("applied", "admin", [])
        assert outcome["changes"] == [
            "~ models.plain.price.input: 1 → 5",
            "- models.strict",
            "+ models.new",
        ]
        assert (await http.post("/talk", json={**BODY, "model": "new"})).status_code == 200
        assert (await http.post("/talk", json={**BODY, "model": "strict"})).status_code == 404
        assert (await reload(server))["outcome"] == "unchanged"
        metrics = (await http.get("/metrics")).text
    assert 'nexeon_reload_total{outcome="applied"} 1' in metrics
    assert 'nexeon_reload_total{outcome="unchanged"} 1' in metrics
    assert "nexeon_reload_last_successful 1" in metrics


@pytest.mark.parametrize(
    ("text", "words"),
    [("models: [", "gateway.yaml:1"), ("model: {}", "did you mean `models`"), ("mappings: [./nowhere]", "nowhere")],
)
async def test_a_bad_file_changes_nothing_and_says_why(
    begin: Begin, upstream: Upstream, caplog: pytest.LogCaptureFixture, text: str, words: str
) -> None:
    upstream.plays(talks())
    server = await begin()
    async with server.client() as http:
        server.write(text)
        caplog.set_level(logging.INFO, "nexeon.gateway")
        outcome = await reload(server)
        assert outcome["outcome"] == "refused"
        assert words in "\n".join(outcome["problems"])
        assert words in caplog.text
        assert (await http.post("/talk", json=BODY)).status_code == 200
        found = await status(server)
        assert found["reload"]["outcome"] == "refused"
        assert any(words in warning for warning in found["warnings"])
        client = await admin(server)
        problems = (await client.call("live.show"))["problems"]
        await client.close()
        assert [(each["kind"], each["state"]) for each in problems] == [("configuration", "refused")]
        assert words in problems[0]["words"]
        metrics = (await http.get("/metrics")).text
        assert 'nexeon_reload_total{outcome="refused"} 1' in metrics
        assert "nexeon_reload_last_successful 0" in metrics
        server.write()
        assert (await reload(server))["outcome"] == "unchanged"
        assert (await status(server))["warnings"] == []


async def test_a_stream_ends_where_it_began_and_its_gateway_with_it(begin: Begin, upstream: Upstream) -> None:
    on = asyncio.Event()

    async def waits(call: Call) -> None:
        await call.begin_stream()
        for event in EVENTS[:2]:
            await call.event(event)
        await on.wait()
        for event in (*EVENTS[2:], USAGE, b"[END]"):
            await call.event(event)
        await call.end_stream()

    upstream.plays(waits, talks())
    server = await begin()
    async with server.client() as http, http.stream("POST", "/talk", json={**BODY, "stream": True}) as stream:
        lines = stream.aiter_lines()
        assert "talk_" in await anext(lines)
        before = await _generations(server)
        del server.settings["models"]["plain"]
        server.settings["providers"]["one"]["base_url"] = "http://127.0.0.1:9"
        server.write()
        assert (await reload(server))["outcome"] == "applied"
        assert (await http.post("/talk", json=BODY)).status_code == 404
        await asyncio.sleep(0.7)
        assert await _generations(server) == before + 1
        on.set()
        assert "lo" in "".join([line async for line in lines])
    async with asyncio.timeout(PATIENCE):
        while await _generations(server) != before:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _generations(server: Served) -> int:
    async with server.client() as http:
        text = (await http.get("/metrics")).text
    return int(next(line for line in text.splitlines() if line.startswith("nexeon_generations ")).split()[1])


async def test_connections_to_a_provider_that_stays_go_on(begin: Begin, upstream: Upstream) -> None:
    upstream.plays(talks())
    server = await begin()
    async with server.client() as http:
        await http.post("/talk", json=BODY)
        server.settings["models"]["plain"]["max_output_tokens"] = 400
        server.settings["providers"]["one"]["api_key"] = "another-secret"
        server.write()
        outcome = await reload(server)
        assert "another-secret" not in str(outcome)
        assert any(change.startswith("~ providers.one.api_key: secret ") for change in outcome["changes"])
        await http.post("/talk", json=BODY)
    assert upstream.connections == 1
    assert [call.headers["x-secret"] for call in upstream.calls] == ["Key provider-secret", "Key another-secret"]


async def test_what_takes_a_new_start_is_said_and_left(begin: Begin, upstream: Upstream, tmp_path: Path) -> None:
    upstream.plays(talks())
    server = await begin()
    server.settings["server"]["port"] = 1
    server.settings["store"] = {"url": f"tinydb:{tmp_path / 'other'}"}
    server.write()
    before = server.guest.url
    client = await connect(f"tinydb:{tmp_path / 'data'}", wait=0)
    try:
        outcome = await client.call("reload")
        warnings = (await client.call("status"))["warnings"]
    finally:
        await client.close()
    assert outcome["outcome"] == "applied"
    assert [line.partition(":")[0] for line in outcome["restart"]] == [
        "~ server.port", "~ store.url", "~ store.folder"
    ]  # fmt: skip
    assert [line.partition("takes a new start: ")[2] for line in outcome["restart"]] == [
        "the address is bound before the first request)", *["the credit of calls under way is held there)"] * 2
    ]  # fmt: skip
    assert len(warnings) == 3
    async with server.client() as http:
        assert (await http.post(before + "/talk", json=BODY)).status_code == 200
    assert not (tmp_path / "other").exists()


async def test_the_log_of_requests_is_switched_and_tuned(begin: Begin, upstream: Upstream) -> None:
    upstream.plays(talks())

    def change(value: dict[str, Any]) -> None:
        value["log"] = {"enabled": False}

    server = await begin(change)
    client = await admin(server)

    async def asked(**settings: Any) -> dict[str, Any]:
        """The record of a request under these settings."""
        server.settings["log"] = settings
        server.write()
        outcome = await reload(server)
        assert (outcome["outcome"], outcome["restart"]) == ("applied", [])
        async with server.client() as http:
            answer = await http.post("/talk", json=BODY)
        found: dict[str, Any] = await client.call("requests.show", request=answer.headers["x-request-id"])
        return found

    try:
        with pytest.raises(AdminError, match=r"set log\.enabled"):
            await client.call("requests.list")
        assert (await client.call("live.show"))["traffic"] is None
        assert (await asked(enabled=True)).get("request") is None
        assert (await client.call("live.show"))["traffic"]
        assert "hi" in (await asked(bodies=True))["request"]
        assert "hi" not in (await asked(bodies=True, redact=["text"]))["request"]
        assert len((await client.call("requests.list"))["items"]) == 3
        with pytest.raises(AdminError, match=r"set log\.enabled"):
            await asked(enabled=False)
    finally:
        await client.close()


async def test_watching_is_switched(begin: Begin) -> None:
    server = await begin()
    server.settings["server"]["watch"] = True
    server.write()
    assert (await reload(server))["restart"] == []

    async def by_file() -> bool:
        found = (await status(server))["reload"]
        return bool(found["cause"] == "file" and found["outcome"] == "applied")

    async with asyncio.timeout(PATIENCE):
        number = 0
        while not await by_file():  # a change just as the watch begins may be taken for the state that it begins with
            number += 1
            server.settings["models"]["plain"]["max_output_tokens"] = 400 + number
            server.write()
            await asyncio.sleep(1)
    server.settings["server"]["watch"] = False
    server.write()
    async with asyncio.timeout(PATIENCE):  # whoever is first: the watch that ends itself, or this
        while (await reload(server))["outcome"] != "unchanged":
            pass
    server.settings["models"]["plain"]["max_output_tokens"] = 300
    server.write()
    await asyncio.sleep(1.5)
    assert (await status(server))["reload"]["cause"] == "admin"
    assert (await reload(server))["outcome"] == "applied"


async def test_a_changed_file_is_taken_up_by_itself(
    begin: Begin, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the first change may come before the system tells of any
    monkeypatch.setattr("nexeon.gateway.server.changes._AGAIN", 500)
    upstream.plays(talks())
    shutil.copytree(FIXTURES / "mappings", tmp_path / "mappings")

    def change(value: dict[str, Any]) -> None:
        value["mappings"] = ["./mappings"]
        value["server"]["watch"] = True

    server = await begin(change)
    async with server.client() as http:

        async def reloads(outcome: str) -> int:
            line = f'nexeon_reload_total{{outcome="{outcome}"}}'
            text = (await http.get("/metrics")).text
            return next((int(each.split()[1]) for each in text.splitlines() if each.startswith(line)), 0)

        async def happens(outcome: str, times: int) -> None:
            async with asyncio.timeout(PATIENCE):
                while await reloads(outcome) < times:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

        del server.settings["models"]["strict"]
        server.write()
        await happens("applied", 1)
        mapping = tmp_path / "mappings" / "formats" / "talk.yaml"
        good = mapping.read_text()
        mapping.write_text(good + "\nresponse: {")
        await happens("refused", 1)
        assert (await http.post("/talk", json=BODY)).status_code == 200
        replacement = tmp_path / "replacement"
        replacement.write_text(good + "\n# the same\n")
        replacement.replace(mapping)
        await happens("applied", 2)
        (tmp_path / "unrelated.yaml").write_text("x")
        await asyncio.sleep(1)
        assert await reloads("applied") + await reloads("unchanged") == 2


async def test_the_loop_goes_on_and_nothing_stays_behind(tmp_path: Path) -> None:
    """With the shipped mappings: changed ones are compiled anew each time."""
    folder = tmp_path / "own"
    (folder / "formats").mkdir(parents=True)
    own = tmp_path / "gateway.yaml"
    shipped = data_path("gateway.yaml")
    own.write_text(f"mappings: [builtin, {folder}]\nstore: {{url: 'memory:'}}\n")
    extra = folder / "formats" / "extra.yaml"
    talk = (FIXTURES / "mappings" / "formats" / "talk.yaml").read_text()
    extra.write_text(talk)
    config = load_config([shipped, own], environ={})
    store = await open_store("memory:")
    services = Services(config, store)
    services.current = Gateway(config, compile_folders(config.mappings), services)
    await services.start()
    reloader = Reloader(services, lambda: load_config([shipped, own], environ={}), config)
    gc.collect()
    gc.freeze()
    beats = 0
    running = True

    async def measure() -> None:
        nonlocal beats
        while running:
            await asyncio.sleep(0.001)
            beats += 1

    measuring = asyncio.create_task(measure())
    kept = []
    went_on = []
    try:
        for number in range(3):
            kept.append(weakref.ref(services.current.library.formats["talk"].decode_event))
            extra.write_text(f"{talk}\n# {number}\n")
            before = beats
            assert (await reloader.reload("test")).outcome == "applied"
            went_on.append(beats - before)
            await until(lambda: not services.retired)
    finally:
        gc.enable()
        running = False
        await measuring
        await services.stop()
        await store.close()
        gc.unfreeze()
    assert [ref() for ref in kept] == [None] * 3
    assert min(went_on) > 20  # none, were it done in the loop
