"""The endpoints of kept answers: read, delete, list what was said before them."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from nexeon.errors import MappingFailure, NotFound, RequestError, StoreError
from nexeon.gateway.answers.behind import LOST, STOPPED, follow, watch
from nexeon.gateway.answers.resource import Resource
from nexeon.gateway.answers.turns import SECURED, numbered, unavailable
from nexeon.gateway.authenticate import authenticate
from nexeon.gateway.relay import broken_off
from nexeon.gateway.repeats.owed import charged
from nexeon.gateway.server.router import Endpoint
from nexeon.gateway.validate import invalid
from nexeon.gateway.way import Incoming, Reply
from nexeon.mapping import StreamDecoder, new_context
from nexeon.store.answers import Answer, AnswerStore
from nexeon.wire.json import dumps, loads

if TYPE_CHECKING:
    from nexeon.gateway.gateway import Gateway

_log = logging.getLogger("nexeon.gateway")
_PAGE: Final = 20
_LONGEST_PAGE: Final = 100


def endpoints(resource: Resource) -> list[Endpoint]:
    """The paths under which one format's answers are found."""
    made = []
    for below, method, handler in (
        ("", "GET", read),
        ("", "DELETE", delete),
        ("/cancel", "POST", cancel),
        ("/input_items", "GET", input_items),
    ):
        pattern = re.compile(re.escape(resource.path) + "/(?P<id>[^/]+)" + re.escape(below) + r"\Z")
        path = f"{resource.path}/{{id}}{below}"
        made.append(Endpoint(path, (method,), handler, resource.format, pattern, extra=resource))
    return made


