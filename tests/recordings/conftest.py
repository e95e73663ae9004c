"""Recorded traffic, and a table of how much of it holds at the end of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .cases import Case, Exceptions, core_cases
from .tally import Tally

_TALLY = pytest.StashKey[Tally]()
_WORKER_KEY = "recordings_tally"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TALLY] = Tally()


@pytest.fixture(scope="session")
def cases(recordings: Path) -> list[Case]:
    return core_cases(recordings)


@pytest.fixture(scope="session")
def exceptions() -> Exceptions:
    return Exceptions(Path(__file__).with_name("exceptions.yaml"))


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    return pytestconfig.stash[_TALLY]


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_WORKER_KEY] = session.config.stash[_TALLY].dump()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[_TALLY].load(getattr(node, "workeroutput", {}).get(_WORKER_KEY, []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash[_TALLY].lines()
    if lines:
        terminalreporter.section("recordings: verdicts that held (excused ones apart)")
        for line in lines:
            terminalreporter.write_line(line)
