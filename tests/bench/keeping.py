"""Figures that outlive a run, for a bench in several goes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.cases import cases
from tests.bench.targets import Figures


@contextmanager
def kept(file: str) -> Iterator[Figures]:
    """What earlier goes have measured, to add to; written back however it ends. Without a file, it is of this go."""
    path = Path(file) if file else None
    found = Figures(cases())
    if path is not None and path.exists():
        earlier = pickle.loads(path.read_bytes())
        if not isinstance(earlier, Figures):
            raise SystemExit(f"{path} holds no figures of this bench")
        found.__dict__.update(earlier.__dict__ | {"cases": found.cases})
    try:
        yield found
    finally:
        if path is not None:
            path.write_bytes(pickle.dumps(found))
