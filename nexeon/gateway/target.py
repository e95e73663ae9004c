"""A target made ready: the format spoken to it, and the body that it gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from nexeon.config import Config, Model, Provider, Target
from nexeon.errors import MappingFailure, RequestError
from nexeon.gateway import pipe
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.lane import Shapes
from nexeon.gateway.materialise import Fetched, Materialiser, addresses, filled, place_of
from nexeon.gateway.pool.leases import Lease
from nexeon.gateway.several import MOST, answers_wanted, asking_for_one
from nexeon.gateway.stash import Kept, Stash, call_ids, give_back
from nexeon.gateway.validate import invalid
from nexeon.gateway.wording import Wording
from nexeon.mapping import MISSING, Format, Library, ModelDialect, new_context
from nexeon.mapping.paths import Path
from nexeon.mapping.seals import open_envelope
from nexeon.wire.json import dumps

Context = dict[str, Any]

_path = lru_cache(maxsize=64)(Path)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is decided about a target at load; `piped`: the client speaks the same format. `shapes` is what its streams
    have learned of their events."""

    target: Target
    provider: Provider
    format: Format
    piped: bool
    dialect: ModelDialect
    limits: dict[str, int]
    shapes: Shapes = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.provider.name


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request ready to be sent. `context` is the target's, for decoding the answer; `keep` is given the answer;
    `copies`: how often it is sent, for as many answers; `headers`: what the body needs beside the provider's own.
    """

    body: bytes
    path: str
    context: Context
    hide_usage: bool
    copies: int
    keep: Callable[[Mapping[str, Any]], None]
    headers: dict[str, str]


def make_plans(config: Config, library: Library, model: Model, client: Format) -> list[Plan]:
    """The model's targets in order, for clients of one format."""
    plans = []
    for target in model.targets:
        provider = config.providers[target.provider]
        name = target.format or (client.name if client.name in provider.formats else provider.formats[0])
        limits = {"context_window": model.context_window, "max_output_tokens": model.max_output_tokens}
        plans.append(
            Plan(
                target=target,
                provider=provider,
                format=library.format(name),
                piped=name == client.name,
                dialect=library.dialect(provider.dialect, name, target.model),
                limits={key: value for key, value in limits.items() if value is not None},
            )
        )
    return plans


def plan_for(plan: Plan, body: Mapping[str, Any]) -> Plan:
    """The same, without the pipe where the target does not take this request of its own format as it is."""
    unknown = plan.dialect.wire.request.unpiped if plan.piped else ()
    if any(type(word) is str and word in words for path, words in unknown for word in path.all(body)):
        return replace(plan, piped=False)
    return plan


def plan_in(library: Library, plan: Plan, format: Format, client: Format) -> Plan:
    """The same target, called in another format that its provider speaks."""
    dialect = library.dialect(plan.provider.dialect, format.name, plan.target.model)
    return replace(plan, format=format, piped=format.name == client.name, dialect=dialect)


