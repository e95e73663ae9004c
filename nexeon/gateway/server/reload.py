"""Another configuration in the place of the one that answers: made and checked beside it, swapped in one step."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from nexeon.config import Config
from nexeon.config.differences import Change, differences, kept
from nexeon.config.plain import plain
from nexeon.errors import LoadError
from nexeon.gateway.gateway import Gateway
from nexeon.gateway.observe.tracing import check_tracing
from nexeon.gateway.server.compiled import changed_files, compile_folders, source_files
from nexeon.gateway.services import Services
from nexeon.mapping.ahead import ahead
from nexeon.mapping.cache import given

_TOLD: Final = 50
"""Problems and changes that an outcome names."""

_TURN: Final = 0.0005
"""Seconds that compiling may keep the event loop from going on, of the usual 0.005."""

_BREATH: Final = 0.002
_log = logging.getLogger("nexeon.gateway")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`outcome` is applied, unchanged or refused, `cause` who wanted it; `at` in Unix seconds. `changes` and
    `problems` are sentences; `restart` are the changes that only a new start takes up."""

    outcome: str
    cause: str
    at: float
    seconds: float
    changes: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Reloader:
    """Reads the configuration again. `load` reads it, as it gave `loaded`; `over` puts over it what does not come from
    the files; `adopted` is told of each gateway that took over."""

    def __init__(
        self,
        services: Services,
        load: Callable[[], Config],
        loaded: Config,
        *,
        over: Callable[[Config], Config] = lambda config: config,
        adopted: Callable[[Gateway], None] = lambda gateway: None,
    ) -> None:
        self._services = services
        self._load = load
        self._over = over
        self._adopted = adopted
        self._loaded = loaded
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._turn = asyncio.Lock()
        self.last: Outcome | None = None

    async def reload(self, cause: str) -> Outcome:
        """Never raises for what is wrong with the files: that is the outcome. One at a time."""
        async with self._turn:
            began = time.monotonic()
            try:
                loaded, config, stale = await asyncio.to_thread(self._read)
                with given(await ahead(config.mappings, stale)):
                    made, changes = await asyncio.to_thread(self._make, loaded, config)
            except LoadError as error:
                outcome = self._outcome("refused", cause, began, problems=[str(problem) for problem in error.problems])
            except Exception as error:
                _log.exception("the configuration could not be read again")
                outcome = self._outcome("refused", cause, began, problems=[f"{type(error).__name__}: see the log"])
            else:
                if made is not None:
                    self._services.swap(made)
                    self._adopted(made)
                outcome = self._outcome("unchanged" if made is None else "applied", cause, began, changes)
            self.last = outcome
        self._tell(outcome)
        return outcome

    def diff(self, configuration: Mapping[str, Any], salt: str) -> list[dict[str, Any]]:
        """What another configuration, as `described` with this salt, would change."""
        return [
            asdict(change)
            for change in differences(described(self._loaded, self._services.current.made.files, salt), configuration)
        ]

    def state(self) -> dict[str, Any] | None:
        """The last outcome, where there was one."""
        return None if self.last is None else asdict(self.last)

    def files(self) -> list[Path]:
        """Those whose change is worth another reading."""
        return [*self._loaded.files, *source_files(self._loaded.mappings)]

    def soon(self) -> None:
        """For a signal's handler."""
        task = asyncio.get_running_loop().create_task(self.reload("signal"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def by_file(self) -> None:
        await self.reload("file")

    def _read(self) -> tuple[Config, Config, list[Path]]:
        """In a thread: the configuration as it is in its files, as it is to be, and the mapping files that are not as
        they were. Raises LoadError."""
        current = self._services.current
        with _beside():
            loaded = self._load()
            config = self._over(kept(current.config, loaded))
            return loaded, config, changed_files(config.mappings, current.made)

    def _make(self, loaded: Config, config: Config) -> tuple[Gateway | None, list[Change]]:
        """In a thread. No gateway where nothing has changed; raises LoadError."""
        current, before = self._services.current, self._loaded
        with _beside():
            compiled = compile_folders(config.mappings, current.made, pause=_pause)
            if loaded == before and compiled is current.made:
                return None, []
            check_tracing(config)
            gateway = Gateway(config, compiled, self._services)
            changes = differences(described(before, current.made.files), described(loaded, compiled.files))
        self._loaded = loaded
        return gateway, changes

    def _outcome(
        self, outcome: str, cause: str, began: float, changes: list[Change] | None = None, **more: Any
    ) -> Outcome:
        told = changes or []
        found = Outcome(
            outcome,
            cause,
            time.time(),
            round(time.monotonic() - began, 3),
            changes=[str(change) for change in told if not change.restart][:_TOLD],
            restart=[str(change) for change in told if change.restart][:_TOLD],
            **{name: lines[:_TOLD] for name, lines in more.items()},
        )
        self._services.metrics.reloaded(outcome, found.at, found.seconds)
        return found

    def _tell(self, outcome: Outcome) -> None:
        if outcome.outcome == "refused":
            _log.error("the configuration was not changed, since what is there cannot be used (%s):", outcome.cause)
            for problem in outcome.problems:
                _log.error("  %s", problem)
        elif outcome.outcome == "applied":
            _log.info("the configuration was changed (%s) in %.2f s:", outcome.cause, outcome.seconds)
            for change in (*outcome.changes, *outcome.restart):
                _log.info("  %s", change)
        else:
            _log.info("the configuration is as it was (%s)", outcome.cause)


def described(config: Config, files: Mapping[Path, str], salt: str = "") -> dict[str, Any]:
    """A configuration with the digests of its mapping and schema files, to be compared."""
    return {**plain(config, salt), "files": {str(path): digest for path, digest in files.items()}}


@contextmanager
def _beside() -> Iterator[None]:
    """For long work in a thread beside the event loop, which is to go on every half millisecond."""
    usual = sys.getswitchinterval()
    collecting = gc.isenabled()
    gc.disable()
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
        if collecting:
            gc.enable()


def _pause() -> None:
    """Between two files: what was made is looked at a little at a time, and not all at once when it is all there."""
    gc.collect(1)
    time.sleep(_BREATH)
