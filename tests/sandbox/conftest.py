"""A running sandbox, and who asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from nexeon.sandbox import SandboxServer
from tests.patience import PATIENCE

from .asker import Asker
from .formats import FORMATS


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    async with SandboxServer() as url:
        yield url


@pytest.fixture
async def http(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE) as client:
        yield client


@pytest.fixture(params=FORMATS)
def format_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["json", "sse"])
def asker(request: pytest.FixtureRequest, http: httpx.AsyncClient, format_name: str) -> Asker:
    return Asker(http, format_name, request.param)


@pytest.fixture
def streamer(http: httpx.AsyncClient, format_name: str) -> Asker:
    return Asker(http, format_name, True)


@pytest.fixture
def plain_asker(http: httpx.AsyncClient, format_name: str) -> Asker:
    return Asker(http, format_name, False)
