"""A wire format: one mapping file, compiled."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from nexeon.errors import MappingError, Problem
from nexeon.mapping import names
from nexeon.mapping.missing import MISSING
from nexeon.mapping.module import Module
from nexeon.mapping.opaque import listed
from nexeon.mapping.policy import LISTED, Policy
from nexeon.mapping.runtime import Transform
from nexeon.mapping.source import Map, Source, plain
from nexeon.mapping.wirefacts import WireFacts, wire_facts

Context = dict[str, Any]
_INDEX: Final = re.compile(r"\[\d+\]")
SECTIONS: Final = {
    "request": ("body", "request"),
    "response": ("body", "response"),
    "stream": ("event", "piece"),
    "error": ("body", "error"),
}
"""Each section's root name when decoding and when encoding."""


class Format:
    """What the mapping file of one format says, as functions. Made by `load_library`.

    Decoding takes parsed JSON and gives the canonical form, encoding the other way round. All raise MappingFailure.
    """

    def __init__(self, source: Source) -> None:
        assert isinstance(source.root, Map)
        data = plain(source.root)
        self.source = source
        self.name: str = data["format"]
        self.data: Mapping[str, Any] = data
        self.params: dict[str, str] = data.get("params", {})
        self.module = self.compiled(source)
        makers = {}
        for section, (decode_root, encode_root) in SECTIONS.items():
            node = source.root.get(section)
            if not isinstance(node, Map):
                continue
            for direction, root in (("decode", decode_root), ("encode", encode_root)):
                template = node.get(direction)
                if template is not None:
                    makers[section, direction] = self.module.add(template, root, f"{section}.{direction}")
        request = source.root.get("request")
        headers = request.get("headers") if isinstance(request, Map) else None
        make_headers = self.module.add(headers, "body", "request.headers") if headers is not None else None
        usage_only = data["wire"].get("stream", {}).get("usage_only")
        make_usage_only = (
            self.module.add_expression(usage_only, source.root.line, "event", "usage_only") if usage_only else None
        )
        try:
            self.wire: WireFacts = wire_facts(data["wire"])
        except ValueError as error:
            self.module.unit.problem(f"wire: {error}", source.root.line)
        self.policy = Policy(data.get("policy", {}), self.name)
        self.module.finish()
        self.transforms: dict[tuple[str, str], Transform] = {key: make() for key, make in makers.items()}
        self._usage_only = make_usage_only() if make_usage_only else None
        self._headers = make_headers() if make_headers else None
        self.decode_request = self._whole("request", "decode")
        self.encode_request = self._whole("request", "encode")
        self.decode_response = self._named(self._whole("response", "decode"))
        self.encode_response = self._whole("response", "encode")
        self.decode_error = self._whole("error", "decode")
        self.encode_error = self._whole("error", "encode")
        self.decode_event = self._many("decode")
        self.encode_piece = self._many("encode")

    def __repr__(self) -> str:
        return f"Format({self.name!r})"

    def compiled(self, source: Source) -> Module:
        """What compiles the file; another kind of format may have another."""
        return Module(source)

    def _transform(self, section: str, direction: str) -> Transform:
        try:
            return self.transforms[section, direction]
        except KeyError:
            raise MappingError([Problem(f"`{section}` has no `{direction}`", self.source.name)]) from None

    def _whole(self, section: str, direction: str) -> Callable[[Any, Context], Any]:
        transform = self._transform(section, direction)

        def run(value: Any, ctx: Context) -> Any:
            result = transform(value, ctx)
            return {} if result is MISSING else result

        return run

    def _named(self, decode: Callable[[Any, Context], Any]) -> Callable[[Any, Context], Any]:
        return lambda value, ctx: names.answer(decode(value, ctx), ctx)

    def _many(self, direction: str) -> Callable[[Any, Context], list[Any]]:
        transform = self._transform("stream", direction)

        def run(value: Any, ctx: Context) -> list[Any]:
            result = transform(value, ctx)
            if type(result) is list:
                return result
            return [] if result is MISSING or result is None else [result]

        return run

    def request_headers(self, body: Any, ctx: Context) -> dict[str, str]:
        """The headers, beside the provider's own, that a request with this body needs. Raises MappingFailure."""
        found = self._headers(body, ctx) if self._headers is not None else MISSING
        return found if type(found) is dict else {}

    def opaque_event(self, event: Any, ctx: Context) -> list[Any]:
        """As `decode_event`, for an event with opaque parts. Raises Touched where they are read."""
        return listed(self._transform("stream", "decode").opaque(event, ctx))

    def opaque_piece(self, piece: Any, ctx: Context) -> list[Any]:
        """As `encode_piece`, for a piece with opaque parts. Raises Touched where they are read."""
        return listed(self._transform("stream", "encode").opaque(piece, ctx))

    def opaque_usage_only(self, event: Any, ctx: Context) -> bool:
        """As `usage_only`, for an event with opaque parts. Raises Touched where they are read."""
        return self._usage_only is not None and self._usage_only.opaque(event, ctx) is True

    def usage_only(self, event: Any, ctx: Context) -> bool:
        """Whether an event exists only because the gateway asked for usage."""
        return self._usage_only is not None and self._usage_only(event, ctx) is True

    def param(self, path: str) -> str:
        """What this format's clients call a canonical path, or else the nearest thing around it that has a name."""
        found = self.params.get(path)
        if found is not None:
            return found
        first, _, rest = path.replace("[*]", "").partition(".")
        if first not in LISTED:
            whole, every, field = path.partition("[*]")
            if every:
                return self.params.get(whole, whole) + every + field
            parts = _INDEX.sub("", path).split(".")
            named = (self.params.get(".".join(parts[:count])) for count in range(len(parts), 0, -1))
            return next((name for name in named if name is not None), path)
        field = rest.rpartition(".")[2]
        return self.params.get(f"{first}[*].{field}", field)

    def lost(self, request: Mapping[str, Any], client: Format) -> tuple[list[str], list[tuple[str, str, Any]]]:
        """What a canonical request loses, in the client's own names: those dropped; and of what is refused the name,
        the message and the part of the request that has it (None: the request itself)."""
        dropped: list[str] = []
        refused: list[tuple[str, str, Any]] = []
        for path, part, message in self.policy.losses(request):
            name = client.param(path)
            if message is None:
                dropped.append(name)
            else:
                refused.append((name, message, part))
        for field, part, message in client.policy.own_losses(request, self.name):
            if message is None:
                dropped.append(field)
            else:
                refused.append((field, message, part))
        return dropped, refused
