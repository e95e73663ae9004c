"""Counting a request's tokens before it is made: by the provider's own counter where it has one, else an estimate.

Each format's counter is a file under `counters/` of a mapping folder:

    counter: NAME
    format: whose requests are counted
    routes: URL paths of the endpoint, with `{model}` where the path names it
    define: …
    request: template over `body`: the request that would be made
    answer: template over `count` (tokens)
    upstream: {dialects, path, body, tokens}    for providers of these dialects: where to ask, templates over `body` of
                                                what to send (of the provider's request) and of the count in the answer

A provider that has a counter is asked in the counter's format, whichever the target would be called in.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from nexeon.errors import MappingError, MappingFailure, Problem, RequestError
from nexeon.gateway.admit import permitted_plans, resolve
from nexeon.gateway.answers.turns import begin, check_served
from nexeon.gateway.authenticate import authenticate
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.partfiles import PartFiles, sections
from nexeon.gateway.server.router import Endpoint
from nexeon.gateway.target import Plan, Preparer, plan_in
from nexeon.gateway.upstream import UpstreamFailure
from nexeon.gateway.validate import check_objects, invalid
from nexeon.gateway.way import Incoming, Reply, model_name, read_body, routed_headers
from nexeon.mapping import Format, Library, new_context
from nexeon.mapping.module import Module
from nexeon.mapping.runtime import Transform
from nexeon.mapping.source import Map, Source
from nexeon.wire.json import JSONError, dumps, loads

if TYPE_CHECKING:
    from nexeon.gateway.gateway import Gateway

ESTIMATED: Final = "x-nexeon-estimated"
"""Set on a count that no provider made."""

_FOLDER: Final = "counters"
_UPSTREAM: Final = ("dialects", "path", "body", "tokens")
_TURN: Final = 4
_MEDIA: Final = 1000
"""Tokens of an image, a document or a sound: what they hold is not looked at."""

_MEDIA_TYPES: Final = frozenset({"image", "document", "audio", "video"})


@dataclass(frozen=True, slots=True)
class Counter:
    """One format's counter, compiled."""

    format: Format
    routes: tuple[str, ...]
    dialects: frozenset[str]
    path: str
    request: Transform
    answer: Transform
    body: Transform
    tokens: Transform


def load_counters(library: Library, files: PartFiles | None = None) -> list[Endpoint]:
    """The endpoints of every counter. Raises MappingError with every problem of every file."""
    found = (files or PartFiles()).load(library, _FOLDER, _compile)
    counters = {counter.format.name: counter for counter in found}
    return [
        Endpoint(path, ("POST",), count, counter.format, _pattern(path), extra=(counter, counters))
        for counter in counters.values()
        for path in counter.routes
    ]


def _pattern(path: str) -> re.Pattern[str] | None:
    before, slot, after = path.partition("{model}")
    return re.compile(re.escape(before) + "(?P<model>.+)" + re.escape(after) + r"\Z") if slot else None


def _compile(source: Source, library: Library) -> Counter:
    root, data = sections(source, ("format", "routes", "request", "answer", "upstream"))
    upstream = root.get("upstream")
    if not isinstance(upstream, Map) or any(name not in data["upstream"] for name in _UPSTREAM):
        raise MappingError([Problem(f"`upstream` needs {', '.join(_UPSTREAM)}", source.name, 1)])
    module = Module(source)
    makers = {}
    for name, node, variable in (
        ("request", root.get("request"), "body"),
        ("answer", root.get("answer"), "count"),
        ("body", upstream.get("body"), "body"),
        ("tokens", upstream.get("tokens"), "body"),
    ):
        assert node is not None
        makers[name] = module.add(node, variable, name)
    module.finish()
    return Counter(
        format=library.format(str(data["format"])),
        routes=tuple(str(path) for path in data["routes"]),
        dialects=frozenset(data["upstream"]["dialects"]),
        path=str(data["upstream"]["path"]),
        **{name: make() for name, make in makers.items()},
    )


