"""A gateway's app on a port of its own, inside the test's process."""

from __future__ import annotations

import socket

from quart import Quart

from nexeon.config import Config
from nexeon.gateway.server.app import services_of
from nexeon.gateway.server.listener import Listener
from nexeon.gateway.server.serve import hypercorn_config
from nexeon.gateway.server.stall import Patience


async def listen(app: Quart, config: Config) -> tuple[Listener, str]:
    """What serves it, to be finished, and its URL; whether the app is ready is for the caller to see."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=100)
    sock.setblocking(False)
    services = services_of(app)
    patience = Patience(lambda: services.current.config.server.send_wait, services.metrics.stalled)
    serving = Listener(app, hypercorn_config(config), sock, patience, handshake=0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    await serving.start()
    return serving, url
