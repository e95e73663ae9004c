"""Looks for garbage while nobody types: with all that an app consists of, one look takes longer than a key may."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final

_YOUNG: Final = 0.1
"""Seconds without a key after which is looked through what came since the look before."""

_QUIET: Final = 2.0
"""The same for what has outlived that, and after which is taken to stay."""

_LONG_QUIET: Final = 60.0
"""The same for everything."""

_THRESHOLDS: Final = (200_000, 50, 1000)
"""Should somebody type all the time: objects, and looks at the younger ones, until Python looks by itself."""


class Sweeper:
    """Rules the garbage collector of the process, from now on. `settled` and `heard` are called in the app's loop."""

    def __init__(self) -> None:
        gc.disable()  # until the app has started
        self._next: asyncio.TimerHandle | None = None

    def settled(self) -> None:
        """Something that stays has been made: it is no garbage."""
        gc.freeze()
        gc.set_threshold(*_THRESHOLDS)
        gc.enable()
        self.heard()

    def heard(self) -> None:
        """Somebody typed, or moved the mouse."""
        self._then(_YOUNG, self._sweep_young)

    def _then(self, seconds: float, sweep: Callable[[], None]) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = asyncio.get_running_loop().call_later(seconds, sweep)

    def _sweep_young(self) -> None:
        gc.collect(0)
        self._then(_QUIET, self._sweep)

    def _sweep(self) -> None:
        gc.collect()
        gc.freeze()
        self._then(_LONG_QUIET, self._sweep_all)

    def _sweep_all(self) -> None:
        gc.unfreeze()
        self._sweep()
