"""What several accounts spent, as the admin service counts it from the ledger of each kind of store."""

from __future__ import annotations

import pytest

from nexeon.admin import AdminService
from nexeon.errors import AdminError
from nexeon.store.protocol import Store


async def test_what_some_accounts_spent_is_summed_for_each_of_them(store: Store) -> None:
    service = AdminService(store)
    accounts = [(await service.accounts.create(name=name))["id"] for name in ("one", "two", "three")]
    for account, amounts in zip(accounts, ((5, 7), (2,), (9,)), strict=True):
        await service.credits.add(account=account, usd="1")
        for amount in amounts:
            held = await store.reserve(account, "key_k", amount, ttl=60, detail={"model": "m"})
            await store.settle(held, amount, detail={})
    found = (await service.usage.list(by="account", account=accounts[:2]))["items"]
    assert {row["account"]: row["cost"] for row in found} == {accounts[0]: "0.000000012", accounts[1]: "0.000000002"}
    assert (await service.usage.list(by="account", account=accounts[2]))["items"][0]["cost"] == "0.000000009"
    assert (await service.usage.list(by="account", account=accounts, since="2200-01-01"))["items"] == []
    assert (await service.usage.list(by="account", account=[]))["items"] == []
    with pytest.raises(AdminError, match="account"):
        await service.usage.list(account=7)
    await service.close()
