"""Options and fixtures that every test folder shares."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--recordings", type=Path, default=None, help="a folder of recorded provider traffic; tests that need it skip without")


@pytest.fixture(scope="session")
def recordings(request: pytest.FixtureRequest) -> Path:
    """The folder of recordings, or a skip."""
    folder: Path | None = request.config.getoption("--recordings")
    if folder is None:
        pytest.skip("no --recordings DIR given")
    return folder.resolve()
