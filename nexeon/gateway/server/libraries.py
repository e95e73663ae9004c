"""Importing the libraries of a server without what they load for other programs: a fifth of the time that they take,
and 5 MB."""

from __future__ import annotations

import importlib
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_COMMAND_LINE: Final = "httpx._main"


def import_libraries() -> None:
    """Call it before anything else imports them; later it does nothing.

    Two contexts that aiohttp makes for TLS are left without certificates: what connects here brings its own, and what
    does not is refused by whoever it connects to.
    """
    if "aiohttp" not in sys.modules:
        with _without_certificates():
            importlib.import_module("aiohttp")
    if "httpx" not in sys.modules:
        with _without_command_line():
            importlib.import_module("httpx")


@contextmanager
def _without_certificates() -> Iterator[None]:
    """The system's are read and parsed for every context."""
    ssl.SSLContext.set_default_verify_paths = lambda self: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        del ssl.SSLContext.set_default_verify_paths


@contextmanager
def _without_command_line() -> Iterator[None]:
    """httpx does without where what it needs is not installed."""
    sys.modules[_COMMAND_LINE] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_COMMAND_LINE]
