"""Options and fixtures that every test folder shares."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx._transports.default
import pytest
from hypothesis import HealthCheck, settings

# machines are noisy: a slow example is no failure; `make soak` runs many more of them
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", settings.get_profile("default"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

Figures = Counter[tuple[str, str, str, str]]
"""How many verdicts there were per (table, row, column, `held` | `failed` | `excused`)."""

_FIGURES = pytest.StashKey[Figures]()
_WORKER_KEY = "figures"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--recordings",
        type=Path,
        default=None,
        help="a folder of recorded provider traffic; tests that need it skip without",
    )


@pytest.fixture(scope="session")
def recordings(request: pytest.FixtureRequest) -> Path:
    """The folder of recordings, or a skip."""
    folder: Path | None = request.config.getoption("--recordings")
    if folder is None:
        pytest.skip("no --recordings DIR given")
    return folder.resolve()


@pytest.fixture(scope="session", autouse=True)
def one_tls_context() -> Iterator[None]:
    """No test speaks TLS by this client, and each client read all authorities' certificates: most of what many did."""
    transport: Any = httpx._transports.default
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "create_ssl_context", cache(transport.create_ssl_context))
        yield


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """What tests count here is shown as tables at the end of the run."""
    return pytestconfig.stash[_FIGURES]


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_WORKER_KEY] = list(session.config.stash[_FIGURES].items())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for key, number in getattr(node, "workeroutput", {}).get(_WORKER_KEY, ()):
        node.config.stash[_FIGURES][tuple(key)] += number


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash[_FIGURES]
    if figures:
        terminalreporter.section("verdicts that held, of those judged (+ excused)")
    for table in sorted({key[0] for key in figures}):
        columns = list(dict.fromkeys(key[2] for key in figures if key[0] == table))
        terminalreporter.write_line(f"{table:<12}" + "".join(f"{column:>24}" for column in columns))
        for row in sorted({key[1] for key in figures if key[0] == table}):
            cells = [_cell(figures, table, row, column) for column in columns]
            terminalreporter.write_line(f"  {row:<10}" + "".join(f"{cell:>24}" for cell in cells))


def _cell(figures: Figures, table: str, row: str, column: str) -> str:
    held, failed, excused = (figures[table, row, column, verdict] for verdict in ("held", "failed", "excused"))
    if not held + failed + excused:
        return ""
    share = f"{100 * held / (held + failed):.2f} %" if held + failed else "–"
    return f"{share} of {held + failed}" + (f" (+{excused})" if excused else "")
