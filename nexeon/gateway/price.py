"""What a call costs: usage × price in integer nano-USD, rounded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from nexeon.config import Price

_MILLION: Final = 1_000_000
BYTES_PER_OUTPUT_TOKEN: Final = 4
"""For what was produced by a call that never told its usage."""


def cost(price: Price, usage: Mapping[str, Any]) -> int:
    """The charge for a canonical usage, whose classes are disjoint but for the sub-counts of input and output."""
    count = {name: value for name, value in usage.items() if type(value) is int and value > 0}.get
    at = price_for(price, usage)
    audio_in, audio_out = count("audio_input", 0), count("audio_output", 0)
    reasoning, image = count("reasoning", 0), count("image_output", 0)
    per_million = (
        max(count("input", 0) - audio_in, 0) * at.input
        + audio_in * at.audio_input
        + count("cached_input", 0) * at.cached_input
        + count("cache_write", 0) * at.cache_write
        + count("cache_write_1h", 0) * at.cache_write_1h
        + max(count("output", 0) - reasoning - audio_out - image, 0) * at.output
        + reasoning * at.reasoning
        + audio_out * at.audio_output
        + image * at.image
    )
    return at.request + count("web_searches", 0) * at.web_search + (per_million + _MILLION // 2) // _MILLION


def price_for(price: Price, usage: Mapping[str, Any]) -> Price:
    """The price that holds for this usage: its tier by input length and service tier."""
    tokens = sum(int(usage.get(name) or 0) for name in ("input", "cached_input", "cache_write", "cache_write_1h"))
    tier = usage.get("service_tier")
    return price.at(tokens, tier if isinstance(tier, str) else None)


def price_note(price: Price, usage: Mapping[str, Any]) -> dict[str, Any]:
    """The price as a ledger entry keeps it: what was used, without what is zero."""
    flat = asdict(price_for(price, usage))
    return {name: value for name, value in flat.items() if isinstance(value, int) and value}


def estimated_usage(*, input_tokens: int, produced: int, known: Mapping[str, Any]) -> dict[str, Any]:
    """The usage of a call that ended without telling: what it did tell, and `produced` bytes counted as tokens."""
    usage = dict(known)
    if not any(usage.get(name) for name in ("input", "cached_input", "cache_write", "cache_write_1h")):
        usage["input"] = input_tokens
    usage["output"] = max(int(usage.get("output") or 0), -(-produced // BYTES_PER_OUTPUT_TOKEN))
    return usage
