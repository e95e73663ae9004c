"""Every exception that crosses a module boundary.

NexeonError
├── LoadError              a file of ours (configuration, mapping, schema) is wrong: a list of problems
│   ├── ConfigError
│   └── MappingError
├── MappingFailure         a mapping met data that it cannot map, at run time
├── StoreError
│   ├── StoreLocked        another process holds the store
│   ├── StoreUnavailable   the disk is full, the folder is read-only, the engine is closed
│   ├── StoreCorrupt       what is on disk is damaged
│   ├── NotFound
│   ├── Conflict
│   └── InsufficientCredit
│       └── BudgetExceeded
├── AdminError             the admin service refused
│   └── AdminUnreachable   there is no admin service, or it went away
└── RequestError           ends a client's request with a status and the client format's own error body
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class NexeonError(Exception):
    """The root of the tree."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one place of one file.

    `str()` gives `file:line · path: message`, without the path where the message names it itself.
    """

    message: str
    file: str = ""
    line: int = 0
    path: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        place = self.file + (f":{self.line}" if self.line else "")
        parts = [part for part in (place, "" if self.path in self.message else self.path) if part]
        return f"{' · '.join(parts)}: {self.message}" if parts else self.message


class LoadError(NexeonError):
    """All problems of the files that were read, never only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConfigError(LoadError):
    """The configuration cannot be used."""


class MappingError(LoadError):
    """A mapping file cannot be compiled."""


class MappingFailure(NexeonError):
    """A mapping met data that it cannot map: `file:line · data path: message`."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, path: str = "") -> None:
        self.message = message
        self.file = file
        self.line = line
        self.path = path
        super().__init__(str(Problem(message, file, line, path)))


class StoreError(NexeonError):
    """The store could not do what was asked."""


class StoreLocked(StoreError):
    """Another process holds the store; the message names it."""


class StoreUnavailable(StoreError):
    """The store cannot be written now."""


class StoreCorrupt(StoreError):
    """What is on disk is damaged; the message names the file and what to do."""


class NotFound(StoreError):
    """No record by that id or name."""


class Conflict(StoreError):
    """The change contradicts a record that exists."""


class InsufficientCredit(StoreError):
    """The wallet cannot cover the reservation. Amounts in nano-USD."""

    def __init__(self, *, needed: int, available: int) -> None:
        self.needed = needed
        self.available = available
        super().__init__(f"needs {needed} nano-USD, {available} available")


class BudgetExceeded(InsufficientCredit):
    """A key's budget cannot cover the reservation. `period` is day, week or month, "" for one without; `resets` the
    Unix time at which the next one begins."""

    def __init__(self, *, needed: int, available: int, period: str = "", resets: float | None = None) -> None:
        super().__init__(needed=needed, available=available)
        self.period = period
        self.resets = resets


class AdminError(NexeonError):
    """The admin service refused."""


class AdminUnreachable(AdminError):
    """There is no admin service where it was looked for, or it went away before it answered: `sent` tells that it may
    have heard what was asked."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(eq=False)
class RequestError(NexeonError):
    """Ends a request. `kind` is a row of the error table (schemas and mappings turn it into each format's own words).

    `status` is the HTTP status towards the client; `param` the offending field; `code` a machine-readable word;
    `retry_after` seconds; `retryable` False adds the header that tells SDKs not to try again.
    """

    status: int
    kind: str
    message: str
    param: str | None = None
    code: str | None = None
    retry_after: float | None = None
    retryable: bool | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.kind}: {self.message}"
