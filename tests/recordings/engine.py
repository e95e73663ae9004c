"""A recorded answer through the mappings, without HTTP: decoded as its provider's, encoded for a client."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nexeon.errors import MappingFailure, RequestError
from nexeon.gateway.pipe import set_facts
from nexeon.mapping import Library, StreamDecoder, StreamEncoder, load_library, new_context
from nexeon.wire.json import dumps, loads

from .cases import CHAT, GEMINI, Case

MAPPINGS = Path(__file__).parents[2] / "mappings"
ASKED = "client-model"


@cache
def library() -> Library:
    return load_library([MAPPINGS])


def client_body(client: str, *, stream: bool, usage: bool = True) -> dict[str, Any]:
    """The little that answers depend on of a client's request."""
    body: dict[str, Any] = {} if client == GEMINI else {"model": ASKED}
    if stream and client != GEMINI:
        body["stream"] = True
        if client == CHAT and usage:
            body["stream_options"] = {"include_usage": True}
    return body


def contexts(case: Case, client: str, *, usage: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """The provider's side and the client's."""
    dialect = library().dialect(case.provider, case.format, case.model)
    common = {"model": ASKED, "stream": case.stream, "token": "0123456789abcdef01234567", "now": 1_790_000_000}
    common |= {"provider": case.provider, "upstream_model": case.model}
    provider_side = new_context(format=case.format, profile=dialect.profile, account="a1", **common)
    client_side = new_context(format=client, body=client_body(client, stream=case.stream, usage=usage), **common)
    return provider_side, client_side


def answer(case: Case, client: str) -> dict[str, Any]:
    """A JSON answer as the client gets it."""
    ctx, client_ctx = contexts(case, client)
    dialect = library().dialect(case.provider, case.format, case.model)
    canonical = library().formats[case.format].decode_response(dialect.response(case.body, ctx), ctx)
    return loads(dumps(library().formats[client].encode_response(canonical, client_ctx)))


def stream(case: Case, client: str, *, usage: bool = True) -> list[dict[str, Any]]:
    """A streamed answer's events as the client gets them."""
    return stream_of(case, client, list(case.events()), usage=usage)


def stream_of(case: Case, client: str, events: list[Any], *, usage: bool = True) -> list[dict[str, Any]]:
    ctx, client_ctx = contexts(case, client, usage=usage)
    dialect = library().dialect(case.provider, case.format, case.model)
    decoder = StreamDecoder(library().formats[case.format], ctx, dialect.event)
    encoder = StreamEncoder(library().formats[client], client_ctx)
    out: list[Any] = []
    for event in events:
        out += encoder.encode(decoder.feed(event))
    out += encoder.encode(decoder.end())
    if decoder.failed is not None:
        raise AssertionError(f"the stream was taken for a failed one: {decoder.failed}")
    return loads(dumps(out))


@dataclass(frozen=True)
class Upstream:
    """A body for a provider, and the names of what did not get into it; `refused`: why there is none."""

    body: dict[str, Any]
    dropped: list[str]
    refused: str | None = None


def upstream(case: Case, provider: str | None, target: str, model: str) -> Upstream:
    """A recorded request as another format's provider gets it (None: the format alone, without any dialect)."""
    dialect = library().dialect(provider, target, model)
    client, to = library().formats[case.format], library().formats[target]
    common = {"model": ASKED, "stream": case.stream, "token": "0123456789abcdef01234567", "now": 1_790_000_000}
    ctx = new_context(format=case.format, body=case.request, **common)
    upstream_ctx = new_context(
        format=target, profile=dialect.profile, provider=provider or "p", account="a1", upstream_model=model,
        limits={"max_output_tokens": 32_000}, **common,
    )  # fmt: skip
    try:
        canonical = client.decode_request(case.request, ctx)
        dropped, refused = to.lost(canonical, client)
        if refused:
            return Upstream({}, [], f"{refused[0][0]}: {refused[0][1]}")
        body = to.encode_request(canonical, upstream_ctx)
        body = set_facts(body, dialect.wire.request, model=model, stream=case.stream, ask_usage=False)
        body = dialect.request(body, upstream_ctx)
    except (RequestError, MappingFailure) as error:
        return Upstream({}, [], str(error))
    return Upstream(loads(dumps(body)), [*ctx["dropped"], *dropped, *upstream_ctx["dropped"]])
