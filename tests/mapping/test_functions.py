"""Filters that no example of the README shows whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nexeon.mapping.functions import embed
from nexeon.mapping.identifiers import fit_id, unfit_id
from nexeon.wire.json import dumps


@given(st.text(min_size=1, max_size=80))
def test_an_identifier_that_does_not_fit_comes_back(identifier: str) -> None:
    fitted = fit_id(identifier, 512)
    assert set(fitted) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
    if not identifier.startswith("nex_"):
        assert unfit_id(fitted) == identifier


def test_an_identifier_that_only_looks_fitted_stays() -> None:
    assert unfit_id("nex_hello world") == "nex_hello world"
    assert unfit_id("nex_") == "nex_"
    assert unfit_id("nex_YWJj") == "nex_YWJj"  # `abc` fits as it is: no stand-in was ever made for it
    assert unfit_id("toolu_1") == "toolu_1"


def test_a_long_identifier_keeps_a_stable_stand_in() -> None:
    assert fit_id("x" * 200) == fit_id("x" * 200) != fit_id("y" * 200)
    assert unfit_id(fit_id("é" * 200)) == fit_id("é" * 200)


def test_embedded_text_is_one_line() -> None:
    assert dumps({"input": embed('{\r\n  "a": "x\\ny"\n}')}) == b'{"input":{    "a": "x\\ny" }}'
