"""The usual orders as the database takes them: arrays, so that one statement carries out all that came together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

_COLUMNS: Final = {
    "reserve": (
        ("id", "text"), ("account", "text"), ("key", "text"), ("amount", "bigint"), ("created", "float8"),
        ("expires", "float8"), ("detail", "json"),
    ),
    "settle": (
        ("id", "text"), ("account", "text"), ("key", "text"), ("amount", "bigint"), ("estimated", "boolean"),
        ("request", "text"), ("model", "text"), ("provider", "text"), ("usage", "json"), ("price", "json"),
        ("reason", "text"),
    ),
    "release": (("id", "text"), ("account", "text")),
    "begin": (("id", "text"), ("account", "text")),
}  # fmt: skip
_KINDS: Final = [kind if kind != "json" else "text" for columns in _COLUMNS.values() for _, kind in columns]
BOOK: Final = f"SELECT * FROM book($1, $2, {', '.join(f'${place}::{kind}[]' for place, kind in enumerate(_KINDS, 3))})"


class Booking:
    """Orders of one statement, by their facts: `verb` and the columns of that verb."""

    def __init__(self) -> None:
        self._rows: dict[str, list[dict[str, Any]]] = {verb: [] for verb in _COLUMNS}
        self._closing: set[str] = set()

    def add(self, facts: dict[str, Any]) -> bool:
        """Whether there is room: what closes a reservation that is closed here has to come after."""
        if facts["verb"] in ("settle", "release"):
            if facts["id"] in self._closing:
                return False
            self._closing.add(facts["id"])
        self._rows[facts["verb"]].append(facts)
        return True

    def arrays(self) -> list[list[Any]]:
        """The parameters of BOOK after the first two."""
        found = []
        for verb, columns in _COLUMNS.items():
            rows = self._rows[verb]
            for name, kind in columns:
                if kind == "json":
                    found.append([orjson.dumps(row[name]).decode() for row in rows])
                else:
                    found.append([row[name] for row in rows])
        return found


class Booked:
    """What came of them."""

    def __init__(self, row: Any, at: float) -> None:
        self._fine = frozenset(row["fine"] or ())
        self._scarce = frozenset(row["scarce"] or ())
        self._refused = frozenset(row["refused"] or ())
        columns: Sequence[Sequence[Any]] = [row[name] or () for name in ("charged", "numbers", "balances", "before")]
        self._charges = {name: (*facts, at) for name, *facts in zip(*columns, strict=True)}

    def answer(self, facts: dict[str, Any]) -> Any:
        """As `carry_out` answers; None for what was not carried out."""
        if facts["account"] not in self._fine or facts["id"] in self._refused:
            return None
        return self._charges.get(facts["id"]) if facts["verb"] == "settle" else True

    def simple(self, facts: dict[str, Any]) -> bool:
        """Whether `carry_out` may know what to do with one that was not."""
        return facts["account"] in self._scarce or (facts["account"] in self._fine and facts["verb"] == "settle")
