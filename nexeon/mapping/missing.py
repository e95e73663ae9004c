"""The value of a path that leads nowhere: neither null nor empty, it drops its key or list item."""

from __future__ import annotations

from typing import Any, Final, final


@final
class Missing:
    """The type of the one `MISSING`; false in a condition."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()
EMPTY: Final[dict[str, Any]] = {}
"""What a path looks into where there is no map. Never written to."""
