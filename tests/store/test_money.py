"""USD text and nano-USD, exact both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexeon.store.money import to_nano, to_usd


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        ("1", 1_000_000_000),
        ("0.000000001", 1),
        (" -12.50 ", -12_500_000_000),
        ("1e-9", 1),
        ("+3", 3_000_000_000),
        ("0.1", 100_000_000),
        ("1000000000", 10**18),
    ],
)
def test_usd_becomes_nano(usd: str, nano: int) -> None:
    assert to_nano(usd) == nano


@pytest.mark.parametrize("usd", ["", "x", "1,5", "$1", "nan", "inf", "0.0000000001", "1000000000.1", "1e99", "1 2"])
def test_what_is_no_amount_is_refused(usd: str) -> None:
    with pytest.raises(ValueError, match=r"amount|range|finer"):
        to_nano(usd)


@pytest.mark.parametrize(
    ("nano", "usd"), [(0, "0.00"), (1, "0.000000001"), (-1_500_000_000, "-1.50"), (10**18, "1000000000.00")]
)
def test_nano_becomes_usd(nano: int, usd: str) -> None:
    assert to_usd(nano) == usd


@given(st.integers(-(10**18), 10**18))
def test_there_and_back(nano: int) -> None:
    assert to_nano(to_usd(nano)) == nano
