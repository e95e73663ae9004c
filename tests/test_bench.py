"""What the bench makes of its figures."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.cases import Case, Row, cases
from tests.bench.growth import WHATS, Size
from tests.bench.keeping import kept
from tests.bench.million import KINDS, REFUSED
from tests.bench.targets import Figures, Target, show, slope, targets


def test_help_explains_and_measures_nothing() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.bench", "--help"], capture_output=True, text=True, check=True)
    assert "--requests" in done.stdout
    assert "µs" not in done.stdout


def test_what_was_not_measured_neither_holds_nor_fails() -> None:
    found = targets(Figures(cases()))
    assert all(target.figure is None for target in found)
    assert all(target.line().endswith("not measured") for target in found)


def test_the_worst_case_is_judged() -> None:
    seen = Figures([Case("one", "a", "a"), Case("two", "a", "a"), Case("three", "a", "b")])
    seen.table = {
        "one": [Row("echo", 100), Row("nexeon", 120)],
        "two": [Row("echo", 100), Row("nexeon", 150)],
        "three": [Row("echo", 100), Row("nexeon", 150)],
    }
    same, other = targets(seen)[:2]
    assert same.figure == 1.5
    assert "DOES NOT HOLD  (two; 1 of 2 hold)" in same.line()
    assert other.line().endswith("holds  (three)")


def test_a_peer_has_to_take_so_many_times_as_much() -> None:
    assert "DOES NOT HOLD" in Target("LiteLLM", 12.0, 11.9, least=True).line()
    assert "DOES NOT HOLD" not in Target("LiteLLM", 12.0, 12.1, least=True).line()


def test_memory_is_flat_where_the_last_requests_add_nothing() -> None:
    seen = Figures([])
    seen.grown = [(0, 90), (10, 120), (20, 150), (30, 151), (40, 149), (50, 152), (60, 150), (70, 150), (100, 151)]
    assert any(
        "then 151 MB, of 100 requests" in target.line() and "NOT" not in target.line() for target in targets(seen)
    )
    seen.grown[-1] = (100, 200)
    assert any("then 200 MB, of 100 requests" in target.line() and "NOT" in target.line() for target in targets(seen))


def lines(seen: Figures, words: str) -> str:
    return next(target.line() for target in targets(seen) if words in target.words)


def test_a_million_requests_may_add_little_to_what_there_is() -> None:
    flat = [(number * 50_000, 150.0 + number % 2) for number in range(21)]
    assert "holds" in lines(Figures([], million=flat), "of a million")
    rising = [(number * 50_000, 100.0 + number * 2) for number in range(21)]
    assert slope(rising) == pytest.approx(40)
    assert "DOES NOT HOLD" in lines(Figures([], million=rising), "of a million")
    assert lines(Figures([], million=flat[:10]), "of a million").endswith("not measured")
    assert slope(flat[:2]) is None


def test_what_grows_with_the_number_of_keys_does_not_hold() -> None:
    sizes = {100: Size(500, 0.7, 100), 1_000: Size(900, 0.7, 100), 100_000: Size(545, 0.9, 150)}
    seen = Figures([], growth=dict.fromkeys(WHATS, sizes))
    assert "holds  (500 µs at 100, 545 µs at 100,000)" in lines(seen, "by keys")
    seen.growth = {"open streams": {100: Size(500, 0, 100), 9_750: Size(600, 0, 900)}}
    assert "DOES NOT HOLD" in lines(seen, "by open streams")
    seen.growth = {"open streams": {100: Size(500, 0, 100, 1.0), 9_750: Size(600, 0, 900, 1.02)}}
    assert "1.02 ×  holds" in lines(seen, "by open streams")


def test_what_fails_is_told_and_leaves_the_rest() -> None:
    seen = Figures(cases())
    with seen.attempt("this"):
        raise SystemExit("3 of 4 requests failed")
    with seen.attempt("that"):
        raise ValueError("no such thing")
    with seen.attempt("all else"):
        pass
    told: list[str] = []
    show(seen, told.append)
    assert told[-2:] == [
        "this could not be measured: 3 of 4 requests failed",
        "that could not be measured: ValueError: no such thing",
    ]
    with seen.attempt("this"):
        pass
    assert list(seen.failures) == ["that"]
    with pytest.raises(KeyboardInterrupt), seen.attempt("that"):
        raise KeyboardInterrupt


def test_figures_of_earlier_goes_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "figures"
    with contextlib.suppress(KeyboardInterrupt), kept(str(file)) as first:
        first.million = [(0, 90.0)]
        raise KeyboardInterrupt
    with kept(str(file)) as second:
        second.streaming = 200.0
    with kept(str(file)) as third:
        assert third.million == [(0, 90.0)]
        assert third.streaming == 200.0
        assert third.cases == cases()


def test_so_many_kinds_of_a_million_requests_are_refused() -> None:
    assert sum(what in ("stranger", "unknown") for _, _, what in KINDS) == REFUSED
