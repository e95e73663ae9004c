"""When the terminal has nothing left to do, told by its event loop.

Textual's own pilot takes the process for idle once it used little CPU for a while: that costs 20 ms for every key, and
on a starved machine it is wrong.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

SOON = 1 / 50
"""Seconds: what is put off by so little, like a repaint, belongs to what was done."""

LONG_ENOUGH = 1.0
"""Seconds after which a loop that always has something to do is left at it: of what it worked and waited for timers. A
machine that stands still takes none of them."""


async def quiet(min_sleep: float = 0, max_sleep: float = LONG_ENOUGH) -> None:
    """In the place of `textual._wait.wait_for_idle`: until nothing is ready, and nothing is due within `SOON`."""
    loop: Any = asyncio.get_running_loop()
    begun = time.thread_time()
    waited = 0.0
    horizon = loop.time() + SOON
    while waited + time.thread_time() - begun < max_sleep:
        await asyncio.sleep(0)
        if loop._ready:
            continue
        await asyncio.sleep(0)  # sockets and threads were looked at meanwhile
        if loop._ready:
            continue
        due = min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=float("inf"))
        now = loop.time()
        if due > max(horizon, now):
            return
        waited += max(due - now, 0.0)
        await asyncio.sleep(due - now)
