"""Several processes at one address: one looks after the others, which answer.

Each has a listening socket of its own at the same port, between which the kernel shares out the connections. The parent
keeps all of them, so that what waits at a process that died is answered by the one in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from nexeon.config import Config
from nexeon.errors import ConfigError, NexeonError, Problem
from nexeon.gateway.server.reload import Reloader

_log = logging.getLogger("nexeon.gateway")

_TOLD: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_WATCHED: Final = {*_TOLD, signal.SIGCHLD, signal.SIGALRM}
_LOOK: Final = 0.2
"""Seconds between two looks: a timer's signals, since `sigtimedwait` makes some up where the process was stopped."""

_YOUNG: Final = 10.0
"""Seconds that a worker should live; one that does not is started again ever later."""

_LONGEST_PAUSE: Final = 10.0
_LAST: Final = 20.0
"""Seconds beyond linger and drain after which workers that are still there are killed."""

_ENDS: Final = "ends-"


@dataclass(frozen=True, slots=True)
class Seat:
    """One worker's place. `folder` is where the workers find each other; `parent` can be read once the parent is gone;
    `again`: another was here before."""

    number: int
    count: int
    listener: socket.socket
    folder: Path
    parent: int
    again: bool = False

    def watch_parent(self, stop: Callable[[], None]) -> None:
        """Calls `stop` when the parent ends, however it ends."""
        asyncio.get_running_loop().add_reader(self.parent, self._orphaned, stop)

    def _orphaned(self, stop: Callable[[], None]) -> None:
        asyncio.get_running_loop().remove_reader(self.parent)
        stop()

    def ready(self) -> None:
        """Requests are answered from now on."""
        (self.folder / f"ready-{self.number}").touch()

    def takes(self, seconds: float) -> None:
        """What is under way may go on for so long once this worker is told to end."""
        file = self.folder / f"{_ENDS}{self.number}"
        file.with_name(f"{file.name}.new").write_text(str(seconds))
        file.with_name(f"{file.name}.new").replace(file)


class Everywhere:
    """What operators ask of one worker's configuration; what it takes up all of them do."""

    def __init__(self, reloader: Reloader) -> None:
        self.state = reloader.state
        self.diff = reloader.diff
        self._reloader = reloader

    async def reload(self, cause: str) -> object:
        outcome = await self._reloader.reload(cause)
        if outcome.outcome == "applied":
            os.kill(os.getppid(), signal.SIGHUP)
        return outcome


@dataclass(slots=True)
class _Worker:
    number: int
    process: int
    started: float


