"""Ports for programs that cannot be told to take any and say which."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_RANGE = range(10_000, 32_000)
"""Below what the kernel gives to connections and to who asks for port 0."""

_held: list[int] = []


def free_port() -> int:
    """One that no other process of any test run is given for as long as this one lives."""
    folder = Path(tempfile.gettempdir()) / f"nexeon-test-ports-{os.geteuid()}"
    folder.mkdir(exist_ok=True)
    for _ in range(1000):
        port = random.SystemRandom().choice(_RANGE)
        lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _held.append(lock)  # until the end of the process
        return port
    raise OSError("no port is free")
