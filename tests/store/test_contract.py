"""What every engine must do, whatever it is made of."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from nexeon.errors import Conflict, InsufficientCredit, NotFound, StoreUnavailable
from nexeon.store.protocol import Store
from nexeon.store.records import Account, ApiKey, Balance, LedgerEntry, ProviderKey
from nexeon.store.secrets import digest, new_secret

from .conftest import Clock


def account(name: str = "acme") -> Account:
    return Account(f"acc_{name}", name, 1.0)


def api_key(secret: str, name: str = "k", owner: str = "acc_acme", **more: object) -> ApiKey:
    return ApiKey(f"key_{name}", owner, name, 1.0, digest(secret), secret[-4:], **more)  # type: ignore[arg-type]


async def funded(store: Store, amount: int = 1000) -> str:
    await store.add(account())
    await store.post("acc_acme", "grant", amount)
    return "acc_acme"


async def whole_ledger(store: Store, owner: str) -> list[LedgerEntry]:
    """Oldest first, read in small pages."""
    entries: list[LedgerEntry] = []
    while page := await store.ledger(owner, before=entries[-1].id if entries else None, limit=3):
        entries += page
    return entries[::-1]


async def test_a_key_is_found_by_its_secret_only(store: Store) -> None:
    secret = new_secret()
    await store.add(account())
    await store.add(api_key(secret, models=("a*",), rpm=5))
    found = store.find_key(secret)
    assert found is not None
    assert found[0] == api_key(secret, models=("a*",), rpm=5)
    assert found[1] == account()
    assert store.find_key(secret[:-1]) is None
    assert store.find_key("") is None
    assert store.find_key("\udcff") is None


async def test_a_rotated_secret_is_good_until_its_overlap_ends(store: Store, clock: Clock) -> None:
    old, new = new_secret(), new_secret()
    await store.add(account())
    await store.add(api_key(old))
    await store.replace(api_key(new, previous_hash=digest(old), previous_until=clock.now + 60))
    assert store.find_key(old) is not None
    assert store.find_key(new) is not None
    clock.now += 60
    assert store.find_key(old) is None
    assert store.find_key(new) is not None
    await store.replace(api_key(new))
    clock.now -= 60
    assert store.find_key(old) is None


async def test_records_are_listed_in_the_order_of_creation_and_found_by_id_or_name(store: Store) -> None:
    for name in ("c", "a", "b"):
        await store.add(account(name))
        await store.add(api_key(new_secret(), name=f"k{name}", owner=f"acc_{name}"))
    assert [each.name for each in await store.accounts()] == ["c", "a", "b"]
    assert [each.name for each in await store.api_keys()] == ["kc", "ka", "kb"]
    assert [each.name for each in await store.api_keys("acc_a")] == ["ka"]
    assert await store.account("a") == await store.account("acc_a") == account("a")
    assert (await store.api_key("key_ka")).account == "acc_a"


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    for attempt in (
        store.account("x"),
        store.api_key("x"),
        store.provider_key("x"),
        store.balance("x"),
        store.ledger("x"),
        store.entry("led_000000000009"),
        store.entry("x"),
        store.post("x", "grant", 1),
        store.reserve("x", "k", 1, ttl=60, detail={}),
        store.replace(account()),
        store.remove(account()),
        store.add(api_key(new_secret())),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_what_is_there_is_not_made_again(store: Store) -> None:
    secret = new_secret()
    await store.add(account())
    await store.add(account("other"))
    await store.add(api_key(secret))
    for attempt in (
        store.add(account()),
        store.add(Account("acc_new", "acme", 1.0)),
        store.add(Account("acc_new", "acc_acme", 1.0)),
        store.replace(Account("acc_other", "acme", 1.0)),
        store.add(api_key(secret)),
        store.add(api_key(secret, name="second")),
    ):
        with pytest.raises(Conflict):
            await attempt
    assert [each.name for each in await store.accounts()] == ["acme", "other"]


async def test_an_account_can_be_renamed(store: Store) -> None:
    await store.add(account())
    await store.replace(Account("acc_acme", "apex", 1.0, disabled=True))
    assert (await store.account("apex")).disabled
    with pytest.raises(NotFound):
        await store.account("acme")
    await store.add(Account("acc_2", "acme", 2.0))


async def test_an_account_goes_with_its_keys_and_leaves_its_ledger(store: Store) -> None:
    secret = new_secret()
    owner = await funded(store, 70)
    await store.add(api_key(secret))
    await store.remove(account())
    assert store.find_key(secret) is None
    assert await store.accounts() == []
    assert await store.api_keys() == []
    assert [(each.kind, each.amount) for each in await whole_ledger(store, owner)] == [("grant", 70), ("expiry", -70)]


async def test_an_account_with_calls_under_way_is_not_deleted(store: Store) -> None:
    owner = await funded(store)
    held = await store.reserve(owner, "key_k", 10, ttl=60, detail={})
    with pytest.raises(Conflict):
        await store.remove(account())
    await store.release(held)
    await store.remove(account())


async def test_provider_keys_are_encrypted_and_given_out_while_enabled(store: Store) -> None:
    keys = [
        ProviderKey(f"pk_{n}", provider, "default", float(n), store.seal(f"secret-{n}"), "")
        for n, provider in enumerate(["a", "a", "b"])
    ]
    for key in keys:
        await store.add(key)
    assert "secret" not in keys[0].sealed
    assert "sealed" not in repr(keys[0])
    assert [(key.id, secret) for key, secret in store.provider_keys("a")] == [
        ("pk_0", "secret-0"),
        ("pk_1", "secret-1"),
    ]
    await store.replace(replace(keys[0], enabled=False))
    assert [secret for _, secret in store.provider_keys("a")] == ["secret-1"]
    await store.remove(keys[1])
    assert list(store.provider_keys("a")) == []
    assert [key.id for key in await store.all_provider_keys()] == ["pk_0", "pk_2"]
    assert await store.provider_key("pk_2") == keys[2]


async def test_credit_is_reserved_settled_and_the_rest_released(store: Store) -> None:
    owner = await funded(store, 1000)
    held = await store.reserve(owner, "key_k", 300, ttl=60, detail={"request": "r1", "model": "m"})
    assert await store.balance(owner) == Balance(1000, 300)
    assert (await store.balance(owner)).available == 700
    assert await store.reservations(owner) == [held]
    charge = await store.settle(
        held, 120, detail={"provider": "p", "usage": {"input": 3}, "price": {"input": "1.5"}}, estimated=True
    )
    assert await store.balance(owner) == Balance(880, 0)
    assert charge == await store.entry(charge.id)
    assert (charge.kind, charge.amount, charge.balance, charge.key) == ("charge", -120, 880, "key_k")
    assert (charge.request, charge.model, charge.provider) == ("r1", "m", "p")
    assert (charge.usage, charge.price, charge.estimated) == ({"input": 3}, {"input": "1.5"}, True)
    grant, last = await whole_ledger(store, owner)
    assert (grant.previous, last) == ("", charge)
    assert last.previous == grant.id


async def test_no_reservation_passes_what_is_available(store: Store) -> None:
    owner = await funded(store, 100)
    held = await store.reserve(owner, "k", 60, ttl=60, detail={})
    with pytest.raises(InsufficientCredit) as caught:
        await store.reserve(owner, "k", 41, ttl=60, detail={})
    assert (caught.value.needed, caught.value.available) == (41, 40)
    await store.reserve(owner, "k", 40, ttl=60, detail={})
    await store.release(held)
    await store.reserve(owner, "k", 60, ttl=60, detail={})


async def test_usage_beyond_the_estimate_goes_down_to_zero_and_the_rest_is_a_shortfall(store: Store) -> None:
    owner = await funded(store, 100)
    other = await store.reserve(owner, "k", 30, ttl=60, detail={})
    held = await store.reserve(owner, "k", 50, ttl=60, detail={"request": "r"})
    charge = await store.settle(held, 95, detail={})
    assert charge.amount == -70
    assert await store.balance(owner) == Balance(30, 30)
    entries = await whole_ledger(store, owner)
    assert [(each.kind, each.amount, each.uncollected) for each in entries] == [
        ("grant", 100, 0),
        ("charge", -70, 0),
        ("shortfall", 0, 25),
    ]
    assert entries[-1].request == "r"
    await store.settle(other, 30, detail={})
    assert await store.balance(owner) == Balance(0, 0)


async def test_a_call_is_charged_once(store: Store) -> None:
    owner = await funded(store, 100)
    held = await store.reserve(owner, "k", 10, ttl=60, detail={})
    first = await store.settle(held, 7, detail={})
    assert await store.settle(held, 7, detail={}) == first
    await store.release(held)
    assert await store.balance(owner) == Balance(93, 0)


async def test_a_released_reservation_is_not_charged(store: Store) -> None:
    owner = await funded(store, 100)
    held = await store.reserve(owner, "k", 10, ttl=60, detail={})
    await store.release(held)
    await store.release(held)
    with pytest.raises(NotFound):
        await store.settle(held, 7, detail={})
    assert await store.balance(owner) == Balance(100, 0)


async def test_a_call_that_costs_nothing_leaves_an_entry(store: Store) -> None:
    owner = await funded(store, 0)
    held = await store.reserve(owner, "k", 0, ttl=60, detail={})
    assert (await store.settle(held, 0, detail={})).amount == 0


@pytest.mark.parametrize("amount", [-1, -(10**12)])
async def test_a_negative_amount_is_refused(store: Store, amount: int) -> None:
    owner = await funded(store)
    held = await store.reserve(owner, "k", 1, ttl=60, detail={})
    with pytest.raises(ValueError, match="must not be negative"):
        await store.reserve(owner, "k", amount, ttl=60, detail={})
    with pytest.raises(ValueError, match="must not be negative"):
        await store.settle(held, amount, detail={})
    assert await store.balance(owner) == Balance(1000, 1)


async def test_an_adjustment_never_takes_what_is_reserved(store: Store) -> None:
    owner = await funded(store, 100)
    await store.reserve(owner, "k", 40, ttl=60, detail={})
    with pytest.raises(InsufficientCredit):
        await store.post(owner, "adjustment", -61)
    entry = await store.post(owner, "adjustment", -60, reason="a mistake")
    assert (entry.amount, entry.balance, entry.reason) == (-60, 40, "a mistake")


async def test_expired_reservations_are_settled_if_begun_and_released_if_not(store: Store, clock: Clock) -> None:
    owner = await funded(store, 100)
    begun = await store.reserve(owner, "k", 10, ttl=60, detail={"request": "begun"})
    await store.begin(begun)
    await store.reserve(owner, "k", 20, ttl=60, detail={})
    renewed = await store.reserve(owner, "k", 30, ttl=60, detail={})
    await store.begin(renewed)
    clock.now += 59
    assert await store.sweep() == 0
    await store.renew(renewed, 60)
    clock.now += 1
    assert await store.sweep() == 2
    assert await store.balance(owner) == Balance(90, 30)
    last = (await store.ledger(owner, limit=1))[0]
    assert (last.request, last.amount, last.estimated) == ("begun", -10, True)
    assert await store.settle(begun, 99, detail={}) == last
    await store.settle(renewed, 5, detail={})


async def test_expired_reservations_do_not_refuse_a_new_one(store: Store, clock: Clock) -> None:
    owner = await funded(store, 100)
    await store.reserve(owner, "k", 100, ttl=60, detail={})
    clock.now += 60
    await store.reserve(owner, "k", 100, ttl=60, detail={})


async def test_the_ledger_is_paged_newest_first_per_account(store: Store) -> None:
    await store.add(account("a"))
    await store.add(account("b"))
    for number in range(1, 8):
        await store.post("acc_a", "grant", number)
        await store.post("acc_b", "grant", 100 * number)
    page = await store.ledger("acc_a", limit=3)
    assert [each.amount for each in page] == [7, 6, 5]
    page = await store.ledger("acc_a", before=page[-1].id, limit=100)
    assert [each.amount for each in page] == [4, 3, 2, 1]
    assert [each.balance for each in page] == [10, 6, 3, 1]


async def test_64_clients_share_credit_for_exactly_100_calls(store: Store) -> None:
    owner = await funded(store, 100 * 7)
    outcomes: list[bool] = []

    async def client() -> None:
        for _ in range(3):
            try:
                held = await store.reserve(owner, "k", 7, ttl=60, detail={})
            except InsufficientCredit:
                outcomes.append(False)
                continue
            await asyncio.sleep(0)
            await store.begin(held)
            await store.settle(held, 7, detail={})
            outcomes.append(True)

    await asyncio.gather(*(client() for _ in range(64)))
    assert (outcomes.count(True), outcomes.count(False)) == (100, 92)
    assert await store.balance(owner) == Balance(0, 0)
    assert sum(each.amount for each in await whole_ledger(store, owner)) == 0


async def test_a_caller_that_is_cancelled_leaves_the_charge_whole(store: Store) -> None:
    owner = await funded(store, 100)
    held = await store.reserve(owner, "k", 10, ttl=60, detail={})
    other = await store.reserve(owner, "k", 10, ttl=60, detail={})
    task = asyncio.ensure_future(store.settle(held, 10, detail={}))
    beside = asyncio.ensure_future(store.settle(other, 10, detail={}))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await beside).amount == -10
    assert await store.balance(owner) == Balance(80, 0)


async def test_a_closed_store_takes_nothing_more(store: Store) -> None:
    owner = await funded(store)
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.reserve(owner, "k", 1, ttl=60, detail={})
    with pytest.raises(StoreUnavailable):
        await store.add(account("late"))
