"""Recorded traffic, and the table of how much of it holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from .cases import Case, Exceptions, core_cases
from .tally import Tally


@pytest.fixture(scope="session")
def cases(recordings: Path) -> list[Case]:
    return core_cases(recordings)


@pytest.fixture(scope="session")
def exceptions() -> Exceptions:
    return Exceptions(Path(__file__).with_name("exceptions.yaml"))


@pytest.fixture(scope="session")
def tally(figures: Counter[tuple[str, str, str, str]]) -> Tally:
    return Tally(figures)
