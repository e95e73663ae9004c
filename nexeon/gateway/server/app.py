"""The Quart app: HTTP in, `Incoming`; `Reply` out, HTTP. Errors leave in the words of the client's format."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Final

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart import Quart, Request, Response, request
from quart.asgi import ASGIHTTPConnection
from quart.utils import cancel_tasks, raise_task_exceptions
from quart.wrappers.response import ResponseBody
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.routing import Rule

from nexeon.config import Config
from nexeon.errors import NexeonError, RequestError
from nexeon.gateway.errors import error_body, error_headers
from nexeon.gateway.gateway import Gateway
from nexeon.gateway.server.compiled import compiled
from nexeon.gateway.server.direct import Call, Left, incoming_from, too_slow
from nexeon.gateway.server.endpoints import METHODS
from nexeon.gateway.server.router import Found
from nexeon.gateway.services import Services, shutting_down
from nexeon.gateway.transport import TransportFactory
from nexeon.gateway.way import Incoming, Reply, generate
from nexeon.mapping import Format, Library
from nexeon.store import Store
from nexeon.store.requests import RequestLog

_PATIENCE: Final = 10
"""So many times `server.body_wait` is what a body may take that the framework reads."""

_FRAMEWORK: Final = frozenset(METHODS) - {"POST", "OPTIONS"}
"""The methods that Quart handles: its own answers to others are in nobody's format."""

_MODEL: Final = "x-nexeon-model"
_SERVICES: Final = "nexeon.services"
_log = logging.getLogger("nexeon.gateway")


def create_app(
    config: Config,
    library: Library,
    store: Store,
    *,
    transport: TransportFactory | None = None,
    log: RequestLog | None = None,
) -> Quart:
    """The app over an open store, which it does not close. `services_of(app)` gives what is behind it.

    Raises MappingError where the configuration names a format or dialect that the library does not have.
    """
    services = Services(config, store, transport=transport, log=log)
    services.current = Gateway(config, compiled(library), services)
    return make_app(services)


def make_app(services: Services) -> Quart:
    """The app over services that have a gateway."""
    app = _App(services)
    app.request_class = _Request
    app.asgi_http_class = _Connection
    limit = services.current.config.server.body_limit
    app.config.update(MAX_CONTENT_LENGTH=limit, BODY_TIMEOUT=None, RESPONSE_TIMEOUT=None)
    app.extensions[_SERVICES] = services
    app.before_serving(services.start)
    app.after_serving(services.stop)

    async def dispatch(path: str = "") -> Response:
        return await _dispatch(services.current)

    app.url_map.merge_slashes = False
    app.view_functions["dispatch"] = dispatch
    for rule in ("/", "/<path:path>"):
        app.url_map.add(Rule(rule, endpoint="dispatch", methods=METHODS, merge_slashes=False, strict_slashes=False))
    return app


class _App(Quart):
    """Answers what generates something without Quart's own request and response; all else as Quart does."""

    def __init__(self, services: Services) -> None:
        super().__init__("nexeon", static_folder=None)
        self._services = services

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._services.draining and scope["type"] == "http" and scope["http_version"].startswith("1"):
            send = _closing(send)
        if scope["type"] == "http" and scope["method"] not in _FRAMEWORK:
            gateway = self._services.current
            post = scope["method"] == "POST"
            found = gateway.router.generation(scope["path"], generate) if post else None
            if found is not None or not post:
                server = gateway.config.server
                answer = partial(_reply, gateway, found=found)
                await Call(answer, receive, send, limit=server.body_limit, wait=server.body_wait).run(scope)
                return
        await super().__call__(scope, receive, send)


def _closing(send: Any) -> Any:
    """Tells the client to connect anew for its next request."""

    async def closing(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return closing


def services_of(app: Quart) -> Services:
    """What is behind an app made here."""
    services = app.extensions[_SERVICES]
    assert isinstance(services, Services)
    return services


def gateway_of(app: Quart) -> Gateway:
    """The configuration that answers what comes now."""
    return services_of(app).current


async def _dispatch(gateway: Gateway) -> Response:
    current = request._get_current_object()  # type: ignore[attr-defined]

    async def body() -> bytes:
        try:
            async with asyncio.timeout(_PATIENCE * gateway.config.server.body_wait):
                return bytes(await current.body)
        except TimeoutError:
            raise too_slow() from None

    reply = await _reply(gateway, replace(incoming_from(current.scope, body), path=current.path))
    if isinstance(reply.body, bytes):
        return Response(reply.body, reply.status, reply.headers)
    current.close_stream = reply.close
    return Response(_StreamBody(reply.body), reply.status, reply.headers)


async def _reply(gateway: Gateway, incoming: Incoming, found: Found | None = None) -> Reply:
    """The answer to any request, errors included; its headers are complete. `found` is its endpoint, where that is
    known."""
    router = gateway.router
    method = "GET" if incoming.method == "HEAD" else incoming.method
    speaker: Format | None = None
    label = ""

    def told(error: Exception) -> Reply:
        tracer = gateway.recorder.tracer
        if tracer is not None and label and isinstance(error, RequestError) and _MODEL not in error.headers:
            tracer.refused(incoming.headers, found.endpoint.path if found is not None else "", error)
        return _error_reply(error, gateway, speaker or router.speaker(incoming.path, incoming.headers), incoming)

    task = asyncio.current_task()
    assert task is not None
    gateway.waiting.add(task)
    try:
        if found is None:
            found = router.find(method, incoming.path, incoming.headers)
        speaker = found.endpoint.format
        label = speaker.name if found.endpoint.handler is generate else ""
        reply: Reply = await found.endpoint.handler(gateway, incoming, found.endpoint, found.path)
    except (NexeonError, RequestEntityTooLarge) as error:
        reply = told(error)
    except Left:
        raise
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
    return reply


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
