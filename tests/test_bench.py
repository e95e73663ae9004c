"""What the bench makes of its figures."""

from __future__ import annotations

import subprocess
import sys

from tests.bench.cases import Case, Row, cases
from tests.bench.targets import Figures, Target, targets


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
