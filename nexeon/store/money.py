"""USD as people write it, to and from integer nano-USD (1 USD = 1,000,000,000). Exact both ways, never a float."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

NANO = 1_000_000_000
_MOST = Decimal(1_000_000_000)


def to_nano(usd: str) -> int:
    """`"1.25"` → 1_250_000_000. Raises ValueError for anything but a plain decimal with at most nine places."""
    text = usd.strip()
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"`{text}` is not an amount: write USD as a decimal, such as 12.50") from None
    if not amount.is_finite() or abs(amount) > _MOST:
        raise ValueError(f"`{text}` is out of range: at most {_MOST:,} USD")
    nano = amount.scaleb(9)
    if nano != nano.to_integral_value():
        raise ValueError(f"`{text}` is finer than a nano-dollar: at most nine decimal places")
    return int(nano)


def to_usd(nano: int) -> str:
    """1_250_000_000 → `"1.25"`: at least two decimal places, as many as the amount has."""
    whole, part = divmod(abs(nano), NANO)
    places = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}{whole}.{places}"
