"""The terminal over a service of made-up answers, and over a real one."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

sys.path.append(str(Path(__file__).parent))  # at the end: other folders have a `conftest` that is imported by name

from fakes import FakeService
from pilots import Open, terminal
from quiet import quiet

from nexeon.admin import AdminClient, AdminService
from nexeon.admin.client import LocalClient
from nexeon.store.memory import MemoryStore
from nexeon.store.requests import RequestLog


@pytest.fixture(autouse=True)
def fast_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("textual.app", "textual.pilot"):
        monkeypatch.setattr(f"{module}.wait_for_idle", quiet)


@pytest.fixture
def fake() -> FakeService:
    return FakeService()


@pytest.fixture
def open_app(fake: FakeService) -> Open:
    """`async with open_app() as pilot:` over the `fake` service; options are those of `terminal`."""

    def opened(**options: Any) -> AbstractAsyncContextManager[Pilot[None]]:
        return terminal(fake.connect, **options)

    return opened


@pytest.fixture
def open_real() -> Open:
    """The same over a real service, with a store in memory; fill it through `pilot.app.link.call`."""

    async def connect() -> AdminClient:
        store, log = MemoryStore(), RequestLog(None)
        return LocalClient(AdminService(store, requests=log), "tester", log)

    def opened(**options: Any) -> AbstractAsyncContextManager[Pilot[None]]:
        return terminal(connect, **options)

    return opened
