"""What outlives a configuration: the store and its records, counters, what is known of keys and targets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from operator import is_not
from typing import TYPE_CHECKING, Any, Final

from nexeon.admin import AdminHTTP, AdminService
from nexeon.config import Config
from nexeon.errors import RequestError, StoreError
from nexeon.gateway.answers.behind import Behind
from nexeon.gateway.in_turns import in_turns
from nexeon.gateway.limits.admission import Admission
from nexeon.gateway.limits.shared_windows import SharedWindows
from nexeon.gateway.limits.windows import MemoryWindows, Windows
from nexeon.gateway.observe.gauges import gauges
from nexeon.gateway.observe.logs import Redaction, configured_secrets
from nexeon.gateway.observe.metrics import Metrics
from nexeon.gateway.observe.record import Recorder
from nexeon.gateway.observe.tracing import Tracer, open_tracer
from nexeon.gateway.pool.health import TargetHealth
from nexeon.gateway.pool.kept_rests import KeptRests
from nexeon.gateway.pool.provider_keys import KeyPool
from nexeon.gateway.pool.shared_rests import RestListener, SharedRests
from nexeon.gateway.repeats.idempotency import Repeats
from nexeon.gateway.server.sharing import measures
from nexeon.gateway.server.siblings import Siblings
from nexeon.gateway.settle import HOLD, SHUTTING_DOWN, Settler
from nexeon.gateway.stash import Stash
from nexeon.gateway.transport import TransportFactory
from nexeon.store import Store
from nexeon.store.answers import AnswerStore, SQLiteAnswers
from nexeon.store.requests import RequestLog
from nexeon.store.rests import RestStore

if TYPE_CHECKING:
    from nexeon.gateway.gateway import Gateway

_SWEEP: Final = 60.0
_LOOK: Final = 0.5
"""Seconds between two looks at whether the requests of an earlier configuration have ended."""

_BEAT: Final = 0.25
"""Seconds between two measures of the event loop."""

_LAST_SPANS: Final = 10.0
"""Seconds that charges of the last requests of an earlier configuration may take, whose traces are sent then."""

_AT_ONCE: Final = 100
"""Streams that are cut, or looked at, before others go on."""

_log = logging.getLogger("nexeon.gateway")


def shutting_down() -> RequestError:
    return RequestError(503, "unavailable", "the gateway is shutting down", code=SHUTTING_DOWN)


def kept_answers(config: Config) -> dict[str, Any]:
    """How long and how much of answers is kept, as a store of them takes it."""
    found = config.responses
    return {"ttl": found.ttl, "max_bytes": found.max_bytes, "account_bytes": found.account_bytes}


class Services:
    """What every configuration of one process shares. `current` is the gateway that answers what comes now, `retired`
    are those before it whose requests have not ended.

    `siblings` are the other workers of this address, where there are any; `log` takes a record of every request,
    `admin` answers what owners of keys ask of their usage, `admin_http` serves
    operators; whoever serves sets them.
    """

    current: Gateway

    def __init__(
        self, config: Config, store: Store, *, transport: TransportFactory | None = None, log: RequestLog | None = None
    ) -> None:
        self.store = store
        self.transport = transport
        self.log = log
        self.metrics = Metrics()
        self.recorder = Recorder(log, config)
        self._sources: list[object] = []
        self._secrets: frozenset[str] = frozenset()
        self._redact(config)
        self.settler = Settler(store, self.metrics, self.recorder)
        self.stash = Stash()
        self.behind = Behind()
        self.answers: AnswerStore = SQLiteAnswers(store.place, **kept_answers(config))
        self.repeats = Repeats(config.idempotency, store.place, self.metrics)
        url = config.limits.url
        self.windows: Windows = MemoryWindows(parts=config.server.workers)
        rests = RestStore(store.place)
        others: RestListener | None = KeptRests(rests) if rests.shared else None
        if url is not None:
            self.windows = shared = SharedWindows(url)
            others = SharedRests(shared)
        self.pool = KeyPool(store, rests=rests, windows=self.windows, others=others)
        self.health = TargetHealth(config.breaker)
        self.admission = Admission(config.overload, self.metrics, lambda: len(self.behind.running))
        self.started = time.time()
        self.ready = False
        self.draining = False
        self.ending = False
        self.siblings: Siblings | None = None
        self.admin: AdminService | None = None
        self.admin_http: AdminHTTP | None = None
        self.retired: list[Gateway] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._counter: asyncio.Task[None] | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._reaper: asyncio.Task[None] | None = None
        self._tracers: list[Tracer] = []

    async def start(self) -> None:
        """Needs a running event loop; does nothing where it has been called."""
        if self.ready:
            return
        self.current.open()
        await self.pool.open()
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        self._watch_loop()
        self.ready = True

    def swap(self, gateway: Gateway) -> None:
        """What comes now is answered by `gateway`; what is under way ends where it began."""
        before = self.current
        gateway.open(before)
        self.current = gateway
        self.retired.append(before)
        config = gateway.config
        self.health.adopt(config.breaker, [target for model in config.models.values() for target in model.targets])
        self.repeats.settings = config.idempotency
        self.answers.configure(**kept_answers(config))
        self.recorder.adopt(config)
        self._redact(config)
        self.admission.settings = config.overload
        if self._reaper is None or self._reaper.done():
            self._reaper = asyncio.get_running_loop().create_task(self._reap())

    def trace(self, config: Config) -> None:
        """What comes now is traced as this configuration says; what is under way as it began. Raises ConfigError."""
        tracer = self.recorder.tracer
        if tracer is not None and tracer.settings == config.tracing:
            tracer.adopt(config)
            return
        self.recorder.tracer = open_tracer(config, self.settler.clean)
        if tracer is not None:
            self._tracers.append(tracer)

    def gateways(self) -> Iterator[Gateway]:
        """Those that have, or may get, requests."""
        yield self.current
        yield from self.retired

    def _redact(self, config: Config) -> None:
        self.recorder.redaction = Redaction(config.lines.redact, self.secrets)
        if self.log is not None:
            self.log.clean = self.recorder.redaction.clean

    def secrets(self) -> frozenset[str]:
        """Everything that must not be told: of the configuration, and the provider keys of the store. The same object
        for as long as none of them changes."""
        configs = [gateway.config for gateway in self.gateways()]
        stored = [self.store.provider_keys(provider) for provider in self.current.config.providers]
        sources = [*configs, *stored]
        if len(sources) != len(self._sources) or any(map(is_not, sources, self._sources)):
            self._sources = sources
            found = {secret for keys in stored for _, secret in keys}
            self._secrets = frozenset(found.union(*map(configured_secrets, configs)))
        return self._secrets

    async def cut(self) -> None:
        """Ends what is running with an error: the server stops. Of streams some at a time, so that the first ones are
        told and charged while others still wait."""
        self.ending = True
        for gateway in list(self.gateways()):
            await gateway.cut(shutting_down(), _AT_ONCE)

    @property
    def running(self) -> int:
        """Requests under way."""
        return sum(len(gateway.waiting) + len(gateway.streams) for gateway in self.gateways())

    def measured(self) -> str:
        """Everything that is counted, in the Prometheus text format."""
        return self.metrics.text(gauges(self)) + measures(self.windows)

    async def stop(self, timeout: float = 10.0) -> None:
        """Waits for charges that are being made, then lets go of every connection. The store stays open."""
        self.ready = False
        if self._beat is not None:
            self._beat.cancel()
        await self.behind.stop(timeout)
        await self.settler.drain(timeout)
        for task in (self._sweeper, self._counter, self._reaper):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._sweeper = self._counter = self._reaper = None
        for gateway in list(self.gateways()):
            await gateway.close()
        self.retired.clear()
        await self.answers.close()
        await self.repeats.close()
        await self.pool.close()
        await self.windows.close()
        if self.recorder.tracer is not None:
            self._tracers.append(self.recorder.tracer)
            self.recorder.tracer = None
        await self._end_tracers()

    async def renew(self, older: float = HOLD / 3) -> None:
        """Keeps the credit of calls that have been under way, or kept it, for longer than so many seconds. Raises
        StoreError."""
        now = time.monotonic()
        for gateway in list(self.gateways()):
            async for exchange in in_turns(gateway.calls.values(), _AT_ONCE):
                since = now - max(exchange.started, exchange.renewed)
                if exchange.reservation is not None and not exchange.closed and since > older:
                    await self.store.renew(exchange.reservation, HOLD)
                    exchange.renewed = now

    def _watch_loop(self) -> None:
        """Measures how late the event loop is, now and then."""
        loop = asyncio.get_running_loop()
        due = loop.time() + _BEAT

        def beat() -> None:
            self.metrics.lagged(max(0.0, loop.time() - due))
            self._watch_loop()

        self._beat = loop.call_at(due, beat)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            try:
                await self.renew()
                await self.store.sweep()
            except StoreError as error:
                _log.error("reservations could not be renewed or closed: %s", error)
            try:
                await self.answers.sweep()
            except StoreError as error:
                _log.error("old answers could not be deleted: %s", error)
            if self._counter is None or self._counter.done():
                self._counter = asyncio.get_running_loop().create_task(self._count())

    async def _count(self) -> None:
        """Apart from the sweep: a long ledger that was never counted takes minutes."""
        try:
            if self.admin is not None:
                await self.admin.count_usage()
        except StoreError as error:
            _log.error("usage could not be counted: %s", error)

    async def _reap(self) -> None:
        """Closes earlier gateways once their last request has ended."""
        while self.retired:
            await asyncio.sleep(_LOOK)
            ended = [gateway for gateway in self.retired if gateway.idle]
            while ended:
                self.retired.remove(ended[-1])
                await ended.pop().close()
        await self.settler.drain(_LAST_SPANS)
        await self._end_tracers()

    async def _end_tracers(self) -> None:
        """Sends what those before the one in force still have."""
        while self._tracers and not self.retired:
            await asyncio.to_thread(self._tracers[0].close)
            del self._tracers[0]
