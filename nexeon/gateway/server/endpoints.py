"""Everything that a gateway answers, by path."""

from __future__ import annotations

import re
from typing import Final

from nexeon.admin.http import PREFIX
from nexeon.config import Config
from nexeon.errors import MappingError, Problem
from nexeon.gateway.answers.compact import compact_endpoint
from nexeon.gateway.answers.kept import endpoints as kept_endpoints
from nexeon.gateway.server import pages
from nexeon.gateway.server.compiled import Compiled
from nexeon.gateway.server.router import Endpoint, Router
from nexeon.gateway.way import generate

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_ADMIN: Final = re.compile(re.escape(PREFIX) + r"/.*\Z")


def make_router(config: Config, made: Compiled) -> Router:
    """Raises MappingError where the configuration names a format that the library does not have."""
    endpoints = [
        Endpoint(
            path=route.path,
            methods=route.methods,
            handler=generate,
            format=made.library.format(route.format),
            pattern=route.pattern if "{" in route.path else None,
            stream=route.stream,
        )
        for route in config.routes
    ]
    speaker = endpoints[0].format if endpoints else next(iter(made.library.formats.values()), None)
    if speaker is None:
        raise MappingError([Problem("no mapping folder holds a format")])
    endpoints += made.endpoints
    for path, handler in (
        ("/v1/me", pages.me),
        ("/v1/usage", pages.usage),
        ("/healthz", pages.healthz),
        ("/readyz", pages.readyz),
        ("/metrics", pages.metrics),
    ):
        endpoints.append(Endpoint(path, ("GET",), handler, speaker))
    if config.admin.token is not None:
        endpoints.append(Endpoint(PREFIX, METHODS, pages.admin, speaker, _ADMIN))
    for resource in made.resources.values():
        endpoints += [*kept_endpoints(resource), compact_endpoint(resource)]
    return Router(endpoints)
