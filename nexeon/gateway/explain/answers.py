"""What a client gets of a provider's answer, whole or event by event: the gateway's own way, without a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from nexeon.config import Model
from nexeon.errors import MappingFailure, RequestError
from nexeon.gateway.attempt import Attempt
from nexeon.gateway.errors import error_body
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.explain.requests import Lost, Tracer
from nexeon.gateway.explain.values import Value, values_of
from nexeon.gateway.failure import AttemptFailed, stream_error
from nexeon.gateway.pool.leases import Lease
from nexeon.gateway.relay import Framing, Pipe, Relay, Translation
from nexeon.gateway.target import Plan, Prepared, Preparer, plan_for
from nexeon.gateway.upstream import Upstream
from nexeon.mapping import Format
from nexeon.wire.json import JSONError, dumps, loads
from nexeon.wire.sse import Event


@dataclass(slots=True)
class Told:
    """What became of one answer, or of one event of it: `given` came from the provider, the client gets `told` (several
    events, one answer, or nothing)."""

    given: Any
    told: list[Any] = field(default_factory=list)
    values: list[list[Value]] = field(default_factory=list)
    losses: list[Lost] = field(default_factory=list)

    def view(self) -> dict[str, Any]:
        return {
            "given": self.given,
            "told": self.told,
            "values": [[value.view() for value in one] for one in self.values],
            "losses": [loss.view() for loss in self.losses],
        }


@dataclass(slots=True)
class ExplainedAnswer:
    """One target's answer on its way down, named as in `Explained`.

    `status` is the client's; `failure` says why it gets an error, `line` which mapping says so, where one does; `usage`
    is what is charged.
    """

    asked: str
    provider: str
    model: str
    format: str
    piped: bool
    status: int = 200
    parts: list[Told] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    failure: str = ""
    line: str = ""

    def view(self) -> dict[str, Any]:
        """As JSON (docs/explain.md)."""
        shown: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return shown | {"parts": [part.view() for part in self.parts]}


def explain_answer(
    tracer: Tracer, plan: Plan, client: Format, model: Model, raw: bytes, *, request: Any = None, status: int = 200
) -> ExplainedAnswer:
    """What becomes of an answer's body. `request` is the client's, where what it asked for matters."""
    found = ExplainedAnswer(model.id, plan.name, plan.target.model, plan.format.name, plan.piped)
    way = _Way(tracer, plan, client, model, request, stream=False)
    plan, found.piped = way.plan, way.plan.piped
    part = Told(_parsed(raw))
    found.parts.append(part)
    try:
        body = asyncio.run(way.answer(raw, status))
    except AttemptFailed as failed:
        _failed(found, failed.error)
        part.told = [loads(error_body(client, failed.error, way.exchange.id))]
        part.values = [[]]
    else:
        part.told = [body]
        part.values = [[] if plan.piped else values_of(tracer.recorder, tracer.recorder.last)]
    part.losses = way.losses()
    found.usage = way.exchange.usage
    return found


def explain_stream(
    tracer: Tracer, plan: Plan, client: Format, model: Model, events: list[Event], *, request: Any = None
) -> ExplainedAnswer:
    """What becomes of each event of a stream; one more part, with nothing given, for what its end brings."""
    found = ExplainedAnswer(model.id, plan.name, plan.target.model, plan.format.name, plan.piped)
    way = _Way(tracer, plan, client, model, request, stream=True)
    plan, found.piped = way.plan, way.plan.piped
    relay, framing = way.relay()
    last = False
    for number, event in enumerate([*events, None]):
        way.patches.name = f"[{number}]"
        tracer.recorder.next()
        part = Told(_parsed(event.data) if event is not None else None)
        framing.noted = []
        if event is None and (relay.ended or relay.failure is not None):
            break
        try:
            if event is not None:
                relay.feed([event])
            else:
                relay.end()
            if relay.failure is not None:
                raise stream_error(plan.name, relay.failure)
        except (AttemptFailed, RequestError) as error:
            failure = error.error if isinstance(error, AttemptFailed) else error
            _failed(found, failure)
            if not relay.own_words:
                relay.fail(failure)
            last = True
        part.told = [loads(dumps(body)) for body in framing.noted]
        part.values = [[] if plan.piped else values_of(tracer.recorder, body) for body in framing.noted]
        part.losses = way.losses()
        if event is not None or part.told or part.losses:
            found.parts.append(part)
        if last:
            break
    relay.note()
    found.usage = way.exchange.usage
    return found


class _Way:
    """One answer's contexts."""

    def __init__(self, tracer: Tracer, plan: Plan, client: Format, model: Model, request: Any, *, stream: bool) -> None:
        self._recorder = tracer.recorder
        self._recorder.begin()
        facts = client.wire.request
        body: dict[str, Any] = request if isinstance(request, dict) else {}
        if facts.model is not None:
            body = facts.model.put(body, model.id)
        self.plan, self.patches = tracer.traced(plan_for(plan, body))
        self.exchange: Exchange = tracer.exchange(client, model, body, stream=stream)
        preparer = Preparer(self.exchange, "explain")
        context = preparer.target_context(self.plan, plan.provider.key_account)
        path = plan.dialect.wire.request.url_path(plan.target.model, stream=stream)
        self._context, self._client_context = context, preparer.answer_context(self.plan)
        self._prepared = Prepared(
            body=b"{}",
            path=path,
            context=context,
            hide_usage=False,
            copies=1,
            keep=lambda response: None,
            headers={},
        )
        self._told = 0

    async def answer(self, raw: bytes, status: int) -> Any:
        """The client's JSON. Raises AttemptFailed."""

        def answered(request: httpx.Request) -> httpx.Response:
            return httpx.Response(status, content=raw, headers={"content-type": "application/json"})

        upstream = Upstream(self.plan.provider, httpx.MockTransport(answered))
        lease = Lease("", self.plan.provider.key_account, "")
        attempt = Attempt(self.exchange, self.plan, self._prepared, lease, upstream, self._client_context)
        try:
            return loads((await attempt.json()).body)
        finally:
            await upstream.aclose()

    def relay(self) -> tuple[Relay, _NotingFraming]:
        kind: Callable[..., Relay] = Pipe if self.plan.piped else Translation
        relay = kind(self.exchange, self.plan, self._prepared, self._client_context)
        relay.framing = noting = _NotingFraming(self.exchange.format, array=False)
        return relay, noting

    def losses(self) -> list[Lost]:
        """What was lost since the last time."""
        losses = self._recorder.losses[self._told :]
        self._told = len(self._recorder.losses)
        return [Lost(loss.reason, loss.line) for loss in losses]


class _NotingFraming(Framing):
    """Keeps the events that the client is told."""

    __slots__ = ("noted",)

    def __init__(self, format: Format, *, array: bool) -> None:
        super().__init__(format, array=array)
        self.noted: list[Any] = []

    def event(self, body: Any, data: bytes | None = None) -> bytes:
        self.noted.append(body)
        return super().event(body, data)


def _failed(found: ExplainedAnswer, error: RequestError) -> None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, MappingFailure):
        cause = cause.__cause__
    found.status, found.failure = error.status, error.message
    if isinstance(cause, MappingFailure):
        found.failure = f"{error.message}: {f'{cause.path}: ' if cause.path else ''}{cause.message}"
        found.line = f"{cause.file}:{cause.line}"


def _parsed(raw: bytes) -> Any:
    try:
        return loads(raw)
    except JSONError:
        return raw.decode("utf-8", "replace")
