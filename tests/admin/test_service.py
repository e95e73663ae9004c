"""Every operation, with what it refuses."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from nexeon.admin.client import LocalClient, pages
from nexeon.admin.service import AdminService
from nexeon.errors import AdminError, ConfigError, Conflict, NexeonError, NotFound, Problem
from nexeon.store.memory import MemoryStore
from nexeon.store.records import ProviderKey


class Plain:
    """A provider without keys of its own, as far as the service asks."""

    def own_keys(self) -> list[Any]:
        return []


class Deployment:
    """As much of a configuration as the service asks for."""

    providers: ClassVar = {"alpha": Plain(), "beta": Plain()}


async def probe(key: ProviderKey, secret: str) -> dict[str, Any]:
    return {"ok": secret == "good-secret-1234567", "message": key.provider}


@pytest.fixture
async def service() -> AsyncIterator[AdminService]:
    store = MemoryStore()
    yield AdminService(store, Deployment(), probe=probe)  # type: ignore[arg-type]
    await store.close()


async def call(service: AdminService, method: str, /, **params: Any) -> Any:
    return await service.call(method, params, actor="test")


async def test_an_account_from_birth_to_death(service: AdminService) -> None:
    made = await call(service, "accounts.create", name="acme")
    assert made | {"id": "", "created": ""} == {
        "id": "",
        "name": "acme",
        "balance": "0.00",
        "reserved": "0.00",
        "available": "0.00",
        "overdraft": "0.00",
        "soft_limit": None,
        "low": False,
        "rpm": None,
        "tpm": None,
        "rpd": None,
        "tpd": None,
        "concurrency": None,
        "disabled": False,
        "created": "",
    }
    assert datetime.fromisoformat(made["created"]).tzinfo is not None
    assert await call(service, "accounts.show", account=made["id"]) == made
    assert await call(service, "accounts.list") == {"items": [made], "next": None}
    assert (await call(service, "accounts.update", account="acme", name="apex"))["name"] == "apex"
    assert (await call(service, "accounts.disable", account="apex"))["disabled"] is True
    assert (await call(service, "accounts.update", account="apex", disabled=False))["disabled"] is False
    assert await call(service, "accounts.delete", account="apex") == {"id": made["id"], "deleted": True}
    with pytest.raises(NotFound):
        await call(service, "accounts.show", account="apex")


async def test_a_key_from_birth_to_death(service: AdminService) -> None:
    account = (await call(service, "accounts.create", name="acme"))["id"]
    made = await call(
        service, "keys.create", account="acme", name="k", models="a*,b", rpm=3, expires="2001-02-03T04:05:06Z"
    )
    assert set(made) == {"id", "key"}
    assert made["key"].startswith("nex-sk-")
    assert len(made["key"]) >= len("nex-sk-") + 32
    shown = await call(service, "keys.show", key="k")
    assert made["key"] not in str(shown)
    assert shown | {"created": ""} == {
        "id": made["id"],
        "account": account,
        "account_name": "acme",
        "last_used": None,
        "name": "k",
        "last4": made["key"][-4:],
        "state": "expired",
        "models": ["a*", "b"],
        "scopes": [],
        "rpm": 3,
        "tpm": None,
        "rpd": None,
        "tpd": None,
        "concurrency": None,
        "budget": None,
        "period": None,
        "spent": "0.00",
        "reserved": "0.00",
        "left": None,
        "resets": None,
        "expires": "2001-02-03T04:05:06.000Z",
        "previous_until": None,
        "created": "",
    }
    changed = await call(service, "keys.update", key=made["id"], rpm=None, tpm=9, expires=None, models=[])
    assert (changed["rpm"], changed["tpm"], changed["models"], changed["state"]) == (None, 9, [], "active")
    assert (await call(service, "keys.disable", key="k"))["state"] == "disabled"
    assert (await call(service, "keys.list", account="acme"))["items"] == [await call(service, "keys.show", key="k")]
    assert await call(service, "keys.delete", key="k") == {"id": made["id"], "deleted": True}
    assert service.store.find_key(made["key"]) is None


async def test_rotation_ends_the_old_secret_at_once_or_after_an_overlap(service: AdminService) -> None:
    await call(service, "accounts.create", name="acme")
    made = await call(service, "keys.create", account="acme", name="k")
    second = await call(service, "keys.rotate", key="k")
    assert second["id"] == made["id"]
    assert service.store.find_key(made["key"]) is None
    third = await call(service, "keys.rotate", key="k", overlap=60)
    assert service.store.find_key(second["key"]) is not None
    assert service.store.find_key(third["key"]) is not None


async def test_keys_of_one_name_are_told_apart_by_id(service: AdminService) -> None:
    await call(service, "accounts.create", name="acme")
    for _ in range(2):
        await call(service, "keys.create", account="acme", name="k")
    with pytest.raises(Conflict, match="use the id"):
        await call(service, "keys.show", key="k")


async def test_credit_is_exact(service: AdminService) -> None:
    await call(service, "accounts.create", name="acme")
    await call(service, "credits.add", account="acme", usd="0.1", reason="welcome")
    await call(service, "credits.refund", account="acme", usd="0.2", request="req_1")
    entry = await call(service, "credits.adjust", account="acme", usd="-0.299999999")
    assert (entry["kind"], entry["amount"], entry["balance"]) == ("adjustment", "-0.299999999", "0.000000001")
    ledger = await call(service, "credits.ledger", account="acme")
    assert [(each["kind"], each["amount"], each["reason"], each["request"]) for each in ledger["items"]] == [
        ("adjustment", "-0.299999999", "", ""),
        ("refund", "0.20", "", "req_1"),
        ("grant", "0.10", "welcome", ""),
    ]
    with pytest.raises(Conflict, match=r"`acme` has 0\.000000001 USD available, less than 0\.50"):
        await call(service, "credits.adjust", account="acme", usd="-0.5")


async def test_a_deleted_accounts_ledger_is_read_by_id(service: AdminService) -> None:
    account = (await call(service, "accounts.create", name="acme"))["id"]
    await call(service, "credits.add", account="acme", usd="1")
    await call(service, "accounts.delete", account="acme")
    kinds = [each["kind"] for each in (await call(service, "credits.ledger", account=account))["items"]]
    assert kinds == ["expiry", "grant"]


async def test_listings_come_in_pages(service: AdminService) -> None:
    client = LocalClient(service, "test")
    for number in range(5):
        await client.call("accounts.create", name=f"a{number}")
        await client.call("keys.create", account="a0", name=f"k{number}")
        await client.call("credits.add", account="a0", usd=str(number + 1))
    names = [each["name"] async for each in pages(client, "accounts.list", limit=2)]
    assert names == ["a0", "a1", "a2", "a3", "a4"]
    assert [each["name"] async for each in pages(client, "keys.list", limit=5)] == ["k0", "k1", "k2", "k3", "k4"]
    amounts = [each["amount"] async for each in pages(client, "credits.ledger", account="a0", limit=2)]
    assert amounts == ["5.00", "4.00", "3.00", "2.00", "1.00"]


async def test_a_provider_key_from_birth_to_death(service: AdminService) -> None:
    made = await call(
        service, "provider_keys.add", provider="alpha", secret=" good-secret-1234567\n", account="org", weight=2
    )
    assert (made["provider"], made["account"], made["weight"], made["last4"]) == ("alpha", "org", 2, "4567")
    assert "good" not in str(made)
    assert await call(service, "provider_keys.list", provider="alpha") == {"items": [made], "next": None}
    assert await call(service, "provider_keys.list", provider="beta") == {"items": [], "next": None}
    assert await call(service, "provider_keys.test", key=made["id"]) == {
        "id": made["id"],
        "ok": True,
        "message": "alpha",
    }
    assert (await call(service, "provider_keys.update", key=made["id"], label="main"))["label"] == "main"
    assert (await call(service, "provider_keys.disable", key="main"))["enabled"] is False
    with pytest.raises(AdminError, match="disabled"):
        await call(service, "provider_keys.test", key="main")
    assert (await call(service, "provider_keys.enable", key="main"))["enabled"] is True
    assert await call(service, "provider_keys.delete", key="main") == {"id": made["id"], "deleted": True}
    with pytest.raises(NotFound):
        await call(service, "provider_keys.delete", key="main")


async def test_without_a_probe_a_test_says_what_to_do() -> None:
    service = AdminService(MemoryStore())
    made = await call(service, "provider_keys.add", provider="anything", secret="s")
    assert made["last4"] == ""
    with pytest.raises(AdminError, match="nexeon serve"):
        await call(service, "provider_keys.test", key=made["id"])


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("accounts.crate", {}, "no admin method `accounts.crate`: did you mean `accounts.create`?"),
        ("accounts._find", {"account": "acme"}, "no admin method"),
        ("accounts.create", {}, "missing a required argument: 'name'"),
        ("accounts.create", {"name": "x", "id": "y"}, "unexpected keyword argument 'id'"),
        ("accounts.create", {"name": ""}, "name: it must not be empty"),
        ("accounts.create", {"name": "a\nb"}, "name: give one line"),
        ("accounts.create", {"name": "\udcff"}, "name: give one line"),
        ("accounts.create", {"name": 5}, "name: give one line"),
        ("accounts.create", {"name": "acme"}, "an account named `acme` exists already"),
        ("accounts.update", {"account": "acme", "disabled": "no"}, "disabled: give true or false"),
        ("accounts.list", {"limit": 0}, "limit: give a whole number, at least 1"),
        ("keys.create", {"account": "acme", "name": "k", "rpm": -1}, "rpm: give a whole number, at least 0"),
        ("keys.create", {"account": "acme", "name": "k", "rpm": 1.5}, "rpm: give a whole number"),
        ("keys.create", {"account": "acme", "name": "k", "models": 5}, "models: give a list of names"),
        ("keys.create", {"account": "acme", "name": "k", "expires": "soon"}, "expires: `soon` is no time in ISO 8601"),
        ("keys.create", {"account": "none", "name": "k"}, "no account `none`"),
        ("keys.rotate", {"key": "none"}, "no key `none`"),
        ("credits.add", {"account": "acme", "usd": 5}, "usd: give USD as a string"),
        ("credits.add", {"account": "acme", "usd": "-5"}, "must be more than zero"),
        ("credits.add", {"account": "acme", "usd": "0.0000000001"}, "finer than a nano-dollar"),
        ("credits.adjust", {"account": "acme", "usd": "0"}, "must be other than zero"),
        ("provider_keys.add", {"provider": "alpa", "secret": "s"}, "no provider `alpa`: did you mean `alpha`?"),
        ("provider_keys.add", {"provider": "x", "secret": "s"}, "the configuration has alpha, beta"),
        ("provider_keys.add", {"provider": "alpha", "secret": " "}, "secret: it is empty"),
        ("provider_keys.add", {"provider": "alpha", "secret": "hush\nhush"}, "secret: it must be one line"),
        ("provider_keys.add", {"provider": "alpha", "secret": "s", "weight": 0}, "weight: give a whole number"),
    ],
)
async def test_what_does_not_fit_is_refused_with_the_reason(
    service: AdminService, method: str, params: dict[str, Any], message: str
) -> None:
    await call(service, "accounts.create", name="acme")
    with pytest.raises(NexeonError) as caught:
        await call(service, method, **params)
    assert message in str(caught.value)
    assert "hush" not in str(caught.value)


async def test_changes_are_audited_without_secrets(service: AdminService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nexeon.admin.audit")
    account = await call(service, "accounts.create", name="acme")
    key = await call(service, "keys.create", account="acme", name="k")
    await call(service, "keys.list")
    await call(service, "provider_keys.add", provider="alpha", secret="good-secret-1234567")
    assert [record.getMessage() for record in caplog.records][:2] == [
        f"test: accounts.create {account['id']}",
        f"test: keys.create {key['id']}",
    ]
    assert len(caplog.records) == 3
    assert key["key"] not in caplog.text
    assert "good-secret" not in caplog.text


async def test_an_expiry_in_the_future_is_active(service: AdminService) -> None:
    await call(service, "accounts.create", name="acme")
    for expires in ((datetime.now(UTC) + timedelta(days=2)).date().isoformat(), "2999-01-01T00:00:00+02:00"):
        made = await call(service, "keys.create", account="acme", name="k", expires=expires)
        assert (await call(service, "keys.show", key=made["id"]))["state"] == "active"


async def test_status_warns_of_accounts_below_their_soft_limit(service: AdminService) -> None:
    await call(service, "accounts.create", name="acme", soft_limit="1.00")
    await call(service, "accounts.create", name="rich")
    assert (await call(service, "status"))["warnings"] == [
        "account `acme` has 0.00 USD available, less than its soft limit of 1.00 USD"
    ]
    await call(service, "credits.add", account="acme", usd="1")
    assert (await call(service, "status"))["warnings"] == []


async def test_status_and_lists_tell_what_the_gateway_knows_of_provider_keys() -> None:
    live: dict[str, dict[str, str]] = {}

    class Known:
        def states(self) -> Mapping[str, Mapping[str, Any]]:
            return live

        async def lift(self, key: str) -> None:
            live.pop(key, None)

    service = AdminService(MemoryStore(), pool=Known())
    made = await call(service, "provider_keys.add", provider="alpha", secret="good-secret-1234567")
    assert made["live"] is None
    live[made["id"]] = {"state": "removed", "reason": "the provider refused it (401)"}
    assert (await call(service, "provider_keys.list"))["items"][0]["live"] == live[made["id"]]
    assert (await call(service, "status"))["warnings"] == [
        f"provider key `{made['id']}` is left out: the provider refused it (401)"
    ]
    assert (await call(service, "provider_keys.enable", key=made["id"]))["state"] == "active"
    assert (await call(service, "status"))["warnings"] == []
    await service.close()


async def test_explain_is_given_to_whoever_knows_the_mappings() -> None:
    def explain(**given: Any) -> list[dict[str, Any]]:
        if given["model"] == "none":
            raise ConfigError([Problem("no model `none`")])
        return [given]

    request = {"messages": []}
    service = AdminService(MemoryStore(), explain=explain)
    found = await call(service, "explain", model="m", format="a.b", request=request)
    way_up = {"model": "m", "format": "a.b", "request": request}
    assert found == [{**way_up, "response": None, "events": None, "to": ()}]
    way_down = {"response": {"id": 1}, "to": ["p"]}
    found = await call(service, "explain", model="m", format="a.b", **way_down)
    assert found == [{**way_up, "request": None, "events": None, **way_down}]
    with pytest.raises(AdminError, match="no model `none`"):
        await call(service, "explain", model="none", format="a.b", request=request)
    with pytest.raises(AdminError, match="ask a running gateway"):
        await call(AdminService(MemoryStore()), "explain", model="m", format="a.b", request=request)


async def test_a_name_that_cannot_be_seen_is_refused_by_its_character(service: AdminService) -> None:
    with pytest.raises(AdminError, match=r"name: give one line of text, at most 200 characters \(U\+200D is none"):
        await call(service, "accounts.create", name="a\u200db")
    with pytest.raises(AdminError, match=r"at most 200 characters$"):
        await call(service, "accounts.create", name="a" * 201)
