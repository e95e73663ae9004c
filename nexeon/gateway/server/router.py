"""Which endpoint a path means, and whose words an error there is told in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from re import Pattern
from typing import Any

from nexeon.errors import RequestError
from nexeon.mapping.format import Format

Handler = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`pattern` is None where `path` stands for itself. `header` narrows it to requests that have that header."""

    path: str
    methods: tuple[str, ...]
    handler: Handler
    format: Format
    pattern: Pattern[str] | None = None
    stream: bool | None = None
    header: str | None = None
    extra: Any = None


@dataclass(frozen=True, slots=True)
class Found:
    endpoint: Endpoint
    path: Mapping[str, str] = field(default_factory=dict)


class Router:
    """Exact paths first, then patterns, each in the order given; the first that fits answers."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._exact: dict[str, list[Endpoint]] = {}
        self._patterns: list[Endpoint] = []
        self._all = list(endpoints)
        for endpoint in endpoints:
            if endpoint.pattern is None:
                self._exact.setdefault(endpoint.path, []).append(endpoint)
            else:
                self._patterns.append(endpoint)

    def find(self, method: str, path: str, headers: Mapping[str, str]) -> Found:
        """Raises RequestError: 404 for a path that nothing serves, 405 where only the method is wrong."""
        allowed: set[str] = set()
        for endpoint in self._exact.get(path, ()):
            if endpoint.header is not None and endpoint.header not in headers:
                continue
            if method in endpoint.methods:
                return Found(endpoint)
            allowed.update(endpoint.methods)
        for endpoint in self._patterns:
            assert endpoint.pattern is not None
            match = endpoint.pattern.match(path)
            if match is None or (endpoint.header is not None and endpoint.header not in headers):
                continue
            if method in endpoint.methods:
                return Found(endpoint, match.groupdict())
            allowed.update(endpoint.methods)
        if allowed:
            raise RequestError(
                405,
                "invalid_request",
                f"{method} is not allowed here: use {' or '.join(sorted(allowed))}",
                code="method_not_allowed",
                retryable=False,
                headers={"allow": ", ".join(sorted(allowed))},
            )
        raise RequestError(404, "not_found", f"there is nothing at {path}", code="not_found", retryable=False)

    def generation(self, path: str, handler: Handler) -> Found | None:
        """The endpoint that a POST to this path means, where that is plain and it is this handler's."""
        exact = self._exact.get(path)
        if exact is not None:
            endpoint = exact[0]
            fits = endpoint.handler is handler and endpoint.header is None and "POST" in endpoint.methods
            return Found(endpoint) if fits else None
        for endpoint in self._patterns:
            assert endpoint.pattern is not None
            if (match := endpoint.pattern.match(path)) is None:
                continue
            fits = endpoint.handler is handler and endpoint.header is None and "POST" in endpoint.methods
            return Found(endpoint, match.groupdict()) if fits else None
        return None

    def speaker(self, path: str, headers: Mapping[str, str]) -> Format:
        """The format whose errors a client at this path understands: that of the endpoint most like it."""
        wanted = path.split("/")

        def likeness(endpoint: Endpoint) -> tuple[bool, int, bool]:
            common = 0
            for ours, theirs in zip(endpoint.path.split("/"), wanted, strict=False):
                if ours != theirs:
                    break
                common += 1
            return endpoint.path == path, common, endpoint.header is not None and endpoint.header in headers

        return max(self._all, key=likeness).format

    def generating(self, handler: Handler) -> list[Endpoint]:
        """The endpoints of one handler."""
        return [endpoint for endpoint in self._all if endpoint.handler is handler]
