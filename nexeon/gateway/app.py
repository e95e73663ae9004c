"""The Quart app: HTTP in, `Incoming`; `Reply` out, HTTP. Errors leave in the words of the client's format."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final
from urllib.parse import parse_qsl

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart import Quart, Request, Response, request
from quart.asgi import ASGIHTTPConnection
from quart.utils import cancel_tasks, raise_task_exceptions
from quart.wrappers.response import ResponseBody
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.routing import Rule

from nexeon.admin.http import PREFIX
from nexeon.config import Config
from nexeon.errors import MappingError, NexeonError, Problem, RequestError
from nexeon.gateway import pages
from nexeon.gateway.catalog import load_catalogs
from nexeon.gateway.compact import compact_endpoint
from nexeon.gateway.counting import load_counters
from nexeon.gateway.errors import error_body, error_headers
from nexeon.gateway.gateway import Gateway, shutting_down
from nexeon.gateway.kept import endpoints
from nexeon.gateway.router import Endpoint, Router
from nexeon.gateway.upstream import TransportFactory
from nexeon.gateway.way import Incoming, Reply, generate
from nexeon.mapping import Format, Library
from nexeon.store import Store
from nexeon.store.requests import RequestLog

_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_ADMIN: Final = re.compile(re.escape(PREFIX) + r"/.*\Z")
_GATEWAY: Final = "nexeon.gateway"
_log = logging.getLogger("nexeon.gateway")


def create_app(
    config: Config,
    library: Library,
    store: Store,
    *,
    transport: TransportFactory | None = None,
    log: RequestLog | None = None,
) -> Quart:
    """The app over an open store, which it does not close. `gateway_of(app)` gives its services.

    Raises MappingError where the configuration names a format or dialect that the library does not have.
    """
    gateway = Gateway(config, library, store, transport=transport, log=log)
    kept = [
        endpoint
        for resource in gateway.resources.values()
        for endpoint in (*endpoints(resource), compact_endpoint(resource))
    ]
    router = Router([*_endpoints(config, library), *kept])
    for model in config.models.values():
        for name in {endpoint.format.name for endpoint in router.generating(generate)}:
            gateway.plans(model, library.format(name))
    app = Quart("nexeon", static_folder=None)
    app.request_class = _Request
    app.asgi_http_class = _Connection
    app.config.update(MAX_CONTENT_LENGTH=config.server.body_limit, BODY_TIMEOUT=None, RESPONSE_TIMEOUT=None)
    app.extensions[_GATEWAY] = gateway
    app.before_serving(gateway.start)
    app.after_serving(gateway.stop)

    async def dispatch(path: str = "") -> Response:
        return await _dispatch(gateway, router)

    app.url_map.merge_slashes = False
    app.view_functions["dispatch"] = dispatch
    for rule in ("/", "/<path:path>"):
        app.url_map.add(Rule(rule, endpoint="dispatch", methods=_METHODS, merge_slashes=False, strict_slashes=False))
    return app


def gateway_of(app: Quart) -> Gateway:
    """The services behind an app made by `create_app`."""
    gateway = app.extensions[_GATEWAY]
    assert isinstance(gateway, Gateway)
    return gateway


def _endpoints(config: Config, library: Library) -> list[Endpoint]:
    endpoints = [
        Endpoint(
            path=route.path,
            methods=route.methods,
            handler=generate,
            format=library.format(route.format),
            pattern=route.pattern if "{" in route.path else None,
            stream=route.stream,
        )
        for route in config.routes
    ]
    speaker = endpoints[0].format if endpoints else next(iter(library.formats.values()), None)
    if speaker is None:
        raise MappingError([Problem("no mapping folder holds a format")])
    endpoints += load_catalogs(library)
    endpoints += load_counters(library)
    for path, handler in (
        ("/v1/me", pages.me),
        ("/v1/usage", pages.usage),
        ("/healthz", pages.healthz),
        ("/readyz", pages.readyz),
        ("/metrics", pages.metrics),
    ):
        endpoints.append(Endpoint(path, ("GET",), handler, speaker))
    if config.admin.token is not None:
        endpoints.append(Endpoint(PREFIX, tuple(_METHODS), pages.admin, speaker, _ADMIN))
    return endpoints


async def _dispatch(gateway: Gateway, router: Router) -> Response:
    incoming = _incoming(request)
    method = "GET" if incoming.method == "HEAD" else incoming.method
    speaker: Format | None = None
    label = ""

    def told(error: Exception) -> Reply:
        return _error_reply(error, gateway, speaker or router.speaker(incoming.path, incoming.headers), incoming)

    task = asyncio.current_task()
    assert task is not None
    gateway.waiting.add(task)
    try:
        found = router.find(method, incoming.path, incoming.headers)
        speaker = found.endpoint.format
        label = speaker.name if found.endpoint.handler is generate else ""
        reply = await found.endpoint.handler(gateway, incoming, found.endpoint, found.path)
    except (NexeonError, RequestEntityTooLarge) as error:
        reply = told(error)
    except asyncio.CancelledError:
        if not gateway.ending:
            raise
        reply = told(shutting_down())
    except Exception as error:
        _log.exception("%s: a request failed", incoming.id)
        reply = told(error)
    finally:
        gateway.waiting.discard(task)
    headers = reply.headers
    gateway.metrics.answered(
        label, headers.get("x-nexeon-provider", ""), headers.get("x-nexeon-model", ""), reply.status
    )
    headers["x-request-id"] = incoming.id
    headers["content-type"] = reply.content_type
    if isinstance(reply.body, bytes):
        return Response(reply.body, reply.status, headers)
    current = request._get_current_object()  # type: ignore[attr-defined]
    current.close_stream = reply.close
    return Response(_StreamBody(reply.body), reply.status, headers)


def _incoming(current: Request) -> Incoming:
    scope = current.scope
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query_string = scope["query_string"].decode("latin-1")
    query = dict(parse_qsl(query_string, keep_blank_values=True)) if query_string else {}

    async def body() -> bytes:
        return bytes(await current.body)

    client = scope.get("client")
    ip = client[0] if client else None
    raw_path = scope["raw_path"].decode("latin-1")
    id = "req_" + secrets.token_hex(12)
    return Incoming(id, current.method, current.path, headers, query, body, ip, raw_path, query_string)


def _error_reply(error: Exception, gateway: Gateway, speaker: Format, incoming: Incoming) -> Reply:
    if isinstance(error, RequestEntityTooLarge):
        limit = gateway.config.server.body_limit
        told = RequestError(413, "too_large", f"the body is larger than {limit} bytes", retryable=False)
    elif isinstance(error, RequestError):
        told = error
    else:
        if isinstance(error, NexeonError):
            _log.error("%s: %s", incoming.id, error)
        told = RequestError(500, "internal", "the gateway failed at this request", code="internal_error")
    return Reply(told.status, error_body(speaker, told, incoming.id), headers=error_headers(told))


class _Request(Request):
    """Remembers how to end the stream that answers it."""

    close_stream: Any = None


class _Connection(ASGIHTTPConnection):
    """Ends a stream however its request ends: also where the client left before the first byte was sent."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """As Quart's own, but a cancelled connection (the server stops) takes its handler with it."""
        request = self._create_request_from_scope(send)
        tasks = {
            asyncio.ensure_future(self.handle_messages(request, receive)),
            asyncio.ensure_future(self.handle_request(request, send)),
        }
        try:
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await cancel_tasks(tasks)
            raise
        await cancel_tasks(pending)
        raise_task_exceptions(done)

    async def handle_request(self, request: Request, send: ASGISendCallable) -> None:
        try:
            await super().handle_request(request, send)
        finally:
            close = getattr(request, "close_stream", None)
            if close is not None:
                close()


class _StreamBody(ResponseBody):
    """A stream as Quart wants it."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await asyncio.shield(close())
