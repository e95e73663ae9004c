"""The limits that accounts, keys and provider keys share, as fields of a form."""

from __future__ import annotations

from typing import Final

from tui import checks
from tui.widgets.field import Field
from tui.widgets.table import Item

LIMITS: Final = (
    ("rpm", "Requests a minute"),
    ("tpm", "Tokens a minute"),
    ("rpd", "Requests a day"),
    ("tpd", "Tokens a day"),
    ("concurrency", "At the same time"),
)


def limit_fields(record: Item) -> list[Field]:
    """A field for each limit that accounts and keys share; empty is no limit."""
    return [
        Field(name, label, "" if record.get(name) is None else str(record[name]), "no limit", check=checks.whole)
        for name, label in LIMITS
    ]


def limit_values(values: dict[str, str]) -> dict[str, int | None]:
    return {name: int(values[name]) if values[name] else None for name, _ in LIMITS}