async def count(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """Answers one request to count; it costs nothing. Raises RequestError for one that could not be made."""
    counter: Counter
    counters: Mapping[str, Counter]
    counter, counters = endpoint.extra
    format, wire = endpoint.format, endpoint.format.wire
    key, account = authenticate(gateway, incoming, wire.request.key_query, write=True)
    raw = await incoming.body()
    body = _run(counter.request, read_body(incoming.headers, raw), new_context(format=format.name))
    if not isinstance(body, dict):
        raise invalid("the request to count must be a JSON object")
    model = resolve(gateway.config, key, model_name(wire, body, path))
    resource = gateway.resources.get(format.name)
    if resource is not None:
        check_served(resource, body)
    gateway.validate(format, body)
    turn = await begin(gateway, resource, account.id, body) if resource is not None else None
    check_objects(wire, turn.own if turn is not None else body)
    exchange = Exchange(
        id=incoming.id,
        format=format,
        path=path,
        key=key,
        account=account,
        body=turn.body if turn is not None else body,
        size=len(raw),
        stream=False,
        model=model,
        turn=turn,
        headers={name: incoming.headers[name] for name in wire.request.headers if name in incoming.headers},
    )
    preparer = Preparer(exchange, secrets.token_hex(12), gateway.stash, gateway.materialiser)
    tokens = None
    asked = [
        (own, plan if plan.format is own.format else plan_in(gateway.library, plan, own.format, format))
        for plan in permitted_plans(key, gateway.plans(model, format))
        for own in counters.values()
        if plan.provider.dialect in own.dialects and own.format.name in plan.provider.formats
    ]
    for own, plan in asked:
        tokens = await _ask(gateway, own, plan, preparer)
        if tokens is not None:
            exchange.provider = plan.name
            break
    headers = routed_headers(exchange, model)
    if tokens is None:
        tokens = estimated(preparer.canonical(), gateway.config.estimate.bytes_per_token)
        headers[ESTIMATED] = "true"
    return Reply(200, dumps(_run(counter.answer, {"tokens": tokens}, new_context(format=format.name))), headers=headers)


async def _ask(gateway: Gateway, counter: Counter, plan: Plan, preparer: Preparer) -> int | None:
    """The provider's own count; None where it gives none."""
    for lease in gateway.pool.choose(plan.provider, plan.target.model).leases:
        try:
            prepared = await preparer.ready(plan, lease)
            sent = counter.body(loads(prepared.body), prepared.context)
            upstream = gateway.upstream(plan.name)
            path = counter.path.replace("{{ model }}", quote(plan.target.model, safe="/:@"))
            response = await upstream.send(path, dumps(sent), key=lease.secret, stream=False, headers=prepared.headers)
            answer = loads(await upstream.read(response))
            tokens = counter.tokens(answer, prepared.context) if response.status_code == 200 else None
        except (UpstreamFailure, RequestError, JSONError, MappingFailure):
            continue
        if type(tokens) is int:
            return tokens
    return None


def _run(transform: Transform, value: Any, ctx: dict[str, Any]) -> Any:
    try:
        return transform(value, ctx)
    except MappingFailure as failure:
        raise invalid(failure.message, failure.path or None) from failure


def estimated(request: Mapping[str, Any], bytes_per_token: float) -> int:
    """The tokens of a canonical request, by the length of its text."""
    size = 0
    tokens = _TURN * len(request.get("turns") or ())
    for block in _blocks(request):
        if block.get("type") in _MEDIA_TYPES:
            tokens += _MEDIA
        else:
            size += sum(len(value.encode("utf-8", "replace")) for value in _texts(block))
    size += sum(len(dumps(tool)) for tool in request.get("tools") or ())
    return max(1, tokens + int(size / bytes_per_token))


def _blocks(request: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    waiting = [block for turn in request.get("turns") or () for block in turn.get("blocks") or ()]
    waiting += request.get("system") or ()
    while waiting:
        block = waiting.pop()
        yield block
        waiting += block.get("blocks") or ()


def _texts(block: Mapping[str, Any]) -> Iterator[str]:
    """What a model reads of a block: text, and a call's name and arguments."""
    for name in ("text", "name", "arguments"):
        value = block.get(name)
        if isinstance(value, str):
            yield value
