"""How many verdicts held, per layer, client format and aspect."""

from __future__ import annotations

from collections import Counter

import pytest

from .cases import FORMATS, SHORT

Key = tuple[str, str, str, str]


class Tally:
    """Counts of `held`, `failed` and `excused` verdicts."""

    def __init__(self) -> None:
        self._counts: Counter[Key] = Counter()
        self.notes: list[str] = []

    def count(self, layer: str, client: str, aspect: str, verdict: str) -> None:
        self._counts[layer, client, aspect, verdict] += 1

    def dump(self) -> list[tuple[Key, int]]:
        return list(self._counts.items())

    def load(self, counts: list[tuple[Key, int]]) -> None:
        for key, number in counts:
            self._counts[tuple(key)] += number  # type: ignore[index]

    def lines(self) -> list[str]:
        """A table per layer: held of judged, in percent; what is excused is not judged."""
        out: list[str] = []
        for layer in dict.fromkeys(key[0] for key in self._counts):
            aspects = list(dict.fromkeys(key[2] for key in self._counts if key[0] == layer))
            out.append(f"{layer:<10}" + "".join(f"{aspect:>22}" for aspect in aspects))
            for client in FORMATS:
                cells = [self._cell(layer, client, aspect) for aspect in aspects]
                if any(cells):
                    out.append(f"{SHORT[client]:<10}" + "".join(f"{cell:>22}" for cell in cells))
        return out + self.notes

    def _cell(self, layer: str, client: str, aspect: str) -> str:
        held = self._counts[layer, client, aspect, "held"]
        judged = held + self._counts[layer, client, aspect, "failed"]
        excused = self._counts[layer, client, aspect, "excused"]
        if not judged + excused:
            return ""
        share = f"{100 * held / judged:.1f} %" if judged else "–"
        return f"{share} of {judged}" + (f" (+{excused})" if excused else "")


def expect_none(failures: list[str]) -> None:
    """Fails with all of them."""
    if failures:
        pytest.fail(f"{len(failures)} failures\n" + "\n".join(failures), pytrace=False)
