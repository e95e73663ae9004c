"""A made-up admin service: a small deployment that is always the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import fake_changes
import fake_traffic

from nexeon.errors import AdminError, AdminUnreachable, NexeonError

NOW = 1_900_000_000.0
"""2030-03-17 17:46:40 UTC"""

Answer = Callable[[dict[str, Any]], Any]


def page(items: list[dict[str, Any]], params: dict[str, Any], *texts: str) -> dict[str, Any]:
    """One page of items, narrowed by `search` in those fields."""
    wanted = str(params.get("search") or "").casefold()
    found = [item for item in items if not wanted or any(wanted in str(item[text]).casefold() for text in texts)]
    after = params.get("after")
    start = next((at for at, item in enumerate(found, 1) if item["id"] == after), 0)
    end = start + params.get("limit", 1000)
    return {"items": found[start:end], "next": found[end - 1]["id"] if end < len(found) else None}


def account(number: int, name: str, available: str, **other: Any) -> dict[str, Any]:
    return {
        "id": f"acc_{number:016x}",
        "name": name,
        "balance": available,
        "reserved": "0.00",
        "available": available,
        "overdraft": "0.00",
        "soft_limit": None,
        "low": False,
        **dict.fromkeys(("rpm", "tpm", "rpd", "tpd", "concurrency")),
        "disabled": False,
        "created": f"2030-01-{number + 1:02d}T08:30:00.000Z",
        **other,
    }


def key(number: int, name: str, owner: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {
        "id": f"key_{number:016x}",
        "account": owner["id"],
        "account_name": owner["name"],
        "last_used": f"2030-03-17T1{7 - number % 8}:46:0{number % 10}.000Z",
        "name": name,
        "last4": f"{number * 7919 % 65536:04x}",
        "state": "active",
        "models": [],
        "scopes": [],
        **dict.fromkeys(("rpm", "tpm", "rpd", "tpd", "concurrency")),
        "budget": None,
        "period": None,
        "spent": f"{number * 37 % 1000 / 100:.2f}",
        "reserved": "0.00",
        "left": None,
        "resets": None,
        "expires": None,
        "previous_until": None,
        "created": "2030-02-01T12:00:00.000Z",
        **other,
    }


def provider_key(number: int, provider: str, state: str, reason: str = "", **other: Any) -> dict[str, Any]:
    wait = 41.0 if state == "cooling" else 0.0
    live = {"state": state, "reason": reason, "model": "", "wait": wait, "running": 2, "calls": 4210, "errors": number}
    return {
        "id": f"pk_{number:016x}",
        "provider": provider,
        "account": "default",
        "label": f"{provider} {number}",
        "last4": f"{number * 7919 % 65536:04x}",
        "weight": 1,
        "enabled": state != "disabled",
        **dict.fromkeys(("rpm", "tpm", "rpd", "tpd", "concurrency")),
        "created": "2030-01-01T00:00:00.000Z",
        "state": state,
        "reason": reason,
        "live": live,
        **other,
    }


class FakeService:
    """An AdminClient. `answers` are by method; `asked` are the calls so far; `refuse` makes a method fail."""

    where: Literal["gateway"] = "gateway"
    place = "/var/lib/nexeon/admin.sock"

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refuse: dict[str, NexeonError] = {}
        self.gone = False
        self.accounts = [
            account(0, "acme", "184.250000000"),
            account(1, "blue-harbour", "12.004310000", reserved="0.250000000"),
            account(2, "cobalt [eu]", "0.310000000", low=True, soft_limit="5.00"),
            account(3, "dormant", "0.00", disabled=True),
        ]
        self.keys = [
            key(0, "ci", self.accounts[0], budget="20.00", period="month", left="16.30", spent="3.70"),
            key(1, "laptop", self.accounts[0]),
            key(2, "nightly", self.accounts[1], state="expired", expires="2030-03-01T00:00:00.000Z"),
            key(
                3, "web [prod]", self.accounts[2], models=["swift-*"], rpm=600, spent="4.69", budget="5.00", left="0.31"
            ),
        ]
        self.provider_keys = [
            provider_key(0, "alpine", "active"),
            provider_key(1, "alpine", "cooling", "rate limit (429)"),
            provider_key(2, "borealis", "removed", "401: the key was revoked", weight=3),
            provider_key(3, "borealis", "disabled", live=None),
        ]
        self.audit = fake_changes.changes(self.accounts, self.keys)
        self.requests = fake_traffic.requests()
        self.formats = [{"id": "house.chat", "stream": True}, {"id": "house.notes", "stream": True}]
        self.routes = [
            {
                "id": f"POST {path}",
                "path": path,
                "methods": ["POST"],
                "format": name,
                "stream": None,
            }
            for path, name in (("/v1/chat", "house.chat"), ("/v1/notes/{model}", "house.notes"))
        ]
        self.answers: dict[str, Answer] = {
            "live.show": fake_traffic.live,
            "models.list": lambda params: page(fake_traffic.models(), params, "id"),
            "routes.list": lambda params: {"items": self.routes, "next": None},
            "configuration.show": lambda params: {"server": {"port": 8080}, "admin": {"token": "[hidden]"}},
            "playground.list": lambda params: {"items": self.formats, "next": None},
            "playground.compose": lambda params: {
                "url": "http://127.0.0.1:8080/chat",
                "headers": {"content-type": "application/json"},
                "body": {"model": params["model"], "say": params["prompt"], "seed": 7},
            },
            "explain": fake_traffic.explained,
            "requests.list": self._requests,
            "requests.show": self._request,
            "status": lambda params: {"store": "tinydb:/var/lib/nexeon", "pid": 4242, "warnings": []},
            "accounts.list": lambda params: page(self.accounts, params, "name", "id"),
            "accounts.show": lambda params: self._one(self.accounts, params["account"]),
            "usage.list": self._usage,
            "credits.ledger": lambda params: page(fake_changes.ledger(params["account"]), params),
            "keys.create": lambda params: {"id": self.keys[0]["id"], "key": "nex-sk-0123456789abcdefABCDEF-0123456789"},
            "keys.list": lambda params: page(self.keys, params, "name", "id", "last4", "account_name"),
            "keys.show": lambda params: self._one(self.keys, params["key"]),
            "provider_keys.list": lambda params: {
                "items": [each for each in self.provider_keys if params.get("provider") in (None, each["provider"])],
                "next": None,
            },
            "audit.list": lambda params: page(self.audit, params, "actor", "method", "subject", "name"),
        }

    async def connect(self) -> FakeService:
        return self

    async def call(self, method: str, /, **params: Any) -> Any:
        self.asked.append((method, params))
        if self.gone:
            raise AdminUnreachable("the gateway ended the admin connection before it answered")
        if method in self.refuse:
            raise self.refuse[method]
        if method not in self.answers:
            raise AdminError(f"no admin method `{method}`")
        return self.answers[method](params)

    async def close(self) -> None:
        pass

    def methods(self) -> list[str]:
        return [method for method, _ in self.asked]

    def _usage(self, params: dict[str, Any]) -> dict[str, Any]:
        if params["by"] == "account":
            spent = zip(self.accounts, ("22.15", "3.40211", "4.69"), strict=False)
            items = [{"account": account["id"], "cost": cost} for account, cost in spent]
            return {"items": [each for each in items if each["account"] in params["account"]], "next": None}
        return {"items": [{"day": "2030-03-16", "cost": "21.40"}, {"day": "2030-03-17", "cost": "0.75"}], "next": None}

    def _requests(self, params: dict[str, Any]) -> dict[str, Any]:
        wanted = {name: params[name] for name in ("model", "provider", "status") if name in params}
        found = [each for each in self.requests if wanted.items() <= each.items()]
        if "key" in params:
            found = [each for each in found if params["key"] in (each["key"], each["key_name"])]
        if "failed" in params:
            found = [each for each in found if (each["status"] >= 400) is params["failed"]]
        return page(found, params)

    def _request(self, params: dict[str, Any]) -> dict[str, Any]:
        return self._one(self.requests, params["request"]) | fake_traffic.bodies()

    def _one(self, items: list[dict[str, Any]], name: str) -> dict[str, Any]:
        found = [item for item in items if name in (item["id"], item.get("name"))]
        if not found:
            raise AdminError(f"nothing is called `{name}`")
        return found[0]
