"""Serves the admin terminal: one process of it for each browser that looks at it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import web
from textual_serve.server import Server

from nexeon.errors import AdminError
from tui.web.door import Door, scheme_of

_TEMPLATES: Final = Path(__file__).parent / "templates"
_END: Final = 3.0


class WebTerminal(Server):
    """`command` is the shell command of the terminal, `token` the admin token that opens the door."""

    def __init__(self, command: str, token: str, *, host: str, port: int) -> None:
        super().__init__(command, host=host, port=port, title="NeXeon", templates_path=_TEMPLATES)
        self._door = Door(token)

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        self._door.guard(app)
        return app

    async def handle_index(self, request: web.Request) -> web.StreamResponse:
        """The page finds its websocket where the browser found the page."""
        self.public_url = f"{scheme_of(request)}://{request.host}"
        page: web.StreamResponse = await super().handle_index(request)
        return page

    async def on_startup(self, app: web.Application) -> None:
        """The library's banner names an address that may be wrong."""

    async def on_shutdown(self, app: web.Application) -> None:
        """Terminals end with their websockets."""


async def _run(server: WebTerminal, listening: Callable[[str], None]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    # An access log would tell tokens that stand in addresses.
    runner = web.AppRunner(await server._make_app(), access_log=None, handle_signals=False, shutdown_timeout=_END)
    await runner.setup()
    try:
        site = web.TCPSite(runner, server.host, server.port)
        try:
            await site.start()
        except OSError as error:
            reason = error.strerror or str(error)
            raise AdminError(f"the web terminal cannot listen at {server.host}:{server.port}: {reason}") from error
        host = f"[{server.host}]" if ":" in server.host else server.host
        port = runner.addresses[0][1] if runner.addresses else server.port
        listening(f"http://{host}:{port}")
        await ended.wait()
    finally:
        await runner.cleanup()


def serve(command: str, token: str, *, host: str, port: int, listening: Callable[[str], None]) -> None:
    """Until it is interrupted; `listening` is told the address. Raises AdminError."""
    logging.getLogger("textual-serve").setLevel(logging.ERROR)
    asyncio.run(_run(WebTerminal(command, token, host=host, port=port), listening))
