"""Whether what a provider says reaches the client while it still speaks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from tests.patience import PATIENCE

MINUTES = "[[delay 30ms]] [[tokens 20000]]"
"""A prompt whose answer takes far longer than anybody waits for its beginning."""


def begins(pieces: Iterable[Any]) -> None:
    """Waits for the first of the pieces; the others are left."""
    begun = time.monotonic()
    assert next(iter(pieces), None) is not None
    assert time.monotonic() - begun < PATIENCE
