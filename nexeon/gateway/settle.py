"""The end of a call's money: charged once or released once, whoever ends it and however."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from nexeon.errors import StoreError
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.observe.metrics import Metrics
from nexeon.gateway.observe.record import Recorder
from nexeon.gateway.price import due, price_note
from nexeon.gateway.repeats.owed import owed
from nexeon.store import Detail, Reservation, Store

HOLD: Final = 900.0
"""Seconds that a reservation lives without being renewed."""

SHUTTING_DOWN: Final = "shutting_down"
"""The code of what the end of the server ends."""

STALLED: Final = "client_stalled"
"""The code of what ends since its client does not read."""

_log = logging.getLogger("nexeon.gateway")


class Settler:
    """Settles in tasks of its own: a handler whose client left is cancelled, its charge must not be."""

    def __init__(self, store: Store, metrics: Metrics, recorder: Recorder) -> None:
        self._store = store
        self._recorder = recorder
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    async def settle(self, exchange: Exchange) -> None:
        """Charges what the call used and returns once that is durable; a cancelled caller does not stop it.

        A call that told no usage is charged by what it produced, marked as estimated; one that produced nothing is
        released. Raises StoreError. Later calls for the same exchange do nothing.
        """
        if exchange.closed:
            return
        exchange.closed = True
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._spawn(self._tell(over, exchange))
        await over

    def abandon(self, exchange: Exchange) -> None:
        """The same, for whom nobody waits: the client left, or the call failed."""
        if exchange.closed:
            return
        exchange.closed = True
        task = self._spawn(self._close(exchange, exchange.reservation))
        task.add_done_callback(_report)

    async def drain(self, timeout: float) -> None:
        """Waits for what is being settled, for as long as something is within `timeout` seconds."""
        done: set[asyncio.Task[None]] = {*self._tasks}
        while done and self._tasks:
            done, _ = await asyncio.wait(self._tasks, timeout=timeout)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def clean(self, text: str) -> str:
        """Words of a provider without the secrets that this gateway knows."""
        return self._recorder.redaction.clean(text)

    def tells_secrets(self, text: str) -> bool:
        return self.clean(text) != text

    async def _tell(self, over: asyncio.Future[None], exchange: Exchange) -> None:
        """Closes it for whoever waits for `over`, as long as they do. (`shield` takes a loop's turn more.)"""
        try:
            await self._close(exchange, exchange.reservation)
        except asyncio.CancelledError:
            over.cancel()
            raise
        except Exception as error:
            if not over.done():
                over.set_exception(error)
        else:
            if not over.done():
                over.set_result(None)

    async def _close(self, exchange: Exchange, reservation: Reservation | None) -> None:
        used: dict[str, Any] = {}
        estimated = False
        try:
            used, estimated = await self._charge(exchange, reservation)
        finally:
            exchange.step("settled")
            self._metrics.tried(len(exchange.attempts))
            if exchange.dropped:
                self._metrics.dropped(exchange.provider, exchange.dropped)
            if exchange.answered and not exchange.complete:
                self._metrics.cut(exchange.provider, _asked(exchange), _who(exchange))
            if exchange.unknown:
                self._metrics.unknown(exchange.provider, exchange.unknown)
            self._recorder.settled(exchange, used, estimated=estimated)

    async def _charge(self, exchange: Exchange, reservation: Reservation | None) -> tuple[dict[str, Any], bool]:
        """What it used, and whether that is an estimate."""
        produced = exchange.complete or exchange.produced > 0
        keeping = exchange.keeping if exchange.keeping is not None and exchange.keeping.whole else None
        if not produced or reservation is None:
            await _finish(exchange, {})
            if keeping is not None:
                await keeping.before(None)
                keeping.after(booked=True)
            if reservation is not None:
                await self._store.release(reservation)
            return {}, False
        amount, usage, estimated = due(
            exchange.price,
            exchange.usage,
            complete=exchange.complete,
            input_tokens=exchange.input_tokens,
            produced=exchange.produced,
            doubtful=bool(exchange.doubts),
        )
        await _finish(exchange, usage)
        exchange.cost = amount
        detail: Detail = {
            "model": _asked(exchange),
            "provider": exchange.provider,
            "usage": usage,
            "price": price_note(exchange.price, usage),
        }
        if keeping is None:
            await self._store.settle(reservation, amount, detail=detail, estimated=estimated)
        else:
            booked = False
            try:
                await keeping.before(owed(reservation, amount, detail, estimated=estimated))
                await self._store.settle(reservation, amount, detail=detail, estimated=estimated)
                booked = True
            finally:
                keeping.after(booked=booked)
        self._metrics.charged(exchange.provider, detail["model"], usage, amount, estimated=estimated)
        if lost := exchange.lost():
            self._metrics.lost(exchange.provider, len(lost))
        self._measure(exchange, detail["model"], usage)
        return usage, estimated

    def _measure(self, exchange: Exchange, model: str, usage: Mapping[str, Any]) -> None:
        now = time.monotonic()
        metrics, provider = self._metrics, exchange.provider
        metrics.took("whole", provider, model, now - exchange.started)
        spoke = exchange.steps.get("spoke")
        if spoke is None:
            return
        metrics.took("token", provider, model, spoke - exchange.started)
        tokens = usage.get("output")
        if type(tokens) is int and tokens > 1:
            metrics.took("gap", provider, model, (now - spoke) / (tokens - 1))


def _asked(exchange: Exchange) -> str:
    """The model that the call is charged as."""
    model = exchange.served or exchange.model
    return model.id if model is not None else ""


def _who(exchange: Exchange) -> str:
    """Who ended a stream before its end."""
    if exchange.failure is None or exchange.failure.code == STALLED:
        return "client"
    return "gateway" if exchange.failure.code == SHUTTING_DOWN else "provider"


async def _finish(exchange: Exchange, usage: Mapping[str, Any]) -> None:
    """Tells whoever counts what is under way."""
    while exchange.closing:
        waiting = exchange.closing.pop()(usage)
        if waiting is not None:
            await waiting


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        level = logging.ERROR if isinstance(error, StoreError) else logging.CRITICAL
        _log.log(level, "a call could not be settled: %s", error)
