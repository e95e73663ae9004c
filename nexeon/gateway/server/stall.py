"""Clients that take nothing of what waits for them, told from those that read slowly."""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from nexeon.errors import RequestError
from nexeon.gateway.settle import STALLED

LOOKS: Final = 4
"""So often it is looked within the time that a client has."""

_KEY: Final = "nexeon.stall"


def _forever() -> float:
    return 0.0


def _untold(held: str) -> None:
    return


@dataclass(frozen=True, slots=True)
class Patience:
    """How many `seconds` a client may take nothing (0: any time), and who is told of one that is cut off, by what held
    its answer up: its `connection`, or the `window` of its stream."""

    seconds: Callable[[], float] = _forever
    stalled: Callable[[str], None] = _untold


class Stall:
    """Whether the client of a request was cut off, as its scope has it."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds: float | None = None
        """For which it had taken nothing."""

    def error(self) -> RequestError:
        return RequestError(408, "timeout", f"the client took nothing for {self.seconds:g} s", code=STALLED)


def put(scope: Any, stall: Stall) -> None:
    """Lets whoever answers this scope know; all scopes of a connection are made with that connection's."""
    scope["state"][_KEY] = stall


def stalled(scope: Any) -> RequestError | None:
    """Why the client of this scope was cut off, where it was."""
    stall = scope.get("state", {}).get(_KEY)
    return stall.error() if isinstance(stall, Stall) and stall.seconds is not None else None


def state(stall: Stall) -> dict[str, Any]:
    """What a connection's scopes begin with."""
    return {_KEY: stall}


class Taken:
    """How much of what was written a client has taken."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._socket = transport.get_extra_info("socket")
        self.written = 0
        self.since = 0.0
        self._most = -1

    def look(self, now: float) -> float:
        """For how long it has taken nothing. What the system holds and has no receipt for counts as not taken."""
        unread = self._unread()
        taken = self.written - self._transport.get_write_buffer_size() - unread
        if taken > self._most or not unread:  # where the system has nothing left, it is not the client who is late
            self._most = taken
            self.since = now
        return now - self.since

    def begin(self, now: float) -> None:
        """The waiting begins."""
        self.look(now)
        self.since = now

    def _unread(self) -> int:
        try:
            held = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
        except (OSError, AttributeError, ValueError):  # gone, or a system that does not tell
            return 1
        return int(struct.unpack("i", held)[0])
