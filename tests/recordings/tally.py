"""How many verdicts held, per layer, client format and aspect."""

from __future__ import annotations

from collections import Counter

import pytest

from .cases import SHORT


class Tally:
    """Counts `held`, `failed` and `excused` verdicts for the table at the end of the run."""

    def __init__(self, figures: Counter[tuple[str, str, str, str]]) -> None:
        self._figures = figures

    def count(self, layer: str, client: str, aspect: str, verdict: str) -> None:
        self._figures[f"[{layer}]", SHORT[client], aspect, verdict] += 1


def expect_none(failures: list[str]) -> None:
    """Fails with all of them."""
    if failures:
        pytest.fail(f"{len(failures)} failures\n" + "\n".join(failures), pytrace=False)
