"""A long conversation made short: what the user said, and a summary of the rest that any model can go on from."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nexeon.errors import MappingFailure, RequestError
from nexeon.gateway.answers.resource import Resource
from nexeon.gateway.answers.turns import SUMMARY, begin, check_served
from nexeon.gateway.authenticate import authenticate
from nexeon.gateway.failure import bad_gateway
from nexeon.gateway.server.router import Endpoint
from nexeon.gateway.way import Incoming, Reply, generate, read_body
from nexeon.mapping import new_context
from nexeon.mapping.seals import close_envelope
from nexeon.wire.json import dumps, loads

if TYPE_CHECKING:
    from nexeon.gateway.gateway import Gateway


def compact_endpoint(resource: Resource) -> Endpoint:
    return Endpoint(f"{resource.path}/compact", ("POST",), compact, resource.format, extra=resource)


async def compact(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """`POST …/compact`: the model that the request names writes the summary, and is paid for it."""
    resource: Resource = endpoint.extra
    format = resource.format
    _, account = authenticate(gateway, incoming, format.wire.request.key_query, write=True)
    body = read_body(incoming.headers, await incoming.body())
    check_served(resource, body)
    turn = await begin(gateway, resource, account.id, body, always=True)
    assert turn is not None
    asked = dumps(resource.make("compact", resource.request["input"].put(turn.body, turn.items)))

    async def read() -> bytes:
        return asked

    whole = Endpoint(resource.path, ("POST",), generate, format)
    reply = await generate(gateway, replace(incoming, body=read), whole, path)
    assert isinstance(reply.body, bytes)
    answer = loads(reply.body)
    facts = {
        "id": secrets.token_hex(12),
        "created": int(time.time()),
        "items": turn.raw,
        "summary": close_envelope({"format": format.name, "kind": SUMMARY, "data": _text(resource, answer)}),
        "answer": answer,
    }
    return Reply(200, dumps(resource.make("compacted", facts)), headers=reply.headers)


def _text(resource: Resource, answer: Any) -> str:
    """What the model wrote. Raises RequestError 502 where it wrote nothing."""
    try:
        canonical = resource.format.decode_response(answer, new_context(format=resource.format.name))
    except MappingFailure as failure:
        raise RequestError(500, "internal", f"the summary cannot be read: {failure.message}") from failure
    text = "".join(block["text"] for block in canonical.get("blocks", ()) if block.get("type") == "text")
    if not text:
        raise bad_gateway("the model gave no summary")
    return text
