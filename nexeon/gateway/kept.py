"""The endpoints of kept answers: read, delete, list what was said before them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from nexeon.errors import NotFound, RequestError, StoreError
from nexeon.gateway.authenticate import authenticate
from nexeon.gateway.behind import STOPPED, follow, replay
from nexeon.gateway.resource import Resource
from nexeon.gateway.router import Endpoint
from nexeon.gateway.turns import unavailable
from nexeon.gateway.validate import invalid
from nexeon.gateway.way import Incoming, Reply
from nexeon.store.answers import Answer
from nexeon.wire.json import dumps, loads

if TYPE_CHECKING:
    from nexeon.gateway.gateway import Gateway

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
        return Reply(200, answer.body)
    after = _number(incoming.query.get(resource.query["after"]), resource.query["after"])
    turn = gateway.behind.running.get((answer.account, answer.id))
    events: AsyncIterator[bytes]
    if turn is not None and turn.events:
        events = follow(endpoint.format, turn, after, keepalive=gateway.config.server.keepalive)
    elif turn is None and answer.events is not None:
        events = replay(endpoint.format, loads(answer.events), after)
    else:
        raise invalid("this answer has no events: only one made in the background as a stream has", stream)
    return Reply(200, events, "text/event-stream; charset=utf-8", {"cache-control": "no-cache"})


async def delete(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """`DELETE …/{id}`."""
    resource: Resource = endpoint.extra
    answer = await find(gateway, incoming, endpoint, path["id"], write=True)
    await gateway.behind.cancel(answer.account, answer.id)
    try:
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
    await gateway.behind.cancel(answer.account, answer.id)
    return Reply(200, (await find(gateway, incoming, endpoint, answer.id, write=True)).body)


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
    shown = items[begin : min(end, begin + limit)]
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
    if answer.status in resource.open and not under_way:
        answer = _lost(resource, answer)
        gateway.answers.put(answer)
    return answer


def _lost(resource: Resource, answer: Answer) -> Answer:
    """One whose process ended before it did."""
    state = resource.make("failed", {"message": STOPPED})
    body = {**loads(answer.body), **state}
    return replace(answer, status=str(resource.answer["status"].get(body)), body=dumps(body))


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
