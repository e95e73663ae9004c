"""The endpoints of kept answers: read, delete, list what was said before them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from nexeon.errors import NotFound, RequestError, StoreError
from nexeon.gateway.authenticate import authenticate
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
        ("/input_items", "GET", input_items),
    ):
        pattern = re.compile(re.escape(resource.path) + "/(?P<id>[^/]+)" + re.escape(below) + r"\Z")
        path = f"{resource.path}/{{id}}{below}"
        made.append(Endpoint(path, (method,), handler, resource.format, pattern, extra=resource))
    return made


async def read(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """`GET …/{id}`."""
    answer = await find(gateway, incoming, endpoint, path["id"])
    return Reply(200, answer.body)


async def delete(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """`DELETE …/{id}`."""
    resource: Resource = endpoint.extra
    answer = await find(gateway, incoming, endpoint, path["id"], write=True)
    try:
        await gateway.answers.delete(answer.account, answer.id)
    except NotFound:
        raise not_found(answer.id) from None
    except StoreError as error:
        raise unavailable() from error
    return Reply(200, dumps(resource.make("deleted", {"id": answer.id})))


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
    try:
        answer = await gateway.answers.get(account.id, id)
    except NotFound:
        raise not_found(id) from None
    except StoreError as error:
        raise unavailable() from error
    if answer.status in resource.open:
        answer = _lost(resource, answer)
        gateway.answers.put(answer)
    return answer


def _lost(resource: Resource, answer: Answer) -> Answer:
    """One whose process ended before it did."""
    state = resource.make("failed", {"message": "The gateway stopped before the answer was complete."})
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


def _place(items: list[dict[str, Any]], id: str, name: str) -> int:
    for place, item in enumerate(items):
        if item.get("id") == id:
            return place
    raise invalid(f"`{name}` names no item of this list", name)
