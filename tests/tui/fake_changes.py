"""Made-up changes by operators."""

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
