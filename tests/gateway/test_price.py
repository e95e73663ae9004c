"""Money: every class, markup, the provider's own word, one rounding; and what the client is told of it."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest
from conftest import Opener
from hypothesis import given
from hypothesis import strategies as st
from scripts import COST, SAID, notes, says, streams, talks

from nexeon.config import Price
from nexeon.gateway.price import cost, price_note

USD = 10**9
AMOUNTS = st.integers(0, 100 * USD)
COUNTS = st.integers(0, 10**7)
CLASSES = ("input", "cached_input", "cache_write", "cache_write_1h", "output")
SUB_COUNTS = {
    "audio_input": "input", "reasoning": "output", "audio_output": "output", "image_output": "output",
}  # fmt: skip


@given(
    st.lists(AMOUNTS, min_size=11, max_size=11),
    st.fixed_dictionaries(dict.fromkeys((*CLASSES, *SUB_COUNTS), COUNTS)),
    st.integers(0, 50),
    st.integers(0, 5 * USD),
)
def test_the_charge_is_the_exact_sum_rounded_once(
    amounts: list[int], usage: dict[str, int], searches: int, markup: int
) -> None:
    usage["input"] += usage["audio_input"]
    usage["output"] += usage["reasoning"] + usage["audio_output"] + usage["image_output"]
    price = Price(*amounts, markup=markup)
    plain_input = usage["input"] - usage["audio_input"]
    plain_output = usage["output"] - usage["reasoning"] - usage["audio_output"] - usage["image_output"]
    exact = Fraction(
        plain_input * price.input
        + usage["audio_input"] * price.audio_input
        + usage["cached_input"] * price.cached_input
        + usage["cache_write"] * price.cache_write
        + usage["cache_write_1h"] * price.cache_write_1h
        + plain_output * price.output
        + usage["reasoning"] * price.reasoning
        + usage["audio_output"] * price.audio_output
        + usage["image_output"] * price.image,
        10**6,
    )
    exact = (exact + price.request + searches * price.web_search) * Fraction(markup, USD)
    charge = cost(price, {**usage, "web_searches": searches})
    assert abs(charge - exact) <= Fraction(1, 2)
    assert charge >= 0


@given(st.decimals(0, 1000, places=10), st.sampled_from([USD, 1_100_000_000, 2 * USD]))
def test_a_reported_cost_is_taken_with_the_markup(told: Decimal, markup: int) -> None:
    price = Price(*[USD] * 9, request=5 * USD, markup=markup, reported=True)
    said = Decimal(str(float(told)))
    wanted = int((said * markup).to_integral_value(ROUND_HALF_UP))
    assert cost(price, {"input": 10, "cost": float(told)}) == wanted


@pytest.mark.parametrize("told", [None, "3", True, float("nan"), float("inf"), -0.5, 1e9])
def test_a_cost_that_makes_no_sense_is_not_taken(told: Any) -> None:
    price = Price(*[USD] * 9, reported=True)
    assert cost(price, {"input": 7, "cost": told}) == 7000
    assert "reported" not in price_note(price, {"input": 7, "cost": told})


def test_a_reported_cost_counts_only_where_it_is_asked_for() -> None:
    assert cost(Price(*[USD] * 9), {"input": 7, "cost": 2.0}) == 7000


def test_the_note_says_what_was_used() -> None:
    price = Price(*[USD] * 9, markup=1_100_000_000, reported=True, tiers=((10, Price(*[2 * USD] * 9)),))
    assert price_note(price, {"input": 1, "cost": 0.000001}) == {
        **dict.fromkeys(
            ("input", "output", "cached_input", "cache_write", "cache_write_1h", "reasoning", "audio_input",
             "audio_output", "image"), USD,
        ),
        "markup": 1_100_000_000,
        "reported": "0.000001",
    }  # fmt: skip
    assert price_note(price, {"input": 11})["input"] == 2 * USD


async def test_the_cost_is_told_on_demand(opened: Opener) -> None:
    gate = await opened(lambda value: value.update(markup=1.5))
    gate.upstream.plays(talks())
    plain = await gate.talk()
    assert "x-nexeon-cost" not in plain.headers
    asked = await gate.client.post("/talk", json=_body(), headers={"x-nexeon-cost": "true"})
    assert asked.headers["x-nexeon-cost"] == "0.00003"
    assert await gate.spent() == 2 * COST * 3 // 2
    charge = await gate.last_charge()
    assert charge.price["markup"] == 1_500_000_000
    assert asked.headers["x-nexeon-cost"] == str(Decimal(-charge.amount) / USD).rstrip("0")


async def test_a_charge_keeps_the_price_that_it_was_made_at(opened: Opener) -> None:
    """The tier that held for its input and service tier; whatever the configuration says later."""

    def change(value: dict[str, Any]) -> None:
        value["models"]["plain"]["price"] = {"input": 1, "output": 2, "tiers": [{"above": 9, "input": 3, "output": 4}]}
        value["models"]["strict"]["price"] = {"input": 1, "output": 2, "tiers": [{"above": 10, "input": 3}]}
        value["models"]["noted"]["price"] = {"input": 1, "output": 2, "request": 0.5, "web_search": 0.1}

    gate = await opened(change)
    gate.upstream.plays(talks())
    for model, stream, price, amount in (
        ("plain", False, (3, 4), 50_000),
        ("plain", True, (3, 4), 50_000),
        ("strict", False, (1, 2), COST),
    ):
        await gate.talk(model, stream=stream)
        charge = await gate.last_charge()
        assert -charge.amount == amount
        assert (charge.price["input"], charge.price["output"]) == (price[0] * USD, price[1] * USD)
    gate.upstream.plays(notes())
    await gate.talk("noted")
    charge = await gate.last_charge()
    assert (-charge.amount, charge.price["request"]) == (COST + USD // 2, USD // 2)
    cheaper = await opened(lambda value: value["models"]["plain"].update(price={"input": 0, "output": 0}))
    cheaper.upstream.plays(talks())
    await cheaper.talk()
    assert (await cheaper.last_charge()).price == {}
    kept = [entry.price for entry in await gate.store.ledger(gate.account) if entry.model == "plain"]
    assert [(price["input"], price["output"]) for price in kept] == [(3 * USD, 4 * USD)] * 2


@pytest.mark.parametrize("model", ["plain", "noted"], ids=["pipe", "translation"])
async def test_a_service_tier_is_held_for_as_asked_and_charged_as_answered(opened: Opener, model: str) -> None:
    def change(value: dict[str, Any]) -> None:
        price = {"input": 1, "output": 2, "request": 1, "service_tiers": {"swift": {"times": 10}}}
        value["models"][model]["price"] = price

    size = len(json.dumps({**_body(model=model), "limit": 100, "tier": "SWIFT"}, separators=(",", ":")))
    held = (size // 4 + 1) * 1000 + 100 * 2000
    for credit, status in ((USD + 10 * held - 1, 402), (USD + 10 * held, 200)):
        gate = await opened(change, credit=credit)
        gate.upstream.plays(talks() if model == "plain" else notes())
        asked = await gate.client.post("/talk", json={**_body(model=model), "limit": 100, "tier": "SWIFT"})
        assert asked.status_code == status
    assert -(await gate.last_charge()).amount == USD + COST, "the answer named no tier"
    if model == "plain":
        gate = await opened(change)
        gate.upstream.plays(says({**SAID, "usage": {"in": 10, "out": 5, "tier": "swift"}}))
        await gate.talk(model)
        assert -(await gate.last_charge()).amount == USD + 10 * COST


async def test_a_call_without_usage_costs_what_it_produced(opened: Opener) -> None:
    gate = await opened()
    gate.upstream.plays(says({**SAID, "text": "x" * 400, "usage": None}), streams({"text": "y"}, {"end": "stop"}))
    asked = await gate.client.post("/talk", json=_body(), headers={"x-nexeon-cost": "true"})
    charge = await gate.last_charge()
    assert charge.estimated
    assert charge.usage["output"] >= 100
    assert Decimal(asked.headers["x-nexeon-cost"]) * USD == -charge.amount


def _body(**more: Any) -> dict[str, Any]:
    return {"model": "plain", "say": [{"who": "user", "text": "hi"}], **more}


@pytest.mark.parametrize("model", ["plain", "noted"], ids=["pipe", "translation"])
@pytest.mark.parametrize("usage", [True, False], ids=["usage asked for", "usage not asked for"])
async def test_a_stream_tells_its_cost_with_its_usage(opened: Opener, model: str, usage: bool) -> None:
    gate = await opened(lambda value: value.update(markup=1.5))
    gate.upstream.plays(talks() if model == "plain" else notes())
    body = _body(model=model, stream=True) | ({"options": {"usage": True}} if usage else {})
    plain = await gate.client.post("/talk", json=body)
    assert '"cost"' not in plain.text
    asked = await gate.client.post("/talk", json=body, headers={"x-nexeon-cost": "true"})
    told = [event["usage"] for event in _events(asked.text) if "usage" in event]
    assert [each["cost"] for each in told] == [0.00003]
    assert (told[0]["in"], told[0]["out"]) == (10, 5)
    assert Decimal(str(told[0]["cost"])) * USD == -(await gate.last_charge()).amount
    assert await gate.spent() == 2 * COST * 3 // 2


def _events(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]
