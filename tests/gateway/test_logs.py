"""What stands on stderr: facts in JSON for machines, and never a secret."""

from __future__ import annotations

import io
import json
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from processes import Process
from scripts import says, talks
from upstream import Call, Upstream

from nexeon.admin import connect
from nexeon.config import Config, Lines, load_config
from nexeon.errors import ConfigError
from nexeon.gateway.observe.logs import Redaction, configured_secrets, set_up
from tests.patience import PATIENCE, until

PLANTED = {
    "api_key": "planted-provider-secret-1",
    "pool": "planted-provider-secret-2",
    "store": "planted-provider-secret-3",
    "token": "planted-admin-token-4",
    "header": "planted-header-value-5",
    "password": "planted-body-secret-6",
    "proxy": "planted-proxy-password-7",
    "field": "planted-field-value-8",
    "collector": "planted-collector-secret-9",
    "rotated": "planted-provider-secret-10",
}
CRASHES = f"""
import threading
import nexeon.gateway.server.serve

def fails():
    raise RuntimeError("of a thread: {PLANTED["store"]} {PLANTED["api_key"]}-new")

async def crash(*_):
    thread = threading.Thread(target=fails, name="mine")
    thread.start()
    thread.join()
    raise RuntimeError("of the process: {PLANTED["store"]} {PLANTED["token"]}")

nexeon.gateway.server.serve.drain = crash
"""
"""What a process that is told to end fails with, in a thread and then as a whole."""

CARD = "4111111111111111"


def planted(value: dict[str, Any]) -> None:
    provider = value["providers"]["one"]
    provider["api_key"] = PLANTED["api_key"]
    provider["keys"] = [{"key": PLANTED["pool"]}]
    provider["headers"] = {"x-tenant": PLANTED["header"]}
    value["providers"]["noter"]["proxy"] = f"http://user:{PLANTED['proxy']}@127.0.0.1:9"
    value["admin"] = {"http": {"token": PLANTED["token"]}}
    value["log"] = {"bodies": True, "redact": ["diary"]}
    value["lines"] = {
        "format": "json", "level": "debug", "requests": True, "bodies": True, "redact": [r"\b[0-9]{13,19}\b"]
    }  # fmt: skip


async def tells_its_key(call: Call) -> None:
    """A provider that repeats what it was sent, in the words of an error and in an answer."""
    key = call.headers["x-secret"]
    await call.answer({"problem": f"bad key {key} of tenant {call.headers['x-tenant']}"}, 400)


async def show(server: Process, request: str) -> Any:
    client = await connect(f"tinydb:{server.folder / 'data'}")
    try:
        return await client.call("requests.show", request=request)
    finally:
        await client.close()


async def outputs(server: Process) -> list[str]:
    """What operators are told, by the admin service and over HTTP."""
    client = await connect(f"tinydb:{server.folder / 'data'}")
    try:
        request = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
        told = [
            await client.call("explain", model="both", format="talk", request=request),
            await client.call("explain", model="plain", format="talk", response={"id": "x", "text": "y"}),
            await client.call("diff", configuration={}, salt="x"),
            *[
                await client.call(method)
                for method in (
                    "audit.list", "configuration.show", "live.show", "status", "provider_keys.list", "keys.list",
                    "requests.list", "models.list", "routes.list", "reload",
                )
            ],
        ]  # fmt: skip
    finally:
        await client.close()
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as http:
        headers = {"authorization": f"Bearer {PLANTED['token']}"}
        answers = [
            await http.get("/metrics"),
            await http.get("/healthz"),
            await http.get("/readyz"),
            *[await http.get(f"/admin/v1/{name}", headers=headers) for name in ("status", "audit", "configuration")],
        ]
    return [*map(str, told), *(f"{answer.headers} {answer.text}" for answer in answers)]


