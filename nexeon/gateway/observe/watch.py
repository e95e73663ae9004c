"""The gateway as those who watch it through the admin service see it."""

from __future__ import annotations

from typing import Any, Final

from nexeon.gateway.services import Services

_HERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Watch:
    """Implements `nexeon.admin.live.Watched`; `host` and `port` are where it listens."""

    def __init__(self, services: Services, host: str, port: int) -> None:
        self._services = services
        reached = _HERE.get(host, host)
        self.url = f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"

    @property
    def running(self) -> int:
        return self._services.running

    def targets(self) -> dict[tuple[str, str, str | None], dict[str, Any]]:
        return self._services.health.states()
