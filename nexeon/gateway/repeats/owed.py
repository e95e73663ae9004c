"""A charge that is about to be made, written down with the answer that it is for: a crash between the two is mended
when the answer is asked for again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from nexeon.errors import NotFound
from nexeon.store import Detail, Reservation, Store

_PAGE: Final = 500
_SLACK: Final = 300.0
"""Seconds by which two clocks may differ."""
_TTL: Final = 60.0


@dataclass(frozen=True, slots=True)
class Owed:
    """What the request `request` of an account's key (ids) costs, in nano-USD; `created` is when it began, in Unix
    seconds, `detail` what the ledger is to say of it."""

    request: str
    account: str
    key: str
    created: float
    amount: int
    detail: Detail
    estimated: bool = False

    def packed(self) -> str:
        return json.dumps(asdict(self))


def unpacked(text: str) -> Owed:
    return Owed(**json.loads(text))


def owed(reservation: Reservation, amount: int, detail: Detail, *, estimated: bool) -> Owed:
    """What is about to be charged for a reservation."""
    facts: Detail = {**reservation.detail, **detail}
    return Owed(
        str(facts.get("request", "")),
        reservation.account,
        reservation.key,
        reservation.created,
        amount,
        facts,
        estimated,
    )


async def collect(store: Store, due: Owed) -> None:
    """Charges it, unless that has been done. Raises StoreError."""
    for held in await store.reservations(due.account):
        if held.detail.get("request") == due.request:
            try:
                await store.settle(held, due.amount, detail=due.detail, estimated=due.estimated)
            except NotFound:  # closed meanwhile: the ledger tells how
                break
            return
    if await charged(store, due.account, due.request, due.created):
        return
    # What the wallet does not have is a shortfall: the answer was given on a promise that was kept then.
    held = await store.reserve(due.account, due.key, 0, ttl=_TTL, detail=due.detail)
    await store.settle(held, due.amount, detail=due.detail, estimated=due.estimated)


async def charged(store: Store, account: str, request: str, since: float) -> bool:
    """Whether the ledger has the charge of a request that began at `since`, in Unix seconds. Raises StoreError."""
    before: str | None = None
    while page := await store.ledger(account, before=before, limit=_PAGE):
        for entry in page:
            if entry.kind == "charge" and entry.request == request:
                return True
            if entry.created < since - _SLACK:
                return False
        before = page[-1].id
    return False
