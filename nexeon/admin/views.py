"""Records as the plain dicts that operators see: USD as exact decimal strings, times in ISO 8601, never a secret."""

from __future__ import annotations

from typing import Any

from nexeon.admin.values import LIMITS, iso
from nexeon.store.money import to_usd
from nexeon.store.records import Account, ApiKey, Balance, Budget, LedgerEntry, ProviderKey

View = dict[str, Any]


def account_view(account: Account, balance: Balance) -> View:
    return {
        "id": account.id,
        "name": account.name,
        "balance": to_usd(balance.balance),
        "reserved": to_usd(balance.reserved),
        "available": to_usd(balance.available),
        "overdraft": to_usd(account.overdraft),
        "soft_limit": None if account.soft_limit is None else to_usd(account.soft_limit),
        "low": account.soft_limit is not None and balance.available < account.soft_limit,
        **_limits(account),
        "disabled": account.disabled,
        "created": iso(account.created),
    }


def key_view(key: ApiKey, budget: Budget, now: float) -> View:
    """`state` is `active`, `disabled` or `expired`; `last4` are the secret's last characters.

    `spent` is what it spent in its budget's period, or in all without one.
    """
    state = "disabled" if key.disabled else "expired" if key.expired(now) else "active"
    return {
        "id": key.id,
        "account": key.account,
        "name": key.name,
        "last4": key.last4,
        "state": state,
        "models": list(key.models),
        "scopes": list(key.scopes),
        **_limits(key),
        "budget": None if key.budget is None else to_usd(key.budget),
        "period": key.period or None,
        "spent": to_usd(budget.spent),
        "reserved": to_usd(budget.reserved),
        "left": None if budget.left is None else to_usd(budget.left),
        "resets": iso(budget.resets),
        "expires": iso(key.expires),
        "previous_until": iso(key.previous_until),
        "created": iso(key.created),
    }


def provider_key_view(key: ProviderKey) -> View:
    return {
        "id": key.id,
        "provider": key.provider,
        "account": key.account,
        "label": key.label,
        "last4": key.last4,
        "weight": key.weight,
        "enabled": key.enabled,
        **_limits(key),
        "created": iso(key.created),
    }


def _limits(record: Account | ApiKey | ProviderKey) -> View:
    return {name: getattr(record, name) for name in LIMITS}


def entry_view(entry: LedgerEntry) -> View:
    return {
        "id": entry.id,
        "account": entry.account,
        "kind": entry.kind,
        "amount": to_usd(entry.amount),
        "balance": to_usd(entry.balance),
        "uncollected": to_usd(entry.uncollected),
        "previous": entry.previous or None,
        "created": iso(entry.created),
        "request": entry.request,
        "key": entry.key,
        "model": entry.model,
        "provider": entry.provider,
        "usage": entry.usage,
        "price": entry.price,
        "estimated": entry.estimated,
        "reason": entry.reason,
        "expires": iso(entry.expires),
        "grant": entry.grant or None,
    }


def page(views: list[View], following: str | None) -> View:
    """`{"items": […], "next": cursor or None}`; the cursor is the next call's `after`."""
    return {"items": views, "next": following}
