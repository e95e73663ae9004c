"""The upstream requests that a client's request becomes: the gateway's own way, without sending anything."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from nexeon.config import Model
from nexeon.errors import MappingFailure, RequestError
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.explain.differences import differences
from nexeon.gateway.explain.patches import TracedPatches, object_line, policy_line
from nexeon.gateway.explain.values import Value, values_of
from nexeon.gateway.pool.leases import Lease
from nexeon.gateway.target import Plan, Preparer, plan_for
from nexeon.gateway.validate import RequestValidator, check_objects
from nexeon.gateway.way import read_body
from nexeon.gateway.wording import Wording
from nexeon.mapping import Format
from nexeon.mapping.policy import all_blocks
from nexeon.mapping.provenance import Recorder, fresh
from nexeon.mapping.trace import TracedLibrary
from nexeon.store.records import Account, ApiKey
from nexeon.wire.json import loads

_NOBODY = Account("acc_explain", "explain", 0.0)
_KEY = ApiKey("key_explain", _NOBODY.id, "explain", 0.0, "", "")


@dataclass(frozen=True, slots=True)
class Lost:
    """`name` as the client is told it; `line` of the mapping, policy or patch that lost it, "" where none says so."""

    name: str
    line: str

    def view(self) -> dict[str, Any]:
        return {"name": self.name, "line": self.line}


@dataclass(slots=True)
class Explained:
    """One target's request. `asked` is the model that the client names, `model` the provider's own name of it.

    `headers` are those that the body needs, beside the provider's own; `patches` is what was changed in the client's
    own body, where the formats are the same. `refusal` says why the target cannot be given the request, `line` where
    that is said.
    """

    asked: str
    provider: str
    model: str
    format: str
    piped: bool
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    patches: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    losses: list[Lost] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    refusal: str = ""
    line: str = ""

    def view(self) -> dict[str, Any]:
        """As JSON (docs/explain.md)."""
        shown: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        for name in ("losses", "values"):
            shown[name] = [one.view() for one in shown[name]]
        return shown


@dataclass(slots=True)
class Tracer:
    """What all explanations of one deployment share."""

    library: TracedLibrary
    recorder: Recorder
    validators: dict[str, RequestValidator]

    def traced(self, plan: Plan) -> tuple[Plan, TracedPatches]:
        """The plan with patches that are told."""
        dialect = self.library.dialects.get(plan.provider.dialect or "")
        patches = TracedPatches(self.recorder, plan.dialect, dialect, plan.format)
        return replace(plan, dialect=patches), patches

    def exchange(self, client: Format, model: Model, body: dict[str, Any], *, stream: bool) -> Exchange:
        """A request that nobody sent."""
        return Exchange(
            id="req_explain",
            format=client,
            path={"model": model.id},
            key=_KEY,
            account=_NOBODY,
            body=body,
            size=0,
            stream=stream,
            model=model,
        )


def explain_request(tracer: Tracer, plan: Plan, client: Format, model: Model, raw: bytes) -> Explained:
    """What one target gets. A request that is not valid in its own format is a refusal, too."""
    found = Explained(model.id, plan.name, plan.target.model, plan.format.name, plan.piped)
    recorder, facts = tracer.recorder, client.wire.request
    plan, patches = tracer.traced(plan)
    preparer: Preparer | None = None
    try:
        given = read_body({}, raw)
        body = fresh(given if facts.model is None else facts.model.put(given, model.id))
        validator = tracer.validators.get(client.name)
        if validator is not None:
            validator.check(body)
        check_objects(client.wire, body)
        recorder.begin()
        recorder.input(body)
        streams = facts.stream is not None and facts.stream.get(body) is True
        exchange = tracer.exchange(client, model, body, stream=streams)
        preparer = Preparer(exchange, "explain")
        plan = plan_for(plan, body)
        found.piped = plan.piped
        prepared = preparer.prepare(plan, Lease("", plan.provider.key_account, ""))
    except RequestError as error:
        found.refusal = f"{error.param}: {error.message}" if error.param else error.message
        found.line = _refusing_line(error, patches, plan, client, preparer)
        return found
    found.url = plan.provider.base_url + prepared.path
    found.headers = prepared.headers
    found.body = loads(prepared.body)
    found.patches = differences(given, found.body) if plan.piped else []
    found.dropped = exchange.dropped
    found.losses = _losses(exchange, tracer, plan, client, preparer, patches)
    found.values = values_of(recorder, patches.sent)
    return found


def _losses(
    exchange: Exchange, tracer: Tracer, plan: Plan, client: Format, preparer: Preparer, patches: TracedPatches
) -> list[Lost]:
    names, known = exchange.dropped, patches.drops
    if not plan.piped:
        words = Wording(client, exchange.body)
        known = {words.wire(path, plan.format, patches.given): line for path, line in known.items()}
    for loss in tracer.recorder.losses:
        known |= {name: loss.line for name in names if name == loss.reason or name.endswith(f": {loss.reason}")}
    if not plan.piped and names:
        canonical = preparer.canonical()
        for path, _, message in plan.format.policy.losses(canonical):
            if message is None:
                known.setdefault(client.param(path), policy_line(plan.format, path))
        for name, _, message in client.policy.own_losses(canonical, plan.format.name):
            if message is None:
                known.setdefault(name, own_line(client, name) or _kept_line(tracer.recorder, client, canonical, name))
    return [Lost(name, known.get(name, "")) for name in names]


def _kept_line(recorder: Recorder, client: Format, canonical: dict[str, Any], name: str) -> str:
    """The mapping line that set a field aside as one that only its format knows."""
    holders = [canonical, *canonical.get("turns", ()), *all_blocks(canonical), *canonical.get("tools", ())]
    for holder in holders:
        own = (holder.get("extra") or {}).get(client.name)
        if type(own) is dict and name in own:
            lines = recorder.origin(own, name).lines or recorder.origin(holder["extra"], client.name).lines
            return next(reversed(lines), "")
    return ""


def own_line(client: Format, name: str) -> str:
    """Where a format's policy speaks of a field that only it knows."""
    lead = f"extra.{client.name}."
    paths = client.data.get("policy", {})
    path = next((one for one in paths if one.startswith(lead) and one.split(".")[-1] == name), "")
    return policy_line(client, path)


def _refusing_line(
    error: RequestError, patches: TracedPatches, plan: Plan, client: Format, preparer: Preparer | None
) -> str:
    if patches.refused:
        return patches.refused
    cause = error.__cause__
    if isinstance(cause, MappingFailure):
        return f"{cause.file}:{cause.line}" if cause.line else cause.file
    if error.code == "unsupported_object":
        return object_line(client, error.param or "")
    if preparer is None or plan.piped:
        return ""
    try:
        canonical = preparer.canonical()
    except RequestError:
        return ""
    for path, _, message in plan.format.policy.losses(canonical):
        if message == error.message:
            return policy_line(plan.format, path)
    for name, _, message in client.policy.own_losses(canonical, plan.format.name):
        if message == error.message:
            return own_line(client, name)
    return ""
