"""The way of one request, from its key to its answer."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from nexeon.config import Model
from nexeon.errors import RequestError, StoreError
from nexeon.gateway.admit import estimate, groups, not_available, reserve, resolve
from nexeon.gateway.answers.turns import begin, check_served
from nexeon.gateway.attempt import StreamAnswer
from nexeon.gateway.authenticate import authenticate
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.failover import Group
from nexeon.gateway.limits.admission import declared_size
from nexeon.gateway.pool.affinity import LEAST, conversation
from nexeon.gateway.repeats.idempotency import HEADER, PROMISED, REPLAYED, Kept
from nexeon.gateway.repeats.keeping import Keeping
from nexeon.gateway.repeats.owed import collect
from nexeon.gateway.repeats.replay import Tape, unfolded
from nexeon.gateway.server.router import Endpoint
from nexeon.gateway.stream import ClientStream, Writer
from nexeon.gateway.target import Preparer
from nexeon.gateway.validate import check_objects, invalid
from nexeon.mapping import new_context
from nexeon.mapping.wirefacts import WireFacts
from nexeon.store import to_usd
from nexeon.wire.json import JSONError, loads

if TYPE_CHECKING:
    from nexeon.gateway.gateway import Gateway

_LONGEST_HEADER: Final = 1024
COST_HEADER: Final = "x-nexeon-cost"
"""A client that sends it with `true` is told the charge, in USD: in this header, or in a stream's usage."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came. Header names are in lower case; `body` reads the whole of it; the `raw_` ones are not
    decoded."""

    id: str
    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: Callable[[], Awaitable[bytes]]
    ip: str | None = None
    raw_path: str = ""
    raw_query: str = ""


@dataclass(slots=True)
class Reply:
    """What goes back: bytes, or a stream whose `close` must be called however it ends; `blame` before that, where there
    is more to say than that its client left. `write_to` may be given a writer before the stream is iterated."""

    status: int
    body: bytes | AsyncIterator[bytes]
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    close: Callable[[], None] | None = None
    blame: Callable[[RequestError], None] | None = None
    write_to: Callable[[Writer], None] | None = None


async def generate(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """Answers one generation request, once there is room for it. Raises RequestError for whatever ends it early."""
    admission = gateway.admission
    declared = declared_size(incoming.headers, gateway.config.server.body_limit)
    size = gateway.config.server.body_limit if declared is None else declared
    if declared is None:
        body = incoming.body

        async def read() -> bytes:
            nonlocal size
            raw = await body()
            admission.measured(size, len(raw))
            size = len(raw)
            return raw

        incoming = replace(incoming, body=read)
    if not admission.enter(size):
        authenticate(gateway, incoming, endpoint.format.wire.request.key_query, write=True)  # strangers do not wait
        await admission.wait(size)
    try:
        reply = await _once(gateway, incoming, endpoint, path)
    except BaseException:
        admission.leave(size)
        raise
    if isinstance(reply.body, bytes):
        admission.leave(size)
        return reply
    close = reply.close

    def leave() -> None:
        admission.leave(size)
        if close is not None:
            close()

    reply.close = leave
    return reply


async def _once(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """An answer, or the first one again to a request that repeats its idempotency key."""
    name = incoming.headers.get(HEADER)
    if name is None or not gateway.repeats.active:
        return await _answer(gateway, incoming, endpoint, path)
    _, account = authenticate(gateway, incoming, endpoint.format.wire.request.key_query, write=True)
    raw = await incoming.body()

    async def again() -> bytes:
        return raw

    claim = await gateway.repeats.claim(account.id, name, incoming.path, raw, partial(collect, gateway.store))

    def context() -> dict[str, Any]:
        body = read_body(incoming.headers, raw)
        model = model_name(endpoint.format.wire, body, path)
        return new_context(format=endpoint.format.name, model=model, stream=True, body=body, path=dict(path))

    array = is_array(endpoint.format.wire, incoming.query)
    if isinstance(claim, Kept):
        told = claim.body()
        if claim.kind == PROMISED:
            return await _promised(gateway, incoming, endpoint, claim, told.decode())
        if claim.folded:
            told = unfolded(loads(told), endpoint.format, context(), array=array)
        return Reply(200, told, claim.kind, {**claim.headers, REPLAYED: "true"})

    def tape() -> Tape:
        return Tape(endpoint.format, context, array=array, most=gateway.repeats.max_bytes)

    keeping = Keeping(claim, tape)
    try:
        reply = await _answer(gateway, replace(incoming, body=again), endpoint, path, keeping)
    except BaseException:
        claim.release()
        raise
    if isinstance(reply.body, bytes):
        return reply
    chunks, close = reply.body, reply.close

    async def taped() -> AsyncIterator[bytes]:
        try:
            async for chunk in chunks:
                keeping.add(chunk)
                yield chunk
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]

    def leave() -> None:
        claim.release()
        if close is not None:
            close()

    return replace(reply, body=taped(), close=leave, write_to=None)


async def _promised(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, kept: Kept, id: str) -> Reply:
    """The stream of an answer in the background: its events are where whoever reads it finds them."""
    from nexeon.gateway.answers.kept import read  # which speaks of requests and replies, too

    resource = gateway.resources[endpoint.format.name]
    asked = replace(incoming, query={resource.query["stream"]: "true"})
    reply = await read(gateway, asked, replace(endpoint, extra=resource), {"id": id})
    reply.headers |= {**kept.headers, REPLAYED: "true"}
    return reply


async def _answer(
    gateway: Gateway,
    incoming: Incoming,
    endpoint: Endpoint,
    path: Mapping[str, str],
    keeping: Keeping | None = None,
) -> Reply:
    """Answers one generation request. Raises RequestError for whatever ends it early."""
    wire = endpoint.format.wire
    key, account = authenticate(gateway, incoming, wire.request.key_query, write=True)
    raw = await incoming.body()
    body = read_body(incoming.headers, raw)
    tell_cost = incoming.headers.get(COST_HEADER, "").strip().lower() == "true"
    model = resolve(gateway.config, key, model_name(wire, body, path))
    resource = gateway.resources.get(endpoint.format.name)
    if resource is not None:
        check_served(resource, body)
    gateway.validate(endpoint.format, body)
    turn = await begin(gateway, resource, account.id, body, model) if resource is not None else None
    check_objects(wire, turn.own if turn is not None else body)
    stream = wants_stream(endpoint, body)
    if stream and tell_cost and wire.request.usage_asked is not None:  # it is told with the usage
        body = wire.request.usage_asked.put(body, True)
    exchange = Exchange(
        id=incoming.id,
        format=endpoint.format,
        path=path,
        key=key,
        account=account,
        body=turn.body if turn is not None else body,
        size=len(raw) + (turn.size if turn is not None else 0),
        stream=stream,
        array=stream and is_array(wire, incoming.query),
        strict=incoming.headers.get("x-nexeon-strict", "").strip().lower() == "true",
        model=model,
        turn=turn,
        tell_cost=tell_cost,
        keeping=keeping if turn is None or not turn.background else None,
        headers={name: incoming.headers[name] for name in wire.request.headers if name in incoming.headers},
    )
    gateway.recorder.watch(exchange, raw, incoming.headers)
    try:
        allowed = groups(gateway.config, key, model, lambda model: gateway.plans(model, endpoint.format))
        estimate(gateway.config, exchange)
        exchange.conversation = conversation(exchange, raw if turn is None else turn.opening(LEAST))
        raw = b""  # it may be large, and the answer long in coming
        await gateway.limiter.admit(exchange)
        await reserve(gateway.store, exchange, allowed)
        gateway.calls[exchange.id] = exchange
        exchange.step("admitted")
        if turn is not None and turn.background:
            work = partial(_alone, gateway, incoming, exchange, allowed)
            headers = routed_headers(exchange, model)

            async def promised(reply: Reply) -> None:
                if keeping is not None and turn.id is not None:
                    await keeping.promise(turn.id, reply, headers)

            reply = await gateway.behind.start(exchange, work, promised, keepalive=gateway.config.server.keepalive)
            reply.headers |= headers
            return reply
        return await _found(gateway, incoming, exchange, allowed)
    except RequestError as error:
        exchange.failure = error
        gateway.abandon(exchange)
        error.headers = {**routed_headers(exchange, model), **error.headers}
        raise
    except BaseException:
        gateway.abandon(exchange)
        raise


async def _found(gateway: Gateway, incoming: Incoming, exchange: Exchange, allowed: Sequence[Group]) -> Reply:
    """The answer of the first target that has one, its charge made or under way."""
    turn, model = exchange.turn, exchange.model
    assert model is not None
    preparer = Preparer(exchange, secrets.token_hex(12), gateway.stash, gateway.materialiser)
    answer = await gateway.failover.answer(exchange, allowed, preparer)
    exchange.step("answered")
    if isinstance(answer, StreamAnswer):
        return await _stream_reply(gateway, exchange, answer)
    told = turn.answered(answer.body) if turn is not None else answer.body
    exchange.keep(told)
    if exchange.keeping is not None:
        exchange.keeping.answer = turn.name if turn is not None else None
        exchange.keeping.answered(told, "application/json", partial(_told_headers, exchange, model))
    if turn is not None:
        await turn.secure(exchange.id)
    try:
        await settle_answer(gateway, exchange)
    except RequestError:
        if turn is not None:
            turn.unpaid()
        raise
    if turn is not None:
        turn.save(exchange.maker)
    gateway.calls.pop(exchange.id, None)
    return Reply(200, told, headers=_told_headers(exchange, model))


def _told_headers(exchange: Exchange, model: Model) -> dict[str, str]:
    """Of an answer in one piece, once its cost is known."""
    headers = routed_headers(exchange, model)
    if exchange.tell_cost and exchange.cost is not None:
        headers[COST_HEADER] = to_usd(exchange.cost)
    return headers


async def _alone(gateway: Gateway, incoming: Incoming, exchange: Exchange, allowed: Sequence[Group]) -> Reply:
    """The same where the request has been answered before."""
    try:
        return await _found(gateway, incoming, exchange, allowed)
    except BaseException as error:
        exchange.failure = error if isinstance(error, RequestError) else None
        gateway.abandon(exchange)
        raise


async def _stream_reply(gateway: Gateway, exchange: Exchange, answer: StreamAnswer) -> Reply:
    stream = ClientStream(exchange, answer, gateway.settler)
    try:
        if exchange.reservation is not None and not answer.relay.ended:  # else it is charged before anything is told
            await gateway.store.begin(exchange.reservation)
    except BaseException:
        stream.close()
        raise
    assert exchange.model is not None
    headers = routed_headers(exchange, exchange.model)
    headers["cache-control"] = "no-cache"
    headers["x-accel-buffering"] = "no"
    kind = "application/json" if exchange.array else "text/event-stream; charset=utf-8"
    gateway.streams.add(stream)
    exchange.answered = True
    exchange.body = {}  # it may be large, and the stream long
    if exchange.keeping is not None:
        exchange.keeping.begun(kind, headers)

    def close() -> None:
        gateway.streams.discard(stream)
        gateway.calls.pop(exchange.id, None)
        stream.close()

    def blame(error: RequestError) -> None:
        exchange.failure = error

    return Reply(200, stream.__aiter__(), kind, headers, close, blame, stream.write_to)


async def settle_answer(gateway: Gateway, exchange: Exchange) -> None:
    """The charge of a JSON answer is durable before the answer leaves. Raises RequestError 503."""
    try:
        await gateway.settler.settle(exchange)
    except StoreError as error:
        raise RequestError(503, "unavailable", "the call could not be booked", code="store_unavailable") from error


def read_body(headers: Mapping[str, str], raw: bytes) -> dict[str, Any]:
    """The body's JSON object. Raises RequestError: 415 for another media type or encoding, 400 for anything else."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise RequestError(
            415, "unsupported_media", f"the body must be application/json, not {kind[:100]}", retryable=False
        )
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RequestError(415, "unsupported_media", "a compressed body is not accepted here", retryable=False)
    if not raw:
        raise invalid("the body is empty: a JSON object is needed")
    try:
        body = loads(raw)
    except JSONError as error:
        raise invalid(f"the body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise invalid("the body must be a JSON object")
    return body


def model_name(wire: WireFacts, body: Mapping[str, Any], path: Mapping[str, str]) -> str:
    """The model that the client names, in the body or in the URL."""
    facts = wire.request.model
    if facts is None:
        if name := path.get("model"):
            return name
        raise not_available("")
    name = facts.get(body)
    if isinstance(name, str) and name:
        return name
    if facts.text in body:
        raise invalid(f"`{facts.text}` must be a string", facts.text)
    raise invalid(f"`{facts.text}` is required", facts.text)


def wants_stream(endpoint: Endpoint, body: dict[str, Any]) -> bool:
    if endpoint.stream is not None:
        return endpoint.stream
    flag = endpoint.format.wire.request.stream
    return flag is not None and flag.get(body) is True


def is_array(wire: WireFacts, query: Mapping[str, str]) -> bool:
    """Whether this client reads a stream as one JSON array."""
    name = wire.stream.array_query
    return name is not None and query.get(name) != wire.stream.array_sse


def routed_headers(exchange: Exchange, model: Model) -> dict[str, str]:
    headers = {**exchange.limit_headers, "x-nexeon-model": (exchange.served or model).id}
    if exchange.provider:
        headers["x-nexeon-provider"] = exchange.provider
    if exchange.dropped:
        headers["x-nexeon-dropped"] = _header_text(exchange.dropped)
    return {
        name: value if value.isascii() else value.encode("ascii", "replace").decode() for name, value in headers.items()
    }


def _header_text(names: list[str]) -> str:
    """The names within the length that any client reads."""
    text = ""
    for number, name in enumerate(names):
        clean = "".join(char if " " <= char <= "~" else "?" for char in name[:120]).replace(",", ";")
        more = f"{text}, {clean}" if text else clean
        if len(more) > _LONGEST_HEADER:
            return f"{text}, +{len(names) - number} more"
        text = more
    return text
