"""The counters of rate limits on a Redis server that several gateways share: one round-trip for all of a request's.

Where the server cannot be reached, each process counts on its own until it comes back: calls go on.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from nexeon.errors import ConfigError, Problem
from nexeon.gateway.limits.windows import HELD, SLOTS, Claim, Exceeded, Level, MemoryWindows, Taken

_log = logging.getLogger("nexeon.gateway")

_TIMEOUT: Final = 0.5
"""Seconds that a request waits for the server at most."""

_AGAIN: Final = 1.0
"""Seconds between attempts to reach a server that is gone."""

_LEASE: Final = 60.0
"""Seconds after which what is held by a gateway that is gone is free again."""

_BATCH: Final = 500


@dataclass(slots=True)
class _SharedTaken(Taken):
    """`id` is what the server knows the held claims by."""

    id: str = field(default="")


class SharedWindows:
    """Implements `Windows`. `failed` is called with True when the server is lost, with False when it is back."""

    shared = True

    def __init__(self, url: str, *, failed: Callable[[bool], None] = lambda lost: None) -> None:
        """`?prefix=NAME` in the URL keeps deployments on one server apart. Raises ConfigError for a URL that is none,
        or where the client is not installed. Nothing is connected before the first use."""
        server, self.prefix = _parts(url)
        try:
            import redis.asyncio
            import redis.exceptions
        except ModuleNotFoundError as error:
            raise ConfigError([Problem(f"limits.url: this needs {error.name}: pip install 'nexeon[redis]'")]) from None
        self.errors = (redis.exceptions.RedisError, OSError, TimeoutError)
        try:
            self.client = redis.asyncio.Redis.from_url(
                server, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, client_name="nexeon"
            )
        except ValueError as error:
            raise ConfigError([Problem(f"limits.url: {error}")]) from None
        self._script = self.client.register_script(
            resources.files("nexeon.gateway.limits").joinpath("windows.lua").read_text(encoding="utf-8")
        )
        self._own = MemoryWindows()
        self._failed = failed
        self._down = False
        self._held: dict[str, list[str]] = {}
        self._seen: dict[tuple[str, float], tuple[Level, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._guard: asyncio.Task[None] | None = None

    @property
    def reachable(self) -> bool:
        return not self._down

    async def take(self, claims: Sequence[Claim]) -> Taken:
        if self._down:
            return self._own.take_now(claims)
        name = secrets.token_hex(8)
        values: list[Any] = ["take", name, _LEASE, SLOTS]
        for claim in claims:
            values += [claim.seconds, claim.limit, claim.amount]
        try:
            answer = await self._run(claims, values)
        except self.errors as error:
            self._lost(error)
            return self._own.take_now(claims)
        if answer[0]:
            claim = claims[answer[0] - 1]
            level = Level(claim, int(answer[2]), float(answer[3]))
            wait = float(answer[1])
            self._see(Level(claim, 0, wait))
            raise Exceeded(level, wait)
        taken = _SharedTaken(claims, [], [], name)
        for place, claim in enumerate(claims):
            slot, left, reset = answer[1 + 3 * place : 4 + 3 * place]
            taken.marks.append(int(slot))
            taken.levels.append(Level(claim, int(left), float(reset)))
            self._see(taken.levels[-1])
        if held := [self._key(claim) for claim in claims if claim.seconds == HELD]:
            self._held[name] = held
            if self._keeper is None:
                self._keeper = asyncio.get_running_loop().create_task(self._keep())
        return taken

    async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
        if not isinstance(taken, _SharedTaken):
            self._own.settle_now(taken, amounts)
            return
        self._held.pop(taken.id, None)
        values: list[Any] = ["settle", taken.id, SLOTS]
        useful = False
        for claim, mark, used in zip(taken.claims, taken.marks, amounts, strict=True):
            values += [claim.seconds, mark, claim.amount, used]
            useful |= claim.seconds == HELD or used != claim.amount
        if not useful or self._down:
            return
        try:
            await self._run(taken.claims, values)
        except self.errors as error:
            self._lost(error)

    def settle_soon(self, taken: Taken, amounts: Sequence[int]) -> None:
        task = asyncio.get_running_loop().create_task(self.settle(taken, amounts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def levels(self, claims: Sequence[Claim]) -> list[Level]:
        """As they were when this process last asked; what came free meanwhile elsewhere is not known here."""
        if self._down:
            return self._own.levels(claims)
        now = time.monotonic()
        found = []
        for claim in claims:
            level, seen = self._seen.get((claim.name, claim.seconds), (None, 0.0))
            if level is None or level.left > 0 or now >= seen + level.reset:
                found.append(Level(claim, claim.limit, 0.0))
            else:
                found.append(Level(claim, 0, seen + level.reset - now))
        return found

    async def close(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * _TIMEOUT)
        for task in (self._keeper, self._guard):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self.client.aclose()

    def _key(self, claim: Claim) -> str:
        # In braces, so that a cluster keeps all of them on one node.
        return f"{{{self.prefix}}}:{claim.name}:{claim.seconds:g}"

    async def _run(self, claims: Sequence[Claim], values: Sequence[Any]) -> Any:
        async with asyncio.timeout(_TIMEOUT):
            return await self._script(keys=[self._key(claim) for claim in claims], args=values)

    def _see(self, level: Level) -> None:
        if level.claim.seconds != HELD:
            self._seen[level.claim.name, level.claim.seconds] = (level, time.monotonic())
            if len(self._seen) > 50_000:
                self._seen.clear()

    def _lost(self, error: BaseException) -> None:
        if self._down:
            return
        self._down = True
        self._failed(True)
        _log.error("the server at limits.url cannot be used (%s): each process counts on its own", _words(error))
        if self._guard is None or self._guard.done():
            self._guard = asyncio.get_running_loop().create_task(self._come_back())

    async def _come_back(self) -> None:
        while self._down:
            await asyncio.sleep(_AGAIN)
            try:
                async with asyncio.timeout(_TIMEOUT):
                    await self.client.ping()
            except self.errors:
                continue
            self._down = False
            self._failed(False)
            _log.warning("the server at limits.url counts again for all gateways")

    async def _keep(self) -> None:
        """Prolongs what is held by calls that take long."""
        while True:
            await asyncio.sleep(_LEASE / 3)
            pairs = [(key, f"{name}:1") for name, keys in self._held.items() for key in keys]
            for begin in range(0, len(pairs), _BATCH):
                part = pairs[begin : begin + _BATCH]
                if self._down:
                    break
                try:
                    async with asyncio.timeout(_TIMEOUT):
                        await self._script(
                            keys=[key for key, _ in part], args=["renew", _LEASE, *(name for _, name in part)]
                        )
                except self.errors as error:
                    self._lost(error)


def _parts(url: str) -> tuple[str, str]:
    """The server's URL, and the prefix."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    prefix = query.pop("prefix", "nexeon")
    return urlunsplit((*parts[:3], urlencode(query), parts.fragment)), prefix


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