async def test_nothing_that_is_told_holds_a_secret(tmp_path: Path, upstream: Upstream) -> None:
    """Lines, files, traces, measures, what operators ask for, and what a process says that fails."""
    pytest.importorskip("opentelemetry.sdk")
    from collector import Collector

    collector = Collector()
    await collector.start()

    def change(value: dict[str, Any]) -> None:
        planted(value)
        value["tracing"] = {
            "enabled": True, "endpoint": f"{collector.url}/v1/traces", "delay": 0.05,
            "headers": {"x-collector-key": PLANTED["collector"]},
        }  # fmt: skip

    server = Process(tmp_path / "one", upstream.url, change=change)
    server.first = CRASHES
    try:
        await server.start()
        client = await connect(f"tinydb:{server.folder / 'data'}")
        try:
            await client.call("provider_keys.add", provider="one", secret=PLANTED["store"])
            spare = await client.call("provider_keys.add", provider="one", secret=PLANTED["rotated"])
            await client.call("provider_keys.disable", key=spare["id"])
            key = (await client.call("keys.list"))["items"][0]["id"]
            rotated = (await client.call("keys.rotate", key=key, overlap=3600))["key"]
        finally:
            await client.close()
        upstream.plays(tells_its_key, talks(), talks(), says({"problem": "no"}, 401), talks())
        body = {
            "model": "plain",
            "say": [{"who": "user", "text": f"my card is {CARD} and Authorization: Bearer {server.key}"}],
            "password": PLANTED["password"],
            "diary": PLANTED["field"],
        }
        headers = {"x-api-key": server.key}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=PATIENCE) as http:
            answers = [
                await http.post("/talk", json=body),
                await http.post("/talk", json=body),
                await http.post("/talk", json={**body, "stream": True}),
                await http.post("/talk", json=body),
                await http.post("/notes/noted", json={"ask": CARD}),
                await http.get("/admin/v1/status", headers={"authorization": f"Bearer {PLANTED['token']}"}),
                await http.get(f"/v1/models?key={server.key}"),
            ]
            for answer in answers[:4]:
                record = json.dumps(await show(server, answer.headers["x-request-id"]))
                assert "request" in record
                assert [secret for secret in (*PLANTED.values(), server.key, CARD) if secret in record] == []
        assert [answer.status_code for answer in answers[:4]] == [400, 200, 200, 200]
        server.file.write_text(server.file.read_text().replace("-secret-1", "-secret-1-new"))
        server.signal(signal.SIGHUP)
        await server.said("was changed")
        told_to_operators = await outputs(server)
        await until(lambda: len(collector.spans) >= 8)
        server.signal(signal.SIGTERM)
        assert await server.ended() == 1
        assert "of a thread: [redacted] [redacted]" in server.told()
        assert "of the process: [redacted] [redacted]" in server.told()
    finally:
        await server.kill()
        await collector.stop()
    secrets = [*PLANTED.values(), server.key, rotated, CARD]
    assert [secret for secret in secrets if secret.encode() in collector.raw] == []
    assert [(secret, text) for secret in secrets for text in told_to_operators if secret in text] == []
    told = server.told()
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    found = {
        (path.name, secret)
        for path in [server.folder / "stderr", *(server.folder / "data").rglob("*")]
        if path.is_file()
        for secret in secrets
        if secret.encode() in path.read_bytes()
    }
    assert found == set()
    done = [line for line in lines if line["logger"] == "nexeon.requests"]
    assert len(done) >= 4
    assert all(line["key"].startswith("key_") and line["account"].startswith("acc_") for line in done)
    stream = next(line for line in done if line["stream"] is True)
    assert (stream["model"], stream["provider"], stream["status"]) == ("plain", "one", 200)
    assert {"request", "seconds", "attempts", "usage", "cost_nano_usd", "message", "time", "level"} <= set(stream)
    assert answers[2].headers["x-request-id"] in stream["message"]


def test_lines_are_for_people_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # so that what is set up ends with the test
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    out = io.StringIO()
    log = logging.getLogger("nexeon.test")
    before = logging.getLogger().handlers[:]
    level = logging.getLogger().level
    try:
        set_up(Lines(), Redaction(), out)
        log.info("key sk-%s is bad", "x" * 20)
        set_up(Lines(format="json", level="warning"), Redaction(["pin [0-9]+"], lambda: ["hunter2-long"]), out)
        log.info("not told")
        thread = threading.Thread(target=log.warning, args=("hunter2-long of a thread",))
        thread.start()
        thread.join()
        try:
            raise ValueError("pin 1234 and hunter2-long")
        except ValueError:
            log.exception("it failed")
    finally:
        for handler in logging.getLogger().handlers[:]:
            if handler not in before:
                logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(level)
    text, by_thread, line = out.getvalue().splitlines()
    assert text == "INFO nexeon.test: key [redacted] is bad"
    assert json.loads(by_thread)["message"] == "[redacted] of a thread"  # before anything was said by the main one
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("error", "nexeon.test", "it failed")
    assert "ValueError: [redacted] and [redacted]" in told["exception"]


def config_of(folder: Path, change: dict[str, Any]) -> Config:
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(change))
    return load_config([file], environ={})


def test_a_pattern_that_is_none_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lines\.redact"):
        config_of(tmp_path, {"lines": {"redact": ["ok", "("]}})


def test_every_configured_secret_is_known(tmp_path: Path) -> None:
    value: dict[str, Any] = {
        "store": {"url": "postgresql://u:planted-db@h/d"},
        "limits": {"url": "redis://:planted-redis@h"},
        "admin": {"http": {"token": "planted-token-long"}},
    }
    assert set(configured_secrets(config_of(tmp_path, value))) == {"planted-db", "planted-redis", "planted-token-long"}
