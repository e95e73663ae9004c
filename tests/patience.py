"""Waiting for what should happen soon, on machines that may be slow, busy or starved.

Only a test that fails waits this long, so that there is nothing to win with less.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 90.0
"""Seconds."""


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Waits for something that has no event; a condition that stays false fails the test."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def wait_until(condition: Callable[[], Any], what: object = "") -> Any:
    """The same without a loop: what the condition returned at last. `what`: told where it stays false."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.02)
    return found
