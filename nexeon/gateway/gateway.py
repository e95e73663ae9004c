"""Everything that outlives a request, wired together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

import httpx

from nexeon.admin import AdminHTTP, AdminService
from nexeon.admin.service import store_folder
from nexeon.config import Config, Model
from nexeon.errors import RequestError, StoreError
from nexeon.gateway.behind import Behind
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.failover import Failover
from nexeon.gateway.health import TargetHealth
from nexeon.gateway.idempotency import Repeats
from nexeon.gateway.limits import Limiter
from nexeon.gateway.materialise import Materialiser
from nexeon.gateway.metrics import Metrics
from nexeon.gateway.provider_keys import KeyPool
from nexeon.gateway.record import Recorder
from nexeon.gateway.resource import load_resources
from nexeon.gateway.settle import HOLD, Settler
from nexeon.gateway.stash import Stash
from nexeon.gateway.stream import ClientStream
from nexeon.gateway.target import Plan, make_plans
from nexeon.gateway.upstream import TransportFactory, Upstream
from nexeon.gateway.validate import load_validators
from nexeon.gateway.windows import MemoryWindows
from nexeon.mapping import Format, Library
from nexeon.store import Store
from nexeon.store.answers import AnswerStore, SQLiteAnswers
from nexeon.store.requests import RequestLog
from nexeon.store.rests import RestStore

_SWEEP: Final = 60.0
_log = logging.getLogger("nexeon.gateway")


def shutting_down() -> RequestError:
    return RequestError(503, "unavailable", "the gateway is shutting down", code="shutting_down")


class Gateway:
    """The services behind the app. `start` before the first request, `stop` after the last one.

    `transport` makes a provider's httpx transport, for tests; the real one speaks through aiohttp. `log` takes a
    record of every request, `admin` answers what
    owners of keys ask of their usage, `admin_http` serves operators; whoever serves sets them.
    """

    def __init__(
        self,
        config: Config,
        library: Library,
        store: Store,
        *,
        transport: TransportFactory | None = None,
        log: RequestLog | None = None,
    ) -> None:
        self.config = config
        self.library = library
        self.store = store
        self.metrics = Metrics()
        self.recorder = Recorder(log)
        self.settler = Settler(store, self.metrics, self.recorder)
        self.stash = Stash()
        self.materialiser = Materialiser(config.materialise)
        self.resources = load_resources(library)
        kept = config.responses
        self.behind = Behind()
        self.answers: AnswerStore = SQLiteAnswers(
            store_folder(store.url), ttl=kept.ttl, max_bytes=kept.max_bytes, account_bytes=kept.account_bytes
        )
        self.key_headers = library.key_headers
        self.started = time.time()
        self._transport = transport
        self._validators = load_validators(library.formats, library.folders)
        self._plans: dict[tuple[str, str], list[Plan]] = {}
        self._upstreams: dict[str, Upstream] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._counter: asyncio.Task[None] | None = None
        self.repeats = Repeats(config.idempotency, store_folder(store.url), self.metrics)
        self.limiter = Limiter(MemoryWindows(), config.limits, self.metrics)
        self.pool = KeyPool(store, rests=RestStore(store_folder(store.url)))
        self.health = TargetHealth(config.breaker)
        self.failover = Failover(
            self._upstreams,
            self.pool,
            self.health,
            self.metrics,
            retry=config.retry,
            keepalive=config.server.keepalive,
        )
        self.ready = False
        self.ending = False
        self.waiting: set[asyncio.Task[Any]] = set()
        self.streams: set[ClientStream] = set()
        self.calls: dict[str, Exchange] = {}
        self.admin: AdminService | None = None
        self.admin_http: AdminHTTP | None = None

    async def start(self) -> None:
        """Needs a running event loop; does nothing where it has been called."""
        if self.ready:
            return
        for name, provider in self.config.providers.items():
            transport: httpx.AsyncBaseTransport | None = self._transport(provider) if self._transport else None
            self._upstreams[name] = Upstream(provider, transport)
        await self.pool.open()
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        self.ready = True

    @property
    def running(self) -> int:
        """Requests under way."""
        return len(self.waiting) + len(self.streams)

    def measured(self) -> str:
        """Everything that is counted, in the Prometheus text format."""
        keys = {name: self.pool.counts(provider) for name, provider in self.config.providers.items()}
        return self.metrics.text(self.running, keys, self.health.circuits())

    def cut(self) -> None:
        """Ends what is running with an error: the server stops."""
        self.ending = True
        for task in self.waiting:
            task.cancel()
        for stream in self.streams:
            stream.cut(shutting_down())

    async def stop(self, timeout: float = 10.0) -> None:
        """Waits for charges that are being made, then lets go of every connection. The store stays open."""
        self.ready = False
        await self.behind.stop(timeout)
        await self.settler.drain(timeout)
        for task in (self._sweeper, self._counter):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._sweeper = self._counter = None
        upstreams = list(self._upstreams.values())
        self._upstreams.clear()
        for upstream in upstreams:
            await upstream.aclose()
        await self.materialiser.aclose()
        await self.answers.close()
        await self.repeats.close()
        await self.pool.close()

    def plans(self, model: Model, client: Format) -> list[Plan]:
        """The model's targets for clients of a format. Raises MappingError for names that the mappings do not know."""
        key = (model.id, client.name)
        plans = self._plans.get(key)
        if plans is None:
            plans = self._plans[key] = make_plans(self.config, self.library, model, client)
        return plans

    def upstream(self, provider: str) -> Upstream:
        """The connections to a provider; only between `start` and `stop`."""
        return self._upstreams[provider]

    def validate(self, format: Format, body: dict[str, object]) -> None:
        """Raises RequestError 400 for a body that its format's schema does not allow."""
        validator = self._validators.get(format.name)
        if validator is not None:
            validator.check(body)

    def abandon(self, exchange: Exchange) -> None:
        """Ends a call that failed, or whose client left."""
        self.calls.pop(exchange.id, None)
        self.settler.abandon(exchange)

    async def renew(self, older: float = HOLD / 3) -> None:
        """Keeps the credit of calls that have been under way for longer than so many seconds. Raises StoreError."""
        now = time.monotonic()
        for exchange in list(self.calls.values()):
            if exchange.reservation is not None and not exchange.closed and now - exchange.started > older:
                await self.store.renew(exchange.reservation, HOLD)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            try:
                await self.renew()
                await self.store.sweep()
            except StoreError as error:
                _log.error("reservations could not be renewed or closed: %s", error)
            if self._counter is None or self._counter.done():
                self._counter = asyncio.get_running_loop().create_task(self._count())

            try:
                await self.answers.sweep()
            except StoreError as error:
                _log.error("old answers could not be deleted: %s", error)
    async def _count(self) -> None:
        """Apart from the sweep: a long ledger that was never counted takes minutes."""
        try:
            if self.admin is not None:
                await self.admin.count_usage()
        except StoreError as error:
            _log.error("usage could not be counted: %s", error)