async def read(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """`GET …/{id}`: the answer, or the events of one that was made in the background."""
    resource: Resource = endpoint.extra
    answer = await find(gateway, incoming, endpoint, path["id"])
    stream = resource.query["stream"]
    if incoming.query.get(stream, "false").lower() != "true":
        whole = loads(answer.body)
        shown = resource.shown(whole, _include(resource, incoming))
        return Reply(200, answer.body if shown is whole else dumps(shown))
    after = _number(incoming.query.get(resource.query["after"]), resource.query["after"])
    if not answer.streamed:
        raise invalid("this answer has no events: only one made in the background as a stream has", stream)
    turn = gateway.behind.running.get((answer.account, answer.id))
    events: AsyncIterator[bytes]
    if turn is not None:
        events = follow(resource, turn, after, keepalive=gateway.config.server.keepalive)
    else:
        events = watch(resource, gateway.answers, answer, after)
    return Reply(200, events, "text/event-stream; charset=utf-8", {"cache-control": "no-cache"})


async def delete(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """`DELETE …/{id}`."""
    resource: Resource = endpoint.extra
    answer = await find(gateway, incoming, endpoint, path["id"], write=True)
    await gateway.behind.cancel(answer.account, answer.id)
    try:
        await gateway.repeats.forget(answer.account, answer.id)
        await gateway.answers.delete(answer.account, answer.id)
    except NotFound:
        raise not_found(answer.id) from None
    except StoreError as error:
        raise unavailable() from error
    return Reply(200, dumps(resource.make("deleted", {"id": answer.id})))


async def cancel(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """`POST …/{id}/cancel`: of one made in the background; one that has ended stays as it is."""
    answer = await find(gateway, incoming, endpoint, path["id"], write=True)
    if not answer.background:
        raise invalid("Cannot cancel a synchronous response.")
    resource: Resource = endpoint.extra
    if answer.status in resource.open and (answer.account, answer.id) not in gateway.behind.running:
        answer = _ended(resource, answer, "cancelled", "")  # whoever is at it will see this
        gateway.answers.put(answer)
    await gateway.behind.cancel(answer.account, answer.id)
    answer = await find(gateway, incoming, endpoint, answer.id, write=True)
    return Reply(200, dumps(resource.shown(loads(answer.body), _include(resource, incoming))))


async def input_items(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """`GET …/{id}/input_items`: everything that was said before the answer, the latest first unless asked otherwise."""
    resource: Resource = endpoint.extra
    answer = await find(gateway, incoming, endpoint, path["id"])
    try:
        chain = await gateway.answers.chain(answer.account, answer.id)
    except NotFound:  # an earlier one is gone: what is left
        chain = [answer]
    except StoreError as error:
        raise unavailable() from error
    items: list[dict[str, Any]] = []
    for part in chain:
        token = part.id.removeprefix(resource.prefix).removeprefix("nex-")
        items += resource.make("items", {"items": loads(part.input), "token": token})
        if part is not chain[-1]:
            output = resource.answer["output"].get(loads(part.body))
            items += output if isinstance(output, list) else []
    include = _include(resource, incoming)
    query = incoming.query
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise invalid("`order` must be asc or desc", "order")
    if order == "desc":
        items.reverse()
    limit = _limit(query.get("limit"))
    begin, end = 0, len(items)
    if "after" in query:
        begin = _place(items, query["after"], "after") + 1
    if "before" in query:
        end = _place(items, query["before"], "before")
        if "after" not in query:
            begin = max(0, end - limit)
    shown = [resource.item_shown(item, include) for item in items[begin : min(end, begin + limit)]]
    more = begin + len(shown) < end if "before" not in query or "after" in query else begin > 0
    return Reply(200, dumps(resource.make("page", {"items": shown, "more": more})))


async def find(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, id: str, *, write: bool = False) -> Answer:
    """The caller's own answer, its state true. Raises RequestError 404 for one that is not there, or not theirs."""
    resource: Resource = endpoint.extra
    _, account = authenticate(gateway, incoming, resource.format.wire.request.key_query, write=write)
    # looked up first: one that ends while it is read has put its end where a later reading finds it
    under_way = (account.id, id) in gateway.behind.running
    try:
        answer = await gateway.answers.get(account.id, id)
    except NotFound:
        raise not_found(id) from None
    except StoreError as error:
        raise unavailable() from error
    if answer.status in resource.open and not under_way and _nobodys(gateway.answers, answer):
        answer = await _lost(resource, gateway, answer)
    return answer


def _nobodys(store: AnswerStore, answer: Answer) -> bool:
    """Whether no other process can be at it, either."""
    return not store.shared or time.time() - answer.touched > LOST


async def _lost(resource: Resource, gateway: Gateway, answer: Answer) -> Answer:
    """One whose process ended before it did: what of it was kept, and a true end. Raises RequestError 503."""
    store = gateway.answers
    try:
        events = [loads(event) for event in await store.events(answer.account, answer.id)]
        ending = [event for event in events if SECURED in event]
        paid = not ending or await charged(gateway.store, answer.account, ending[0].pop(SECURED), answer.created)
    except StoreError as error:
        raise unavailable() from error
    told = len(events) - len(ending)
    if not paid:
        del events[told:]
    last = resource.answer["event"].get(events[-1]) if events else None
    if isinstance(last, dict) and resource.answer["status"].get(last) not in resource.open:  # it was told its end
        ended = _with(resource, answer, last, _visible(resource, resource.answer["output"].get(last)))
        store.put(ended)
        more = events[told:]
    else:
        ended = _ended(resource, answer, "failed", STOPPED, _so_far(resource, events))
        store.put(ended)
        more = resource.make("ended.failed", {"answer": loads(ended.body), "message": STOPPED})
    if ending or more:
        field = resource.format.wire.stream.number
        kept = [dumps(numbered(_plain(event), field, told + n)) for n, event in enumerate(more)]
        store.append(answer.account, answer.id, told, kept if answer.streamed else [])
    return ended


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != SECURED}


def _so_far(resource: Resource, events: list[dict[str, Any]]) -> list[Any]:
    """The output that a stream's events told, without what only a known maker can read."""
    ctx = new_context(format=resource.format.name)
    decoder = StreamDecoder(resource.format, ctx)
    try:
        for event in events:
            decoder.feed(event)
    except MappingFailure as failure:
        _log.warning("the events of an answer that broke off cannot be read: %s", failure)
    answer = broken_off(resource.format, decoder, ctx)
    if answer is None:
        return []
    output = resource.answer["output"].get(resource.broken_off(answer, decoder.open_calls))
    if isinstance(output, list):  # what was told as ended stays as it was told
        id = resource.answer["id"].get
        told = {id(item): item for event in events if isinstance(item := resource.make("finished", event), dict)}
        output = [told.get(id(item), item) for item in output]
    return _visible(resource, output)


def _visible(resource: Resource, output: Any) -> list[Any]:
    return [resource.item_shown(item, frozenset()) for item in output] if isinstance(output, list) else []


def _ended(resource: Resource, answer: Answer, state: str, message: str, output: Sequence[Any] = ()) -> Answer:
    """An answer that has no end of its own."""
    body = {**loads(answer.body), **resource.make(f"states.{state}", {"message": message})}
    return _with(resource, answer, resource.answer["output"].put(body, list(output)) if output else body, output)


def _with(resource: Resource, answer: Answer, body: dict[str, Any], output: Sequence[Any]) -> Answer:
    ids = [resource.answer["id"].get(item) for item in output]
    status = str(resource.answer["status"].get(body))
    return replace(
        answer,
        status=status,
        body=dumps(body),
        output=dumps(resource.lasting(list(output), status)),
        items=tuple(id for id in ids if isinstance(id, str)),
    )


def _include(resource: Resource, incoming: Incoming) -> frozenset[str]:
    """What the URL asks for: `include=a&include=b`, `include[]=a` or `include=a,b`. Raises RequestError 400."""
    name = resource.query["include"]
    given = [
        value for key, value in parse_qsl(incoming.raw_query) if re.fullmatch(re.escape(name) + r"(\[\d*\])?", key)
    ]
    asked = [value for values in given for value in values.split(",")]
    for value in asked:
        if value not in resource.include:
            known = ", ".join(sorted(resource.include))
            raise invalid(f"`{name}` knows no `{value[:100]}`; it takes {known}", name, code="invalid_value")
    return frozenset(asked)


def not_found(id: str) -> RequestError:
    shown = id if len(id) <= 100 else id[:100] + "…"
    return RequestError(404, "not_found", f"Response with id '{shown}' not found.", retryable=False)


def _limit(text: str | None) -> int:
    if text is None:
        return _PAGE
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _LONGEST_PAGE:
        raise invalid(f"`limit` must be a number from 1 to {_LONGEST_PAGE}", "limit")
    return int(text)


def _number(text: str | None, name: str) -> int:
    if text is None:
        return -1
    if not text.isascii() or not text.isdigit():
        raise invalid(f"`{name}` must be the number of an event", name)
    return int(text)


def _place(items: list[dict[str, Any]], id: str, name: str) -> int:
    for place, item in enumerate(items):
        if item.get("id") == id:
            return place
    raise invalid(f"`{name}` names no item of this list", name)
