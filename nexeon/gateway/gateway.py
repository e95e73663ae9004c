"""One configuration at work: its targets, validators and connections, over the services that outlive it."""

from __future__ import annotations

import asyncio
from typing import Any

from nexeon.admin import AdminHTTP, AdminService
from nexeon.config import Config, Model
from nexeon.errors import RequestError
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.failover import Failover
from nexeon.gateway.in_turns import in_turns
from nexeon.gateway.limits.limits import Limiter
from nexeon.gateway.materialise import Materialiser
from nexeon.gateway.server.compiled import Compiled
from nexeon.gateway.server.endpoints import make_router
from nexeon.gateway.services import Services
from nexeon.gateway.stream import ClientStream
from nexeon.gateway.target import Plan, make_plans
from nexeon.gateway.upstream import Upstream
from nexeon.gateway.way import generate
from nexeon.mapping import Format


class Gateway:
    """What handlers see. It may be made in any thread; the rest belongs to the event loop: `open` before its first
    request, `close` after its last one. `waiting`, `streams` and `calls` are its requests under way.

    Raises MappingError where the configuration names a format or dialect that the library does not have.
    """

    def __init__(self, config: Config, made: Compiled, services: Services) -> None:
        self.config = config
        self.made = made
        self.library = made.library
        self.resources = made.resources
        self.services = services
        self.store = services.store
        self.metrics = services.metrics
        self.recorder = services.recorder
        self.settler = services.settler
        self.stash = services.stash
        self.behind = services.behind
        self.answers = services.answers
        self.repeats = services.repeats
        self.pool = services.pool
        self.health = services.health
        self.admission = services.admission
        self.materialiser = Materialiser(config.materialise)
        self.key_headers = self.library.key_headers
        self.router = make_router(config, made)
        self._validators = made.validators
        self._upstreams: dict[str, Upstream] = {}
        self._plans: dict[tuple[str, str], list[Plan]] = {}
        for model in config.models.values():
            for name in {endpoint.format.name for endpoint in self.router.generating(generate)}:
                self.plans(model, self.library.format(name))
        self.limiter = Limiter(services.windows, config.limits, self.metrics)
        self.failover = Failover(
            self._upstreams,
            self.pool,
            self.health,
            self.metrics,
            retry=config.retry,
            keepalive=config.server.keepalive,
            clean=services.settler.clean,
        )
        self.waiting: set[asyncio.Task[Any]] = set()
        self.streams: set[ClientStream] = set()
        self.calls: dict[str, Exchange] = {}

    def open(self, before: Gateway | None = None) -> None:
        """Makes the connections to providers; those of `before` to a provider that is reached as it was go on."""
        for name, provider in self.config.providers.items():
            upstream = before._upstreams.get(name) if before is not None else None
            if upstream is None or not upstream.reaches(provider):
                make = self.services.transport
                upstream = Upstream(provider, make(provider) if make is not None else None)
            self._upstreams[name] = upstream.shared()

    async def close(self) -> None:
        """Lets go of the connections."""
        upstreams = list(self._upstreams.values())
        self._upstreams.clear()
        for upstream in upstreams:
            await upstream.aclose()
        await self.materialiser.aclose()

    @property
    def ready(self) -> bool:
        return self.services.ready and not self.services.draining

    @property
    def ending(self) -> bool:
        return self.services.ending

    @property
    def admin(self) -> AdminService | None:
        return self.services.admin

    @property
    def admin_http(self) -> AdminHTTP | None:
        return self.services.admin_http

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.streams or self.calls)

    def plans(self, model: Model, client: Format) -> list[Plan]:
        """The model's targets for clients of a format. Raises MappingError for names that the mappings do not know."""
        key = (model.id, client.name)
        plans = self._plans.get(key)
        if plans is None:
            plans = self._plans[key] = make_plans(self.config, self.library, model, client)
        return plans

    def upstream(self, provider: str) -> Upstream:
        """The connections to a provider; only between `open` and `close`."""
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

    async def cut(self, error: RequestError, at_once: int) -> None:
        """Ends what is running with an error, of streams so many in each turn of the loop."""
        for task in self.waiting:
            task.cancel()
        async for stream in in_turns(self.streams, at_once):
            stream.cut(error)