class Supervisor:
    """The parent. It has no event loop and no thread, so that it may fork."""

    def __init__(self, config: Config, work: Callable[[Seat], None]) -> None:
        """`work` serves in a worker, until it is told to stop."""
        self._config = config
        self._work = work
        self._listeners: list[socket.socket] = []
        self._workers: dict[int, _Worker] = {}
        self._due: dict[int, float] = {}
        self._pauses: dict[int, float] = {}
        self._folder = Path()
        self._pipe = (-1, -1)
        self._stopping: float | None = None
        self._failed = False

    def run(self) -> None:
        """Until SIGINT or SIGTERM. Raises ConfigError where the address is taken, NexeonError where no worker could be
        started; those have said why."""
        server = self._config.server
        self._listeners = _listen(server.host, server.port, server.workers)
        self._folder = Path(tempfile.mkdtemp(prefix="nexeon-workers-"))
        self._pipe = os.pipe()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        signal.setitimer(signal.ITIMER_REAL, _LOOK, _LOOK)
        try:
            for number in range(server.workers):
                self._start(number)
            self._watch()
        finally:
            self._kill()
            signal.setitimer(signal.ITIMER_REAL, 0)
            if signal.SIGALRM in signal.sigpending():
                signal.sigwait({signal.SIGALRM})
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for end in self._pipe:
                os.close(end)
            for listener in self._listeners:
                listener.close()
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._failed:
            raise NexeonError("no worker could be started")

    def _watch(self) -> None:
        told = False
        while self._workers or (self._due and self._stopping is None):
            received = signal.sigwait(_WATCHED)
            self._reap()
            if received in _TOLD:
                self._tell(signal.Signals(received))
            now = time.monotonic()
            if self._stopping is not None:
                if now > self._stopping:
                    self._kill()
                continue
            for number in [number for number, due in self._due.items() if due <= now]:
                del self._due[number]
                self._start(number)
            if not told and all(self._is_ready(number) for number in range(len(self._listeners))):
                told = True
                host, port = self._listeners[0].getsockname()[:2]
                url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
                print(f"nexeon answers at {url} ({len(self._listeners)} workers)", file=sys.stderr, flush=True)

    def _is_ready(self, number: int) -> bool:
        return (self._folder / f"ready-{number}").exists()

    def _tell(self, number: signal.Signals) -> None:
        """Passes a signal on."""
        if number != signal.SIGHUP:
            number = signal.SIGTERM
            if self._stopping is None:
                self._stopping = time.monotonic() + self._longest() + _LAST
        for process in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def _longest(self) -> float:
        """Seconds that the workers said they may take: another configuration than at the start may hold by now."""
        server = self._config.server
        said = [float(file.read_text()) for file in self._folder.glob(f"{_ENDS}*[0-9]")]
        return max(said, default=server.linger + server.drain)

    def _kill(self) -> None:
        for process in list(self._workers):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                _log.error("worker %d did not end in time and was killed", self._workers[process].number)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, 0)
            del self._workers[process]

    def _reap(self) -> None:
        while self._workers:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not process:
                return
            worker = self._workers.pop(process, None)
            if worker is not None and self._stopping is None:
                self._died(worker, os.waitstatus_to_exitcode(status))

    def _died(self, worker: _Worker, code: int) -> None:
        words = f"by {signal.Signals(-code).name}" if code < 0 else f"with {code}"
        if code > 0 and not any(self._is_ready(number) for number in range(len(self._listeners))):
            # What keeps the first one from starting keeps all of them: it has said what it is.
            self._failed = True
            self._tell(signal.SIGTERM)
            return
        lived = time.monotonic() - worker.started
        pause = 0.0 if lived > _YOUNG else min(max(2 * self._pauses.get(worker.number, 0.0), 0.5), _LONGEST_PAUSE)
        self._pauses[worker.number] = pause
        self._due[worker.number] = time.monotonic() + pause
        _log.error("worker %d ended %s after %.0f s: another takes its place", worker.number, words, lived)

    def _start(self, number: int) -> None:
        process = os.fork()
        if process == 0:
            self._be(number)
        self._workers[process] = _Worker(number, process, time.monotonic())

    def _be(self, number: int) -> NoReturn:
        """The worker's life."""
        code = 1
        try:
            # A group of its own: an interrupt at the terminal goes to the parent, who passes it on.
            os.setpgid(0, 0)
            os.close(self._pipe[1])
            for other, listener in enumerate(self._listeners):
                if other != number:
                    listener.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED - {signal.SIGHUP})  # which waits for its handler
            self._work(
                Seat(
                    number,
                    len(self._listeners),
                    self._listeners[number],
                    self._folder,
                    self._pipe[0],
                    again=self._is_ready(number),
                )
            )
            code = 0
        except NexeonError as error:
            print(f"nexeon: {error}", file=sys.stderr, flush=True)
        except BaseException:
            _log.exception("worker %d failed", number)
        finally:
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code)


def _listen(host: str, port: int, count: int) -> list[socket.socket]:
    """So many sockets at one address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made: list[socket.socket] = []
    try:
        # Without sharing, to learn whether somebody else is there: anyone of this user's could share.
        with socket.create_server((host, port), family=family) as probe:
            port = probe.getsockname()[1]
        for _ in range(count):
            made.append(socket.create_server((host, port), family=family, backlog=1024, reuse_port=True))
            made[-1].setblocking(False)
    except (OSError, ValueError) as error:
        for listener in made:
            listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            [Problem(f"cannot listen on {host}:{port}: {reason}; choose another `server.port` or give `--port`")]
        ) from None
    return made
