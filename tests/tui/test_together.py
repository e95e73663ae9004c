"""The terminal and the gateway write to one store at the same time: nothing is lost, to the nano-dollar.

NEXEON_TOGETHER (2) is for how many seconds at least; the minute of `make soak` is 60.
"""

from __future__ import annotations

import asyncio
import os
import time
from decimal import Decimal
from typing import Any

import httpx
from gateways import gateway
from pilots import settle, terminal

from nexeon.admin.client import pages
from tests.patience import PATIENCE

SECONDS = float(os.environ.get("NEXEON_TOGETHER", "2"))
CLIENTS = 6


async def test_every_grant_and_charge_is_there() -> None:
    grants: list[Decimal] = []
    charges: dict[str, Decimal] = {}
    async with gateway() as served, terminal(served.connect, size=(140, 40)) as pilot:
        link: Any = pilot.app.link  # type: ignore[attr-defined]
        await link.call("accounts.create", name="acme")
        await link.call("credits.add", account="acme", usd="100")
        grants.append(Decimal(100))
        secret = (await link.call("keys.create", account="acme", name="load"))["key"]
        model = (await link.call("models.list", limit=1))["items"][0]["id"]
        format = (await link.call("playground.list"))["items"][0]["id"]
        request = await link.call("playground.compose", format=format, model=model, prompt="Hello!", stream=False)
        headers = {**request["headers"], "authorization": f"Bearer {secret}", "x-nexeon-cost": "true"}
        end = time.monotonic() + SECONDS

        def going() -> bool:
            return time.monotonic() < end or min(len(charges), len(grants)) <= CLIENTS

        async def asks(http: httpx.AsyncClient) -> None:
            while going():
                answer = await http.post(request["url"], json=request["body"], headers=headers)
                assert answer.status_code == 200, answer.text
                charges[answer.headers["x-request-id"]] = Decimal(answer.headers["x-nexeon-cost"])

        async def grants_credit() -> None:
            number = 0
            while going():
                number += 1
                usd = f"0.{number:09d}"
                await link.call("credits.add", account="acme", usd=usd, reason=f"grant {number}")
                grants.append(Decimal(usd))

        async def looks_about() -> None:
            while going():
                for key in "126132":
                    await pilot.press(key)
                    await asyncio.sleep(0.1)

        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            await asyncio.gather(*(asks(http) for _ in range(CLIENTS)), grants_credit(), looks_about())
        await settle(pilot)
        ledger = [entry async for entry in pages(link, "credits.ledger", account="acme", limit=1000)]
        shown = await link.call("accounts.show", account="acme")
    booked = {entry["request"]: -Decimal(entry["amount"]) for entry in ledger if entry["kind"] == "charge"}
    assert booked == charges
    assert sorted(Decimal(entry["amount"]) for entry in ledger if entry["kind"] == "grant") == sorted(grants)
    assert Decimal(shown["balance"]) == sum(grants) - sum(charges.values())
    assert shown["reserved"] == "0.00"
    assert len(charges) > CLIENTS
    assert len(grants) > CLIENTS
    print(f"{len(charges)} charges and {len(grants)} grants in {SECONDS:.0f} s")
