"""What a call costs: usage × price × markup in integer nano-USD, rounded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

from nexeon.config import Price
from nexeon.config.model import NANO

_MILLION: Final = 1_000_000
_MOST_REPORTED: Final = 1_000_000
"""USD: a reported cost beyond it is no cost of one call."""

BYTES_PER_OUTPUT_TOKEN: Final = 4
"""For what was produced by a call that never told its usage."""

INPUT_CLASSES: Final = ("input", "cached_input", "cache_write", "cache_write_1h")
"""Disjoint; together they are all that was read."""

_AMOUNTS: Final = tuple(field.name for field in fields(Price) if field.type == "int" and field.name != "markup")
_amounts: Final = attrgetter(*_AMOUNTS)


def cost(price: Price, usage: Mapping[str, Any]) -> int:
    """The charge for a canonical usage, whose classes are disjoint but for the sub-counts of input and output; `calls`
    beside them says how many calls it took, where that is not one.

    Where the price says so, the cost that the provider reported stands in for the classes; the markup holds for both.
    """
    at = price_for(price, usage)
    if at.reported and (reported := reported_cost(usage)) is not None:
        return _rounded(int(reported * NANO * NANO) * at.markup, NANO * NANO)
    count = {name: value for name, value in usage.items() if type(value) is int and value > 0}.get
    audio_in, audio_out = count("audio_input", 0), count("audio_output", 0)
    reasoning, image = count("reasoning", 0), count("image_output", 0)
    millionths = (
        max(count("input", 0) - audio_in, 0) * at.input
        + audio_in * at.audio_input
        + count("cached_input", 0) * at.cached_input
        + count("cache_write", 0) * at.cache_write
        + count("cache_write_1h", 0) * at.cache_write_1h
        + max(count("output", 0) - reasoning - audio_out - image, 0) * at.output
        + reasoning * at.reasoning
        + audio_out * at.audio_output
        + image * at.image
        + (at.request * count("calls", 1) + count("web_searches", 0) * at.web_search) * _MILLION
    )
    return _rounded(millionths * at.markup, _MILLION * NANO)


def reported_cost(usage: Mapping[str, Any]) -> Decimal | None:
    """USD as the provider told it; None where it did not, or told nonsense."""
    told = usage.get("cost")
    if type(told) not in (int, float):
        return None
    amount = Decimal(str(told))
    return amount if amount.is_finite() and 0 <= amount <= _MOST_REPORTED else None


def price_for(price: Price, usage: Mapping[str, Any]) -> Price:
    """The price that holds for this usage: its tier by input length and service tier."""
    if not price.tiers and not price.service_tiers:
        return price
    tier = usage.get("service_tier")
    return price.at(input_total(usage), tier if isinstance(tier, str) else None)


def input_total(usage: Mapping[str, Any]) -> int:
    """All input tokens, cached or not."""
    total = 0
    for name in INPUT_CLASSES:
        if count := usage.get(name):
            total += int(count)
    return total


def price_note(price: Price, usage: Mapping[str, Any]) -> dict[str, Any]:
    """The price as a ledger entry keeps it: what was used, without what is zero.

    `markup` is there where it is not 1, in billionths; `reported` is the provider's own cost where that was taken.
    """
    at = price_for(price, usage)
    note: dict[str, Any] = {name: value for name, value in zip(_AMOUNTS, _amounts(at), strict=True) if value}
    if at.markup != NANO:
        note["markup"] = at.markup
    if at.reported and (reported := reported_cost(usage)) is not None:
        note["reported"] = f"{reported:f}"
    return note


def estimated_usage(*, input_tokens: int, produced: int, known: Mapping[str, Any]) -> dict[str, Any]:
    """The usage of a call that ended without telling: what it did tell, and `produced` bytes counted as tokens."""
    usage = dict(known)
    if not any(usage.get(name) for name in INPUT_CLASSES):
        usage["input"] = input_tokens
    usage["output"] = max(int(usage.get("output") or 0), -(-produced // BYTES_PER_OUTPUT_TOKEN))
    return usage


def due(
    price: Price,
    usage: Mapping[str, Any],
    *,
    complete: bool,
    input_tokens: int,
    produced: int,
    doubtful: bool = False,
) -> tuple[int, dict[str, Any], bool]:
    """The charge for a call that told this usage so far, the usage it is for, and whether that is an estimate: a call
    that is not `complete`, or told none, is charged for what it `produced` (bytes); one whose usage is `doubtful`, for
    that where it told nothing that can be."""
    usage = {name: int(value) if type(value) is float and name != "cost" else value for name, value in usage.items()}
    read, said = any(name in usage for name in INPUT_CLASSES), "output" in usage
    # zeros count: some continue a call that told all (programmatic tool calls)
    known = read or said or (price_for(price, usage).reported and reported_cost(usage) is not None)
    used, estimated = dict(usage), not (complete and known)
    if doubtful and not estimated:
        estimated = not (read and said)
        produced = 0 if said else produced
    if estimated:
        used = estimated_usage(input_tokens=input_tokens, produced=produced, known=usage)
    return cost(price, used), used, estimated


def _rounded(numerator: int, denominator: int) -> int:
    return (numerator + denominator // 2) // denominator
