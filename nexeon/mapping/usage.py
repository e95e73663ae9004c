"""The usage of a stream, put together from what its events tell."""

from __future__ import annotations

from typing import Any

Usage = dict[str, Any]


def merged(before: Usage, usage: Usage) -> Usage:
    """Later values win; what only one format knows is merged by format."""
    both = {**before, **{name: value for name, value in usage.items() if value is not None}}
    if "extra" in usage and "extra" in before:
        both["extra"] = dict(before["extra"])
        for name, own in usage["extra"].items():
            both["extra"][name] = {**both["extra"].get(name, {}), **own}
    if (total := both.pop("cache_write_total", None)) is not None:
        both["cache_write"] = max(0, total - both.get("cache_write_1h", 0))
    return both