class Preparer:
    """Makes a request's body for one target after the other; what they share is made once, and only if needed."""

    def __init__(
        self, exchange: Exchange, token: str, stash: Stash | None = None, materialiser: Materialiser | None = None
    ) -> None:
        self._exchange = exchange
        self._token = token
        self._stash = stash
        self._materialiser = materialiser
        self._asked = self.asked_model()
        self._words = Wording(exchange.format, exchange.body)
        self._fetched: dict[tuple[str, str], Fetched] = {}
        self._canonical: dict[str, Any] | None = None
        self._decode_losses: list[str] = []
        self._made: dict[tuple[int, str], tuple[Prepared, list[str]]] = {}
        self._ways: dict[int, Plan] = {}

    def way(self, plan: Plan) -> Plan:
        """See `plan_for`."""
        if not plan.dialect.wire.request.unpiped:
            return plan
        return self._ways.setdefault(id(plan), plan_for(plan, self._exchange.body))

    async def ready(self, plan: Plan, lease: Lease) -> Prepared:
        """As `prepare`, once the addresses that this target does not take have been fetched."""
        kinds = plan.dialect.materialised
        if kinds and not plan.piped and self._materialiser is not None:
            there = plan.dialect.wire.request.fetches
            found_here = addresses(list(self.canonical().values()), kinds, there)
            wanted = {one for one in found_here if one not in self._fetched}
            for (kind, url), found in (await self._materialiser.fetch_all(wanted)).items() if wanted else ():
                if not isinstance(found, Fetched):
                    param = place_of(self._exchange.body, url)
                    raise invalid(f"the {kind} at `{param or url}` cannot be used: {found}", param, code="invalid_url")
                self._fetched[kind, url] = found
        return self.prepare(plan, lease)

    def prepare(self, plan: Plan, lease: Lease) -> Prepared:
        """Raises RequestError where the request cannot be said to this target."""
        key = (id(plan), lease.account)
        if key not in self._made:
            self._made[key] = self._bearable(plan, lease.account)
        prepared, dropped = self._made[key]
        if dropped and self._exchange.strict:
            names = list(dict.fromkeys(dropped))
            raise invalid(
                f"{plan.name} cannot be told: {', '.join(names)}. Leave it out, or do not send `x-nexeon-strict`",
                names[0],
                code="unsupported_parameter",
            )
        self._exchange.dropped = list(dict.fromkeys(dropped))
        self._exchange.maker = prepared.context
        return prepared

    def _bearable(self, plan: Plan, account: str) -> tuple[Prepared, list[str]]:
        """Where a target refuses the request, the media of turns that the client does not send again are left out."""
        turn = self._exchange.turn
        try:
            return self._prepare(plan, account)
        except RequestError:
            lean = turn.lean() if turn is not None else None
            if turn is None or lean is None:
                raise
        leaner = Preparer(replace(self._exchange, body=lean), self._token, self._stash)
        leaner._fetched = self._fetched
        prepared, dropped = leaner._prepare(plan, account)
        return prepared, [*dropped, turn.resource.request["input"].text]

    def seal_accounts(self, plan: Plan) -> set[str]:
        """The provider organisations that sealed parts of this conversation: only their keys can use those."""
        exchange = self._exchange
        seals: list[Any]
        if plan.piped:
            places = plan.dialect.wire.request.seals
            texts = [text for place in places for text in place.path.all(exchange.body) if type(text) is str]
            seals = [open_envelope(text) for text in texts]
        else:
            turns = self.canonical().get("turns") or ()
            seals = [block.get("seal") for turn in turns for block in turn.get("blocks") or ()]
        makers = {seal["account"] for seal in seals if seal and seal.get("provider") == plan.name and "account" in seal}
        return makers | {kept.organisation for kept in self._kept(plan)}

    def _kept(self, plan: Plan) -> list[Kept]:
        """This provider's own answers in the history, as far as the stash knows them."""
        if not self._stash:
            return []
        exchange = self._exchange
        if plan.piped:
            ids = [found for path in plan.dialect.wire.request.calls for found in path.all(exchange.body)]
        else:
            ids = call_ids(self.canonical())
        return self._stash.find(exchange.account.id, plan.name, ids)

    def _restored(self, plan: Plan) -> dict[str, Any] | None:
        """The canonical request with what its calls came without; None where nothing is missing.

        A client of the target's own format that sends seals is taken to send all that it got.
        """
        kept = self._kept(plan)
        places = plan.dialect.wire.request.seals if plan.piped else ()
        if not kept or any(place.path.get(self._exchange.body) is not MISSING for place in places):
            return None
        canonical = self.canonical()
        restored = give_back(canonical, kept)
        return restored if restored is not canonical else None

    def _keep(self, ctx: Context) -> Callable[[Mapping[str, Any]], None]:
        """What remembers the answer's seals."""
        stash, account = self._stash, self._exchange.account.id
        return (lambda response: stash.keep(account, response, ctx)) if stash is not None else lambda response: None

    def canonical(self) -> dict[str, Any]:
        """The request in the canonical form. Raises RequestError 400."""
        if self._canonical is None:
            exchange = self._exchange
            ctx = self.client_context()
            try:
                self._canonical = exchange.format.decode_request(exchange.body, ctx)
            except MappingFailure as failure:
                raise invalid(failure.message, failure.path or None) from failure
            self._decode_losses = ctx["dropped"]
        return self._canonical

    def client_context(self) -> Context:
        """The context of the client's side; it names no provider, since a client's seal has none."""
        exchange = self._exchange
        assert exchange.model is not None
        return new_context(
            format=exchange.format.name,
            model=self._asked,
            stream=exchange.stream,
            token=self._token,
            body=exchange.body,
            path=dict(exchange.path),
        )

    def target_context(self, plan: Plan, account: str) -> Context:
        """The context of the provider's side."""
        return new_context(
            format=plan.format.name,
            model=self._asked,
            upstream_model=plan.target.model,
            provider=plan.name,
            account=account,
            stream=self._exchange.stream,
            token=self._token,
            limits=plan.limits,
            profile=plan.dialect.profile,
            path=dict(self._exchange.path),
        )

    def answer_context(self, plan: Plan) -> Context:
        """The client's side on the way back. The conversation is left out of the request: a stream would keep all of it
        in memory for as long as it lasts."""
        ctx = self.client_context()
        turns = self._exchange.format.params.get("turns")
        if turns is not None:
            ctx["body"] = _path(turns).remove(ctx["body"])
        ctx["provider"] = plan.name
        ctx["upstream_model"] = plan.target.model
        return ctx

    def asked_model(self) -> str:
        exchange = self._exchange
        facts = exchange.format.wire.request
        name = facts.model.get(exchange.body) if facts.model is not None else exchange.path.get("model")
        return name if isinstance(name, str) else ""

    def _prepare(self, plan: Plan, account: str) -> tuple[Prepared, list[str]]:
        exchange = self._exchange
        ctx = self.target_context(plan, account)
        facts = plan.dialect.wire.request
        lost: list[str] = []
        restored = self._restored(plan)
        copies = self._copies(plan)
        if plan.piped and restored is None:
            body = pipe.upstream_body(
                exchange.body if copies == 1 else asking_for_one(facts, exchange.body),
                facts,
                format_name=plan.format.name,
                provider=plan.name,
                account=account,
                model=plan.target.model,
            )
        else:
            canonical = restored or self.canonical()
            if self._fetched and plan.dialect.materialised:
                wanted = {one: found for one, found in self._fetched.items() if one[0] in plan.dialect.materialised}
                canonical = {name: filled(value, wanted) for name, value in canonical.items()}
            if copies > 1:
                sampling = {name: value for name, value in canonical.get("sampling", {}).items() if name != "n"}
                canonical = {**canonical, "sampling": sampling}
            body, lost = self._translate(plan, ctx, canonical)
            if plan.format.name == exchange.format.name:  # the ids that the client had of it
                body = pipe.unmarked(body, facts)
        asked = pipe.asked_for_usage(facts, body)
        body = pipe.set_facts(
            body, facts, model=plan.target.model, stream=exchange.stream, ask_usage=exchange.stream and not asked
        )
        encoded = len(ctx["dropped"])
        before = body
        try:
            body = plan.dialect.request(body, ctx)
            sent = dumps(body)
            if plan.piped and exchange.headers:
                ctx["headers"] = exchange.headers
            headers = plan.format.request_headers(body, ctx)
        except MappingFailure as failure:
            path = failure.path if plan.piped else self._words.wire(failure.path, plan.format, before)
            raise invalid(failure.message, path or None) from failure
        except RequestError as error:
            raise error if plan.piped else self._words.refusal(error, plan.format, before) from error.__cause__
        except TypeError as error:
            raise invalid(f"the request {error}") from None
        patched = ctx["dropped"][encoded:]
        if patched and not plan.piped:
            patched = [self._words.wire(path, plan.format, before) for path in patched]
        dropped = [*lost, *ctx["dropped"][:encoded], *patched]
        ctx["dropped"] = []
        path = facts.url_path(plan.target.model, stream=exchange.stream)
        return Prepared(sent, path, ctx, plan.piped and not asked, copies, self._keep(ctx), headers), dropped

    def _copies(self, plan: Plan) -> int:
        """How often this target is asked at once. Raises RequestError 400 where it cannot be."""
        exchange = self._exchange
        number, param = answers_wanted(exchange.format.wire.request, exchange.body)
        if number == 1 or (plan.dialect.several and (plan.piped or not exchange.stream)):
            return 1
        if exchange.stream:
            raise invalid(
                f"`{param}` is {number}: a stream of this model holds one answer", param, code="unsupported_parameter"
            )
        if number > MOST:
            raise invalid(f"`{param}` is {number}: this model gives at most {MOST} answers to one request", param)
        return number

    def _translate(self, plan: Plan, ctx: Context, canonical: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        client = self._exchange.format
        dropped, refused = plan.format.lost(canonical, client)
        if refused:
            name, message, part = refused[0]
            param = self._words.field(name, part, canonical) if part is not None else name
            raise invalid(message, param, code="unsupported_parameter")
        try:
            body = plan.format.encode_request(canonical, ctx)
        except MappingFailure as failure:
            raise invalid(failure.message, self._words.canonical(failure.path, canonical) or None) from failure
        if ctx["dropped"]:
            ctx["dropped"] = self._words.lost(ctx["dropped"], canonical)
        if not isinstance(body, dict):
            raise RequestError(500, "internal", "the mapping of this format gave no request")
        return body, [*self._decode_losses, *dropped]
