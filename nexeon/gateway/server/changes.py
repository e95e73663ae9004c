"""Noticing that a file of the configuration has changed on disk."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

_STEP: Final = 250
"""Milliseconds without a further change after which a change is told: editors write in several steps."""

_AGAIN: Final = 5_000
"""Milliseconds after which files are looked at even where nothing was told."""

_log = logging.getLogger("nexeon.gateway")

State = dict[Path, tuple[int, int, int] | None]


async def watch(files: Callable[[], Iterable[Path]], changed: Callable[[], Awaitable[Any]]) -> None:
    """Calls `changed` whenever one of `files()` is another than before, until it is cancelled.

    Their folders are watched, so that a file may be replaced, or linked to another one.
    """
    try:
        known = _state(files)  # at once: whatever changes from here on is told
        watchfiles = await asyncio.to_thread(importlib.import_module, "watchfiles")
        while True:
            folders = {path.parent for path in known if path.parent.is_dir()}
            stop = asyncio.Event()
            events = watchfiles.awatch(
                *folders, watch_filter=None, step=_STEP, debounce=4 * _STEP, recursive=False, stop_event=stop,
                rust_timeout=_AGAIN, yield_on_timeout=True,
            )  # fmt: skip
            try:
                async for _ in events:
                    now = await asyncio.to_thread(_state, files)
                    if now != known:
                        await changed()
                        # Other files may belong to it now; what has changed since it was looked at is told again.
                        found = await asyncio.to_thread(_state, files)
                        known = {path: now.get(path, state) for path, state in found.items()}
                        break
            finally:
                stop.set()
                await events.aclose()
    except OSError as error:
        _log.warning("changes of files are not noticed any more: %s; `nexeon reload` and SIGHUP work", error)


class Watcher:
    """`watch`, on or off."""

    def __init__(self, files: Callable[[], Iterable[Path]], changed: Callable[[], Awaitable[Any]]) -> None:
        self._watch = partial(watch, files, changed)
        self._task: asyncio.Task[None] | None = None

    def switch(self, *, on: bool) -> None:
        """May be called by `changed` itself."""
        if on and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())
        elif not on and self._task is not None:
            self._task.cancel()
            self._task = None

    async def stop(self) -> None:
        task = self._task
        self.switch(on=False)
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)


def _state(files: Callable[[], Iterable[Path]]) -> State:
    found: State = {}
    for path in files():
        try:
            seen = path.stat()
        except OSError:
            found[path] = None
        else:
            found[path] = (seen.st_ino, seen.st_size, seen.st_mtime_ns)
    return found
