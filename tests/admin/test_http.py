"""The admin service over HTTP: every operation has its place, the token guards it, and the audit log knows who."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from nexeon.admin import AdminHTTP, AdminService
from nexeon.admin.http import DESCRIPTION, OPERATIONS, PREFIX
from nexeon.admin.openapi import PARAMETERS, describe
from nexeon.admin.service import ALONE, READS
from nexeon.store.guests import GuestStore
from nexeon.store.records import ProviderKey
from nexeon.store.requests import RequestLog
from nexeon.store.tinydb_engine import TinyStore

TOKEN = "a-token-of-some-length"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[AdminService]:
    log = RequestLog(tmp_path)
    service = AdminService(await TinyStore.open(tmp_path), requests=log)
    yield service
    await service.close()
    await log.close()
    await service.store.close()


@pytest.fixture
def http(service: AdminService) -> AdminHTTP:
    return AdminHTTP(service, TOKEN)


async def ask(
    http: AdminHTTP, verb: str, path: str, body: Any = None, *, token: str = TOKEN, **query: str
) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {token}", "x-nexeon-actor": "alice\n"}
    raw = b"" if body is None else orjson.dumps(body)
    status, answer = await http.answer(verb, PREFIX + path, query, headers, raw, peer="10.0.0.1")
    return status, orjson.loads(answer)


async def test_records_are_made_read_changed_and_deleted(http: AdminHTTP) -> None:
    status, account = await ask(http, "POST", "/accounts", {"name": "acme/eu"})
    assert (status, account["name"]) == (200, "acme/eu")
    assert await ask(http, "GET", "/accounts/acme%2Feu") == (200, account)
    assert (await ask(http, "PATCH", "/accounts/acme%2Feu", {"name": "acme"}))[1]["name"] == "acme"
    assert (await ask(http, "POST", "/credits/acme/add", {"usd": "5"}))[1]["amount"] == "5.00"
    status, key = await ask(http, "POST", "/keys", {"account": "acme", "name": "k", "rpm": 5})
    assert (status, set(key)) == (200, {"id", "key"})
    assert (await ask(http, "POST", "/keys/k/disable"))[1]["state"] == "disabled"
    page = (await ask(http, "GET", "/credits/acme/ledger", limit="1"))[1]
    assert ([entry["kind"] for entry in page["items"]], page["next"]) == (["grant"], None)
    assert (await ask(http, "DELETE", f"/keys/{key['id']}"))[1] == {"id": key["id"], "deleted": True}
    assert (await ask(http, "GET", "/status"))[1]["warnings"] == []


@pytest.mark.parametrize("token", ["", "a-token-of-some-lengt", TOKEN + "h", "ü" * 10])
async def test_only_the_token_opens(http: AdminHTTP, token: str) -> None:
    status, body = await ask(http, "GET", "/accounts", token=token)
    assert (status, body["error"]["type"]) == (401, "AdminError")
    assert (await ask(http, "GET", "/openapi.json", token=token))[0] == 401


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "words"),
    [
        ("GET", "/nothing", None, 404, "openapi.json"),
        ("PUT", "/accounts", None, 405, "GET or POST"),
        ("GET", "/accounts/none", None, 404, "no account `none`"),
        ("POST", "/accounts", {"name": ""}, 400, "must not be empty"),
        ("POST", "/accounts", {"nam": "x"}, 400, "nam"),
        ("POST", "/accounts", [], 400, "JSON object"),
        ("POST", "/accounts", {"name": "twice"}, 409, "exists already"),
        ("POST", "/credits/twice/adjust", {"usd": "-1"}, 409, "less than"),
        ("GET", "/requests/req_none", None, 404, "in the log"),
    ],
)
async def test_what_is_wrong_is_told(http: AdminHTTP, verb: str, path: str, body: Any, status: int, words: str) -> None:
    await ask(http, "POST", "/accounts", {"name": "twice"})
    answered, told = await ask(http, verb, path, body)
    assert answered == status
    assert words in told["error"]["message"]


async def test_every_change_is_audited_without_its_secret(http: AdminHTTP, service: AdminService) -> None:
    account = (await ask(http, "POST", "/accounts", {"name": "acme"}))[1]
    await ask(http, "PATCH", "/accounts/acme", {"overdraft": "2"})
    key = (await ask(http, "POST", "/keys", {"account": "acme", "name": "k"}))[1]
    rotated = (await ask(http, "POST", "/keys/k/rotate"))[1]
    provider_key = (await ask(http, "POST", "/provider-keys", {"provider": "p", "secret": "of-the-provider"}))[1]
    await ask(http, "GET", "/accounts")
    await ask(http, "DELETE", "/accounts/acme")
    page = (await ask(http, "GET", "/audit", limit="100"))[1]
    newest = page["items"]
    assert [(each["method"], each["subject"]) for each in newest] == [
        ("accounts.delete", account["id"]),
        ("provider_keys.add", provider_key["id"]),
        ("keys.rotate", key["id"]),
        ("keys.create", key["id"]),
        ("accounts.update", account["id"]),
        ("accounts.create", account["id"]),
    ]
    assert {each["actor"] for each in newest} == {"alice? (10.0.0.1)"}
    update = newest[4]
    assert update["changed"] == ["available", "overdraft"]
    assert (update["before"]["overdraft"], update["after"]["overdraft"]) == ("0.00", "2.00")
    assert (newest[0]["before"]["name"], newest[0]["after"]) == ("acme", None)
    for secret in (key["key"], rotated["key"], "of-the-provider"):
        assert secret not in str(page)
    first = (await ask(http, "GET", "/audit", limit="4"))[1]
    rest = (await ask(http, "GET", "/audit", after=first["next"]))[1]
    assert first["items"] + rest["items"] == newest
    assert [each["method"] for each in (await ask(http, "GET", "/audit", subject=key["id"]))[1]["items"]] == [
        "keys.rotate",
        "keys.create",
    ]


CHANGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "accounts.create": ("POST", "/accounts", {"name": "other"}),
    "accounts.update": ("PATCH", "/accounts/acme", {"rpm": 5}),
    "accounts.disable": ("POST", "/accounts/acme/disable", {}),
    "accounts.delete": ("DELETE", "/accounts/acme", {}),
    "keys.create": ("POST", "/keys", {"account": "acme", "name": "second"}),
    "keys.update": ("PATCH", "/keys/k", {"rpm": 5}),
    "keys.disable": ("POST", "/keys/k/disable", {}),
    "keys.rotate": ("POST", "/keys/k/rotate", {"overlap": 60}),
    "keys.delete": ("DELETE", "/keys/k", {}),
    "credits.add": ("POST", "/credits/acme/add", {"usd": "1", "reason": "a gift"}),
    "credits.refund": ("POST", "/credits/acme/refund", {"usd": "1"}),
    "credits.adjust": ("POST", "/credits/acme/adjust", {"usd": "1"}),
    "provider_keys.add": ("POST", "/provider-keys", {"provider": "p", "secret": "of-another-provider"}),
    "provider_keys.update": ("PATCH", "/provider-keys/main", {"weight": 2}),
    "provider_keys.enable": ("POST", "/provider-keys/main/enable", {}),
    "provider_keys.disable": ("POST", "/provider-keys/main/disable", {}),
    "provider_keys.test": ("POST", "/provider-keys/main/test", {}),
    "provider_keys.delete": ("DELETE", "/provider-keys/main", {}),
}


@pytest.mark.parametrize(
    "method", [name for name in OPERATIONS if name.rpartition(".")[2] not in READS and name not in ALONE]
)
async def test_whatever_changes_something_is_in_the_audit_log(tmp_path: Path, method: str) -> None:
    async def probe(key: ProviderKey, secret: str) -> dict[str, Any]:
        return {"ok": True}

    service = AdminService(await TinyStore.open(tmp_path), probe=probe)
    http = AdminHTTP(service, TOKEN)
    await ask(http, "POST", "/accounts", {"name": "acme"})
    await ask(http, "POST", "/keys", {"account": "acme", "name": "k"})
    await ask(http, "POST", "/provider-keys", {"provider": "p", "secret": "of-the-provider", "label": "main"})
    before = len((await ask(http, "GET", "/audit"))[1]["items"])
    verb, path, body = CHANGES[method]
    status, answer = await ask(http, verb, path, body)
    assert status == 200, answer
    newest, *older = (await ask(http, "GET", "/audit"))[1]["items"]
    assert len(older) == before
    assert (newest["method"], newest["actor"]) == (method, "alice? (10.0.0.1)")
    assert newest["subject"] == answer["account" if method.startswith("credits.") else "id"]
    assert {name: value for name, value in body.items() if name != "secret"}.items() <= newest["params"].items()
    await service.close()
    await service.store.close()


async def charge(service: AdminService, account: str, key: str, amount: int, model: str) -> None:
    held = await service.store.reserve(account, key, amount, ttl=60, detail={"model": model})
    await service.store.settle(held, amount, detail={"provider": "p", "usage": {"input": 3, "output": 2}})


async def test_usage_is_that_of_the_ledger(http: AdminHTTP, service: AdminService) -> None:
    account = (await ask(http, "POST", "/accounts", {"name": "acme"}))[1]["id"]
    await ask(http, "POST", "/credits/acme/add", {"usd": "1"})
    for number in range(3):
        await charge(service, account, "key_1", 10, f"m{number % 2}")
    assert isinstance(service.store, TinyStore)
    await service.store.checkpoint()
    rows = (await ask(http, "GET", "/usage", by="model,key"))[1]["items"]
    assert [(row["model"], row["key"], row["requests"], row["input"], row["cost"]) for row in rows] == [
        ("m0", "key_1", 2, 6, "0.00000002"),
        ("m1", "key_1", 1, 3, "0.00000001"),
    ]
    await charge(service, account, "key_2", 10, "m0")
    rows = (await ask(http, "GET", "/usage"))[1]["items"]
    assert (len(rows), rows[0]["requests"], rows[0]["cost"]) == (1, 4, "0.00000004"), "what is new is added once"
    assert (await ask(http, "GET", "/usage", key="key_2"))[1]["items"][0]["requests"] == 1
    assert (await ask(http, "GET", "/usage", until="2001-01-01"))[1]["items"] == []
    first = (await ask(http, "GET", "/usage", by="model", limit="1"))[1]
    assert (len(first["items"]), first["next"]) == (1, "1")
    assert (await ask(http, "GET", "/usage", by="model", after="1"))[1]["items"][0]["model"] == "m1"
    assert (await ask(http, "GET", "/usage", by="year"))[0] == 400


async def test_usage_knows_guests_and_is_counted_anew_over_another_ledger(tmp_path: Path) -> None:
    store = GuestStore(await TinyStore.open(tmp_path / "one"))
    guest, _ = await store.welcome("guest", 100)
    service = AdminService(store)
    await charge(service, guest.id, "k", 7, "m")
    assert [row["cost"] for row in (await service.usage.list())["items"]] == ["0.000000007"]
    await service.close()
    await store.close()


async def test_requests_are_listed_and_shown(http: AdminHTTP, service: AdminService) -> None:
    log = service.requests._log
    assert log is not None
    log.record({"id": "req_1", "started": 1.9e9, "ended": 1.9e9 + 0.5, "account": "acc_1", "status": 200, "cost": 5})
    rows = (await ask(http, "GET", "/requests", status="200"))[1]["items"]
    assert [(row["id"], row["ms"], row["cost"]) for row in rows] == [("req_1", 500, "0.000000005")]
    assert (await ask(http, "GET", "/requests", account="acc_2"))[1]["items"] == []
    assert (await ask(http, "GET", "/requests/req_1"))[1]["started"] == "2030-03-17T17:46:40.000Z"


async def test_a_refund_names_what_its_request_was_about(http: AdminHTTP, service: AdminService) -> None:
    account = (await ask(http, "POST", "/accounts", {"name": "acme"}))[1]["id"]
    await ask(http, "POST", "/accounts", {"name": "other"})
    log = service.requests._log
    assert log is not None
    facts = {"account": account, "key": "key_1", "model": "m", "provider": "p", "usage": {"input": 3}}
    log.record({"id": "req_1", "started": 1.9e9, **facts})
    status, entry = await ask(http, "POST", "/credits/acme/refund", {"usd": "1", "request": "req_1"})
    assert (status, entry | facts) == (200, entry)
    assert entry["request"] == "req_1"
    assert (await ask(http, "POST", "/credits/acme/refund", {"usd": "1", "request": "req_old"}))[1]["key"] == ""
    assert (await ask(http, "POST", "/credits/other/refund", {"usd": "1", "request": "req_1"}))[0] == 409


async def test_a_refund_of_a_charge_gives_its_keys_budget_back(http: AdminHTTP, service: AdminService) -> None:
    account = (await ask(http, "POST", "/accounts", {"name": "acme"}))[1]["id"]
    await ask(http, "POST", "/credits/acme/add", {"usd": "10"})
    given = {"account": "acme", "name": "k", "budget": "3", "period": "month"}
    key = (await ask(http, "POST", "/keys", given))[1]["id"]
    held = await service.store.reserve(account, key, 2 * 10**9, ttl=60, detail={"request": "req_9"})
    await service.store.settle(held, 2 * 10**9, detail={"model": "m", "provider": "p", "usage": {"input": 3}})
    assert (await ask(http, "GET", f"/keys/{key}"))[1]["left"] == "1.00"
    entry = (await ask(http, "POST", "/credits/acme/refund", {"usd": "1.5", "request": "req_9"}))[1]
    assert (entry["key"], entry["model"], entry["usage"]) == (key, "m", {"input": 3})
    assert (await ask(http, "GET", f"/keys/{key}"))[1]["left"] == "2.50"


async def test_the_description_describes_every_operation(http: AdminHTTP) -> None:
    status, document = await ask(http, "GET", "/openapi.json")
    assert (status, document) == (200, orjson.loads(orjson.dumps(describe())))
    described = {
        (verb.upper(), path): operation for path, item in document["paths"].items() for verb, operation in item.items()
    }
    assert {key: value["operationId"] for key, value in described.items()} == {
        (operation.verb, operation.path): operation.method for operation in OPERATIONS.values()
    }
    assert len(described) == len(OPERATIONS), "no two operations share a place"
    for schema in PARAMETERS.values():
        Draft202012Validator.check_schema(schema)
    for operation in OPERATIONS.values():
        assert set(operation.parameters) <= set(PARAMETERS)
    create = described["POST", "/keys"]["requestBody"]["content"]["application/json"]["schema"]
    assert create["required"] == ["account", "name"]
    assert DESCRIPTION.startswith(PREFIX)
