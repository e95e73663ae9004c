"""What is looked up for operators: changes by who, what and which, keys by their account, and when each was used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from nexeon.admin import AdminService
from nexeon.store import open_store
from nexeon.store.requests import RequestLog
from tests.servers import need_postgres, schema_url

Call = Callable[..., Any]


@pytest.fixture(params=["memory", "tinydb", "postgresql"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AdminService]:
    if request.param == "postgresql":
        need_postgres()
        url = await schema_url(tmp_path)
    else:
        url = "memory:" if request.param == "memory" else f"tinydb:{tmp_path}"
    store = await open_store(url)
    log = RequestLog(store.place, clock=lambda: 3000.0)
    service = AdminService(store, requests=log)
    yield service
    await service.close()
    await log.close()
    await store.close()


async def changes(service: AdminService, **params: Any) -> list[tuple[str, str]]:
    page = await service.call("audit.list", params, actor="reader")
    return [(each["method"], each["name"]) for each in page["items"]]


async def test_changes_are_found_by_who_what_and_which(service: AdminService) -> None:
    acme = await service.call("accounts.create", {"name": "acme"}, actor="ada (tui)")
    await service.call("credits.add", {"account": "acme", "usd": "5"}, actor="bob (cli)")
    key = await service.call("keys.create", {"account": "acme", "name": "100%_ci"}, actor="ada (tui)")
    await service.call("keys.update", {"key": key["id"], "rpm": 5}, actor="bob (cli)")
    grant, made, created, updated = (
        ("credits.add", "acme"),
        ("accounts.create", "acme"),
        ("keys.create", "100%_ci"),
        ("keys.update", "100%_ci"),
    )
    assert await changes(service) == [updated, created, grant, made]
    assert await changes(service, search="BOB") == [updated, grant]
    assert await changes(service, search="keys.") == [updated, created]
    assert await changes(service, search="ACME") == [grant, made]
    assert await changes(service, search="100%_CI") == [updated, created]
    assert await changes(service, search=key["id"][4:].upper()) == [updated, created]
    assert await changes(service, search="%") == []
    assert await changes(service, search="s_c") == []
    assert await changes(service, subject=acme["id"]) == [grant, made]
    assert await changes(service, method="keys.create", actor="ada (tui)") == [created]
    first = await service.call("audit.list", {"search": "bob", "limit": 1}, actor="reader")
    assert await changes(service, search="bob", after=first["next"]) == [grant]
    await service.call("keys.delete", {"key": key["id"]}, actor="bob (cli)")
    assert (await changes(service))[0] == ("keys.delete", "100%_ci")
    assert await changes(service, search="100%_CI") == [("keys.delete", "100%_ci"), updated, created]


async def test_changes_of_a_provider_key_are_found_by_its_label(
    service: AdminService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXEON_SECRET_KEY", "of every gateway of this database")
    given = {"provider": "p", "secret": "sk-secret", "label": "Spare"}
    added = await service.call("provider_keys.add", given, actor="ada (tui)")
    assert await changes(service, search="spare") == [("provider_keys.add", "Spare")]
    await service.call("provider_keys.delete", {"key": added["id"]}, actor="ada (tui)")
    assert [method for method, _ in await changes(service, search="SPARE")] == [
        "provider_keys.delete",
        "provider_keys.add",
    ]


async def test_keys_tell_their_account_and_when_they_were_used(service: AdminService) -> None:
    await service.call("accounts.create", {"name": "Acme"}, actor="x")
    await service.call("accounts.create", {"name": "other"}, actor="x")
    ids = [
        (await service.call("keys.create", {"account": owner, "name": name}, actor="x"))["id"]
        for owner, name in (("Acme", "ci"), ("other", "laptop"), ("other", "spare"))
    ]
    log = service.requests._log
    assert log is not None
    for number, (key, started) in enumerate(((ids[0], 50.0), (ids[1], 1000.5), (ids[0], 2000.0), (None, 3000.0))):
        log.record({"id": f"req_{number}", "key": key, "account": "a", "started": started, "status": 200})
    await log.flush()
    listed = (await service.call("keys.list", {}, actor="x"))["items"]
    assert [(each["name"], each["account_name"], each["last_used"]) for each in listed] == [
        ("ci", "Acme", "1970-01-01T00:33:20.000Z"),
        ("laptop", "other", "1970-01-01T00:16:40.500Z"),
        ("spare", "other", None),
    ]
    assert (await service.call("keys.show", {"key": "ci"}, actor="x"))["last_used"] == "1970-01-01T00:33:20.000Z"
    found = (await service.call("keys.list", {"search": "acm"}, actor="x"))["items"]
    assert [each["name"] for each in found] == ["ci"]
    await service.call("accounts.delete", {"account": "Acme"}, actor="x")
    assert [each["name"] for each in (await service.call("keys.list", {"search": "acm"}, actor="x"))["items"]] == []
