"""One request to the gateway's public address, as a client makes it: what comes is told piece by piece."""

from __future__ import annotations

import asyncio
import codecs
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_WHOLE = 600.0
_CONNECT = 5.0


@dataclass(frozen=True, slots=True)
class Began:
    """The answer's status and headers have come, after so many seconds."""

    status: int
    headers: dict[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of the body."""

    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more comes; `error` says why, where that was not the answer's end."""

    error: str
    seconds: float


async def ask(request: dict[str, Any], key: str, tell: Callable[[Began | Heard | Ended], object]) -> None:
    """Sends `{"url", "headers", "body"}` with a client's key, and tells what comes. Never raises; may be cancelled."""
    httpx = await asyncio.to_thread(importlib.import_module, "httpx")  # slow to import
    begun = time.monotonic()

    def since() -> float:
        return time.monotonic() - begun

    headers = {**request["headers"], "authorization": f"Bearer {key}", "x-nexeon-cost": "true"}
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    error = ""
    try:
        async with (
            httpx.AsyncClient(timeout=httpx.Timeout(_WHOLE, connect=_CONNECT)) as http,
            http.stream("POST", request["url"], json=request["body"], headers=headers) as answer,
        ):
            tell(Began(answer.status_code, dict(answer.headers), since()))
            async for chunk in answer.aiter_bytes():
                tell(Heard(decoder.decode(chunk), since()))
    except (httpx.HTTPError, httpx.InvalidURL) as failure:
        error = f"{type(failure).__name__}: {failure}"
    except ValueError as failure:
        error = str(failure) if "header" in str(failure).lower() else "the key cannot be sent: is it whole?"
    tell(Ended(error, since()))
