"""`python -m tests.bench.late FILE ARGUMENTS…`: the command `nexeon`, which at its end writes down how late its event
loop was, every few milliseconds: pairs of Unix seconds and seconds late, as doubles."""

from __future__ import annotations

import array
import sys
import time
from pathlib import Path
from typing import Final

from nexeon import cli
from nexeon.gateway import services
from nexeon.gateway.observe.metrics import Metrics

_BEAT: Final = 0.005


def main(file: Path, arguments: list[str]) -> None:
    told = array.array("d")
    lagged = Metrics.lagged

    def also(self: Metrics, seconds: float) -> None:
        told.extend((time.time(), seconds))
        lagged(self, seconds)

    services._BEAT = _BEAT  # type: ignore[misc]
    Metrics.lagged = also  # type: ignore[method-assign]
    sys.argv = ["nexeon", *arguments]
    try:
        cli.main()
    finally:
        file.write_bytes(told.tobytes())


def lateness(file: Path, began: float, ended: float) -> str:
    """What was written down between two times."""
    told = array.array("d", file.read_bytes())
    late = sorted(told[place + 1] for place in range(0, len(told), 2) if began <= told[place] <= ended)
    if not late:
        return "unknown"
    found = {f"p{share * 100:g}": late[int((len(late) - 1) * share)] * 1000 for share in (0.5, 0.99, 0.999)}
    shown = ", ".join(f"{name} {value:.1f} ms" for name, value in found.items())
    return f"{shown}, {late[-1] * 1000:.0f} ms at most ({len(late)} times)"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
