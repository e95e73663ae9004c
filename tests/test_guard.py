"""The guard of the hot path's figures: what it lets pass and what not."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.bench import guard


def test_more_than_the_margin_fails_and_less_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    known = {"a": 1000, "b": 1000, "c": 1000}
    assert guard.compared({"a": 1050, "b": 1000, "c": 500}, known) == 0
    assert "update the figure" in capsys.readouterr().out
    assert guard.compared({"a": 1150, "b": 1000, "c": 1000}, known) == 1
    assert "too much" in capsys.readouterr().out


def test_every_case_has_a_figure() -> None:
    assert json.loads(guard.FIGURES.read_text())["instructions"].keys() == guard.CASES.keys()


@pytest.mark.parametrize("case", list(guard.CASES))
def test_every_case_runs(case: str) -> None:
    run = guard.CASES[case]()
    run()
    run()


def test_other_versions_and_no_valgrind_are_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_count(*_: Any) -> dict[str, int]:
        raise AssertionError

    monkeypatch.setattr(guard, "count", no_count)
    monkeypatch.setattr(shutil, "which", lambda name: "valgrind")
    monkeypatch.setattr(guard, "versions", lambda: {"python": "another"})
    assert guard.main([]) == 0
    assert "nothing is compared" in capsys.readouterr().out
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert guard.main([]) == 0
    assert "valgrind is missing" in capsys.readouterr().out
