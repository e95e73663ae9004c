"""What is told to those who watch: figures from the log, the configuration, and what needs attention."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from nexeon.admin import AdminService
from nexeon.admin.http import OPERATIONS
from nexeon.admin.traffic import Traffic
from nexeon.config import load_config
from nexeon.data import data_path
from nexeon.errors import AdminError, NotFound
from nexeon.store.memory import MemoryStore
from nexeon.store.requests import RequestLog
from tests.patience import PATIENCE

NOW = 1_900_000_020.5


def record(number: int, ended: float, **other: Any) -> dict[str, Any]:
    return {
        "id": f"req_{number}",
        "started": ended - 1.0,
        "ended": ended,
        "steps": {"answered": 0.25},
        "model": "swift",
        "provider": "one",
        "status": 200,
        "error": "",
        "usage": {"input": 100, "cached_input": 20, "output": 30},
        "cost": 2_000_000,
        **other,
    }


async def test_figures_by_second() -> None:
    log = RequestLog(None)
    traffic = Traffic(log, clock=lambda: NOW)
    empty = await traffic.figures(10, 10)
    assert empty["total"] == {
        "requests": 0,
        "errors": 0,
        "tokens": 0,
        "spend": "0.00",
        "first_p50": None,
        "first_p95": None,
    }
    for number in range(4):
        log.record(record(number, NOW - 1, steps={"answered": 0.1 * (number + 1)}))
    log.record(record(4, NOW - 3, status=502, error="it failed", usage={}, cost=None, provider="two"))
    log.record(record(5, NOW - 300))
    log.record(record(6, NOW))
    await log.flush()
    figures = await traffic.figures(10, 10)
    assert figures["requests"] == [0, 0, 0, 0, 0, 0, 0, 1, 0, 4]
    assert figures["errors"] == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]
    assert figures["input_tokens"][-1] == 480
    assert figures["output_tokens"][-1] == 120
    assert figures["spend"][-1] == pytest.approx(0.008)
    assert figures["first_p50"][-1] == pytest.approx(0.3)
    assert figures["first_p95"][-1] == pytest.approx(0.4)
    assert figures["first_p50"][-2] is None
    assert figures["total"]["tokens"] == 600
    assert figures["total"]["spend"] == "0.008"
    assert figures["models"] == [{"model": "swift", "requests": 5, "errors": 1, "tokens": 600, "spend": "0.008"}]
    assert [(each["provider"], each["requests"]) for each in figures["providers"]] == [("one", 4), ("two", 1)]
    await log.close()


async def test_what_was_seen_once_is_not_counted_twice() -> None:
    log = RequestLog(None)
    now = NOW
    traffic = Traffic(log, clock=lambda: now)
    for number in range(5):
        log.record(record(number, NOW - 2))
        await log.flush()
        await traffic.figures(60, 6)
    assert (await traffic.figures(60, 6))["total"]["requests"] == 5
    # further back than was looked before, then so late that all of it is past
    assert (await traffic.figures(3600, 60))["total"]["requests"] == 5
    now = NOW + 3500
    assert (await traffic.figures(3600, 60))["total"]["requests"] == 5
    now = NOW + 9000
    assert (await traffic.figures(3600, 60))["total"]["requests"] == 0
    await log.close()


async def test_failures_are_found_and_told_from_the_rest() -> None:
    log = RequestLog(None)
    service = AdminService(MemoryStore(), requests=log)
    for number in range(10):
        log.record(record(number, NOW, status=(200, 429, 502)[number % 3]))

    async def found(**filters: Any) -> list[str]:
        page = await service.call("requests.list", filters, actor="test")
        return [each["id"] for each in page["items"]]

    assert await found(failed=True) == ["req_8", "req_7", "req_5", "req_4", "req_2", "req_1"]
    assert await found(failed=False, limit=2) == ["req_9", "req_6"]
    assert await found(status=429, model="swift") == ["req_7", "req_4", "req_1"]
    assert await found(status=429, after="req_4") == ["req_1"]
    made = await service.call("accounts.create", {"name": "acme"}, actor="test")
    key = await service.call("keys.create", {"account": "acme", "name": "ci"}, actor="test")
    log.record(record(10, NOW, account=made["id"], key=key["id"]))
    log.record(record(11, NOW, account="acc_gone", key="key_gone"))
    assert await found(account="acme") == await found(key="ci") == await found(key=key["id"]) == ["req_10"]
    assert await found(key="key_gone") == ["req_11"]
    shown = [await service.call("requests.show", {"request": each}, actor="test") for each in ("req_10", "req_11")]
    assert [(each["account_name"], each["key_name"]) for each in shown] == [("acme", "ci"), (None, None)]
    await service.call("keys.create", {"account": "acme", "name": "ci"}, actor="test")
    with pytest.raises(AdminError, match="2 keys"):
        await found(key="ci")
    with pytest.raises(AdminError, match="true or false"):
        await found(failed="yes")
    await service.close()
    await log.close()


async def test_records_that_come_while_old_ones_are_deleted_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    log = RequestLog(None, clock=lambda: NOW)
    prune = log._prune

    async def meanwhile() -> None:
        log.record(record(1, NOW))
        await prune()

    monkeypatch.setattr(log, "_prune", meanwhile)
    log.record(record(0, NOW))
    await log.flush()
    await log.flush()
    assert [each["id"] for each in await log.list()] == ["req_1", "req_0"]
    await log.close()


class Watched:
    url = "http://127.0.0.1:8080"
    running = 3

    def targets(self) -> Mapping[tuple[str, str, str | None], Mapping[str, Any]]:
        target = next(iter(load_config([data_path("gateway.yaml")]).models.values())).targets[0]
        key = (target.provider, target.model, target.format)
        return {key: {"open": True, "failures": 5, "latency": 0.4}}


class Pool:
    def states(self) -> dict[str, dict[str, Any]]:
        return {
            "pk_1": {"state": "cooling", "reason": "rate limit (429)", "model": "swift", "wait": 12.0},
            "pk_2": {"state": "removed", "reason": "401", "model": "", "wait": 0.0},
            "pk_3": {"state": "active", "reason": "", "model": "", "wait": 0.0},
        }

    async def lift(self, key: str) -> None:
        raise AssertionError(key)


async def test_what_needs_attention(tmp_path: Path) -> None:
    config = load_config([data_path("gateway.yaml")])
    service = AdminService(MemoryStore(), config, pool=Pool(), requests=RequestLog(None))
    service.live.watched = Watched()
    await service.call("accounts.create", {"name": "poor"}, actor="test")
    await service.call("accounts.create", {"name": "low", "soft_limit": "5"}, actor="test")
    await service.call("credits.add", {"account": "low", "usd": "4.5"}, actor="test")
    await service.call("accounts.create", {"name": "off"}, actor="test")
    await service.call("accounts.disable", {"account": "off"}, actor="test")
    async with asyncio.timeout(PATIENCE):
        while True:
            shown = await service.call("live.show", {"span": 60, "points": 6}, actor="test")
            if len(shown["problems"]) == 5 and shown["spend_today"]:
                break
            await asyncio.sleep(0.02)
    assert [(each["kind"], each["state"]) for each in shown["problems"]] == [
        ("provider_key", "removed"),
        ("provider_key", "cooling"),
        ("target", "open"),
        ("account", "empty"),
        ("account", "low"),
    ]
    assert "12 s to go" in shown["problems"][1]["words"]
    warnings = (await service.call("status", {}, actor="test"))["warnings"]
    assert len(warnings) == 3, warnings
    assert "left alone after 5 failures in a row" in warnings[-1]
    assert shown["spend_today"] == "0.00"
    assert (shown["running"], shown["url"]) == (3, "http://127.0.0.1:8080")
    model = (await service.call("models.list", {"limit": 1}, actor="test"))["items"][0]
    assert model["targets"][0] | {"model": ""} | {"state": "open", "failures": 5, "latency": 0.4} == model["targets"][
        0
    ] | {"model": ""}
    with pytest.raises(AdminError, match="span"):
        await service.call("live.show", {"span": 10_000}, actor="test")
    await service.close()


async def test_models_routes_and_the_configuration_without_its_secrets(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "admin: {http: {token: admin-token-that-is-secret}}\n"
        "providers:\n"
        "  mine:\n"
        "    base_url: https://upstream.example/v1\n"
        "    formats: [openai.chat]\n"
        "    auth: {header: x-key, value: '{{ key }}'}\n"
        "    headers: {x-extra: header-that-is-secret}\n"
        "    api_key: provider-key-that-is-secret\n"
        "    proxy: http://user:password-that-is-secret@proxy.example:3128\n"
        "models:\n"
        "  house/swift:\n"
        "    {owned_by: house, created: 1700000000, price: {input: 1.5, output: 6}, aliases: [quick],\n"
        "     targets: [{provider: mine, model: swift-1}]}\n"
    )
    config = load_config([data_path("gateway.yaml"), own])
    service = AdminService(MemoryStore(), config)

    async def call(method: str, **params: Any) -> Any:
        return await service.call(method, params, actor="test")

    found = (await call("models.list", search="SWIFT-1"))["items"]
    assert [each["id"] for each in found] == ["house/swift"]
    assert found[0]["price"]["input"] == "1.50"
    assert found[0]["targets"][0]["state"] == "untried"
    assert await call("models.show", model="quick") == found[0]
    assert OPERATIONS["models.show"].url({"model": "house/swift"}) == "/admin/v1/models/house%2Fswift"
    with pytest.raises(NotFound, match="no model"):
        await call("models.show", model="nobody")
    routes = (await call("routes.list"))["items"]
    assert {"POST"} == {method for route in routes for method in route["methods"]}
    shown = orjson.dumps(await call("configuration.show")).decode()
    assert "upstream.example" in shown
    assert "proxy.example" in shown
    assert "that-is-secret" not in shown
    await service.close()


async def test_without_a_configuration_that_is_said() -> None:
    service = AdminService(MemoryStore())
    for method in ("models.list", "routes.list", "configuration.show"):
        with pytest.raises(AdminError, match="configuration"):
            await service.call(method, {}, actor="test")
    await service.close()
