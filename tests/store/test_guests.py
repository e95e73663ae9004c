"""Guests beside a store: they pay from memory, the others from the store, and nothing of them is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexeon.errors import InsufficientCredit, NotFound
from nexeon.store.guests import GuestStore
from nexeon.store.records import Account, ApiKey, Balance
from nexeon.store.secrets import digest
from nexeon.store.tinydb_engine import TinyStore


async def test_a_guest_is_gone_with_the_process_and_the_others_stay(tmp_path: Path) -> None:
    store = GuestStore(await TinyStore.open(tmp_path))
    await store.add(Account("acc_1", "acme", 1.0))
    await store.add(ApiKey("key_1", "acc_1", "k", 1.0, digest("own-secret"), ""))
    await store.post("acc_1", "grant", 100)
    guest, secret = await store.welcome("sandbox", 50)
    assert [each.name for each in await store.accounts()] == ["acme", "sandbox"]
    assert await store.account("sandbox") == await store.account(guest.id) == guest
    for given, owner in ((secret, guest.id), ("own-secret", "acc_1")):
        found = store.find_key(given)
        assert found is not None
        assert found[1].id == owner
        assert await store.api_key(found[0].id) == found[0]
        assert await store.api_keys(owner) == [found[0]]
        held = await store.reserve(owner, found[0].id, 40, ttl=60, detail={})
        assert await store.reservations() == await store.reservations(owner) == [held]
        with pytest.raises(InsufficientCredit):
            await store.reserve(owner, found[0].id, 61, ttl=60, detail={})
        await store.begin(held)
        await store.renew(held, 60)
        await store.settle(held, 30, detail={})
        released = await store.reserve(owner, found[0].id, 1, ttl=60, detail={})
        await store.release(released)
        assert [entry.kind for entry in await store.ledger(owner)] == ["charge", "grant"]
    assert await store.balance(guest.id) == Balance(20, 0)
    await store.close()
    again = await TinyStore.open(tmp_path)
    assert [each.name for each in await again.accounts()] == ["acme"]
    assert await again.balance("acc_1") == Balance(70, 0)
    assert again.find_key(secret) is None
    await again.close()


async def test_guests_are_managed_like_others(tmp_path: Path) -> None:
    store = GuestStore(await TinyStore.open(tmp_path))
    guest, secret = await store.welcome("sandbox", 50)
    await store.add(ApiKey("key_2", guest.id, "second", 1.0, digest("second"), ""))
    await store.replace(Account(guest.id, "renamed", 1.0))
    assert (await store.account("renamed")).id == guest.id
    await store.remove(await store.account("renamed"))
    assert store.find_key(secret) is None
    assert await store.api_keys() == []
    for missing in (store.account("renamed"), store.api_key("key_2"), store.provider_key("pk_1"), store.entry("x")):
        with pytest.raises(NotFound):
            await missing
    assert await store.sweep() == 0
    assert store.url == f"tinydb:{tmp_path}"
    await store.close()
