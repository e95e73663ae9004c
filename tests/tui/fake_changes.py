"""Made-up changes by operators, and a ledger."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]


def changes(accounts: list[Record], keys: list[Record]) -> list[Record]:
    """Newest first."""
    key, owner = keys[0], accounts[0]
    grant = {"id": "led_000000000042", "account": owner["id"], "kind": "grant", "amount": "25.00", "balance": "184.25"}
    return [
        _change(8, "ada (tui)", "credits.add", owner["id"], "acme", {"account": "acme", "usd": "25"}, None, grant),
        _change(
            7,
            "ada (tui)",
            "keys.update",
            key["id"],
            "ci",
            {"key": key["id"], "rpm": 60, "models": ["swift-*"], "budget": None},
            key,
            key | {"rpm": 60, "models": ["swift-*", "granite-large"], "budget": None},
        ),
        _change(6, "bob (cli)", "keys.rotate", key["id"], "ci", {"key": "ci", "overlap": 3600}, key, key),
        _change(5, "bob (cli)", "keys.create", key["id"], "ci", {"account": "acme", "name": "ci"}, None, key),
        _change(4, "http (10.0.0.7)", "keys.delete", keys[2]["id"], "nightly", {"key": "nightly"}, keys[2], None),
        _change(3, "ada (tui)", "reload", "", None, {}, None, None),
    ]


def ledger(account: str) -> list[Record]:
    """Newest first."""
    usage = {"input": 1200, "output": 350}
    grant, charge = {"reason": "invoice 4711"}, {"model": "granite-large", "provider": "alpine", "usage": usage}
    charge |= {"key": "key_0000000000000000", "request": "req_00000000000000aa"}
    return [
        _entry(account, 4, "charge", "-0.015690000", "184.250000000", **charge),
        _entry(account, 3, "refund", "0.500000000", "184.265690000", reason="an answer that was cut off"),
        _entry(account, 2, "charge", "-0.734310000", "183.765690000", **charge, estimated=True),
        _entry(account, 1, "grant", "184.500000000", "184.500000000", **grant),
    ]


def _entry(account: str, number: int, kind: str, amount: str, balance: str, **other: Any) -> Record:
    nothing = dict.fromkeys(("key", "request", "model", "provider", "reason"), "")
    return {
        "id": f"led_{number:012d}",
        "account": account,
        "kind": kind,
        "amount": amount,
        "balance": balance,
        "uncollected": "0.00",
        "created": f"2030-03-17T1{number}:30:00.000Z",
        "usage": {},
        "estimated": False,
        "expires": None,
        **nothing,
        **other,
    }


def _change(
    number: int,
    actor: str,
    method: str,
    subject: str,
    name: str | None,
    params: Record,
    before: Record | None,
    after: Record | None,
) -> Record:
    return {
        "id": f"aud_{number}",
        "made": f"2030-03-17T1{number % 8}:05:09.000Z",
        "actor": actor,
        "method": method,
        "subject": subject,
        "name": name,
        "params": params,
        "changed": sorted(each for each in after if before[each] != after[each]) if before and after else [],
        "before": before,
        "after": after,
    }
