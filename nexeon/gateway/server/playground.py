"""Requests in any client format, and what their answers say, for those who try a model through the admin service."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from nexeon.config import Route
from nexeon.errors import AdminError
from nexeon.gateway import pipe
from nexeon.gateway.services import Services
from nexeon.mapping import Format, StreamDecoder
from nexeon.mapping.context import new_context
from nexeon.wire.json import JSONError, loads
from nexeon.wire.sse import SSEParser

Answer = dict[str, Any]


class ClientFormats:
    """Implements `nexeon.admin.playground.Formats`, by the configuration that is served at the time."""

    def __init__(self, services: Services, url: str) -> None:
        """`url` is where the gateway answers."""
        self._services = services
        self._url = url

    def names(self) -> list[Answer]:
        routes: dict[str, bool] = {}
        for route in self._services.current.config.routes:
            if "POST" in route.methods:
                routes[route.format] = routes.get(route.format, False) or route.stream is not False
        return [{"id": name, "stream": stream} for name, stream in routes.items()]

    def compose(self, name: str, canonical: dict[str, Any], *, stream: bool) -> Answer:
        gateway = self._services.current
        model = gateway.config.model(canonical["model"])
        limit = model.max_output_tokens if model is not None else None
        format, route = self._format(name), self._route(name, stream)
        wire = format.wire
        ctx = new_context(
            format=name,
            model=canonical["model"],
            upstream_model=canonical["model"],
            stream=stream,
            limits={"max_output_tokens": limit} if limit is not None else {},
        )
        body = format.encode_request({**canonical, "stream": stream}, ctx)
        body = pipe.set_facts(body, wire.request, model=canonical["model"], stream=stream, ask_usage=stream)
        path = route.path.replace("{model}", quote(canonical["model"], safe=""))
        query = {}
        if stream and wire.stream.array_query is not None:
            query[wire.stream.array_query] = wire.stream.array_sse or ""
        headers = {"content-type": "application/json", **format.request_headers(body, ctx)}
        return {"url": self._url + path + (f"?{urlencode(query)}" if query else ""), "headers": headers, "body": body}

    def read(self, name: str, model: str, text: str, *, stream: bool, status: int) -> Answer:
        format = self._format(name)
        ctx = new_context(format=name, model=model, upstream_model=model, stream=stream)
        if status >= 400:
            return {"blocks": [], "error": format.decode_error(_parsed(text), new_context(format=name, status=status))}
        if not stream:
            return _told(format.decode_response(_parsed(text), ctx))
        decoder = StreamDecoder(format, ctx)
        for event in SSEParser().feed(text.encode()):
            try:
                decoder.feed(loads(event.data))
            except JSONError:
                continue  # the word that ends some streams
        told = _told(decoder.response)
        return told if decoder.failed is None else {**told, "error": decoder.failed}

    def _format(self, name: str) -> Format:
        library = self._services.current.library
        if name not in library.formats:
            raise AdminError(f"no format `{name}`: known are {', '.join(sorted(library.formats))}")
        return library.format(name)

    def _route(self, name: str, stream: bool) -> Route:
        for route in self._services.current.config.routes:
            if route.format == name and "POST" in route.methods and route.stream in (None, stream):
                return route
        raise AdminError(f"no route serves `{name}` {'as a stream' if stream else 'as one answer'}")


def _parsed(text: str) -> Any:
    try:
        return loads(text.encode())
    except JSONError as error:
        raise AdminError(f"the answer is not JSON: {error}") from None


def _told(response: Answer) -> Answer:
    return {name: response[name] for name in ("blocks", "finish", "usage") if name in response}
