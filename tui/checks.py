"""What a form checks before it asks: "" where a value is good, else what would be."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

_DECIMALS: Final = 9
_MOST: Final = Decimal(10) ** 9


def _amount(text: str) -> Decimal | None:
    """USD with at most nine decimals, else None."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    exponent = amount.as_tuple().exponent
    if not amount.is_finite() or not isinstance(exponent, int) or exponent < -_DECIMALS or abs(amount) > _MOST:
        return None
    return amount


def usd(text: str) -> str:
    amount = _amount(text)
    return "" if amount is not None and amount > 0 else "give USD above zero, such as 25 or 0.50"


def usd_or_zero(text: str) -> str:
    amount = _amount(text)
    return "" if amount is not None and amount >= 0 else "give USD, such as 0 or 25.50"


def usd_either_way(text: str) -> str:
    amount = _amount(text)
    return "" if amount is not None and amount != 0 else "give USD up or down, such as 5 or -2.50"


def whole(text: str) -> str:
    return "" if text.isascii() and text.isdigit() and len(text) <= 15 else "give a whole number, such as 600"


def positive(text: str) -> str:
    return "" if not whole(text) and int(text) > 0 else "give a whole number above zero"


def new_file(text: str) -> str:
    try:
        path = Path(text).expanduser()
        if path.is_dir():
            return f"{path} is a folder: add a name"
        return "" if path.parent.is_dir() else f"there is no folder {path.parent}"
    except RuntimeError:  # of `~name/`
        return "nobody of that name has a home folder"
    except OSError as error:
        return str(error.strerror)


def moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return "give a day or a time, such as 2030-12-31 or 2030-12-31T12:00:00Z"
    return ""
