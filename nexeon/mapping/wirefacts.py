"""How a format travels: the `wire` section of a format file, ready for use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from nexeon.mapping.paths import Path


def _paths(texts: Any) -> tuple[Path, ...]:
    return tuple(Path(text) for text in texts or ())


@dataclass(frozen=True, slots=True)
class IdPlace:
    """Where an answer has an id that gets the gateway's mark, if it begins so."""

    path: Path
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class SealPlace:
    """Where a client may send back an envelope; a foreign one loses its `field`, or the whole list `item` around it."""

    path: Path
    item: Path | None


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """`wire.request`."""

    path: str
    stream_path: str
    model: Path | None
    stream: Path | None
    usage_asked: Path | None
    usage_set: tuple[tuple[Path, Any], ...]
    force: tuple[tuple[Path, Any], ...]
    objects: tuple[Path, ...]
    ids: tuple[Path, ...]
    seals: tuple[SealPlace, ...]
    calls: tuple[Path, ...]
    materialise: frozenset[str]
    answers: tuple[Path, ...]
    max_tokens: tuple[Path, ...]
    key_query: str | None
    key_header: str | None
    cache_key: Path | None = None
    service_tier: tuple[Path, ...] = ()
    headers: tuple[str, ...] = ()
    fetches: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unpiped: tuple[tuple[Path, frozenset[str]], ...] = ()

    def url_path(self, model: str, *, stream: bool) -> str:
        """What comes after the provider's base URL, the upstream model's name put in."""
        template = self.stream_path if stream else self.path
        return template.replace("{{ model }}", quote(model, safe="/:@"))


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """`wire.stream`."""

    event: str | None
    done: str | None
    ids: tuple[IdPlace, ...]
    usage_only: str | None
    usage_field: Path | None
    cost: Path | None
    ping: Mapping[str, Any]
    serial: bool
    group: frozenset[str]
    skip: frozenset[str]
    results: bool
    dense: bool
    late_citations: bool
    number: str | None
    array_query: str | None
    array_sse: str | None


@dataclass(frozen=True, slots=True)
class LimitNames:
    """Header names of one limited unit, requests or tokens."""

    limit: str
    remaining: str
    reset: str


@dataclass(frozen=True, slots=True)
class LimitFacts:
    """`wire.limits`: the headers in which a format's clients look for rate limits, and how they write a reset."""

    reset: str
    requests: LimitNames | None
    tokens: LimitNames | None


@dataclass(frozen=True, slots=True)
class WireFacts:
    """`wire`."""

    request: RequestFacts
    stream: StreamFacts
    response_ids: tuple[IdPlace, ...] = field(default=())
    limits: LimitFacts | None = None


def wire_facts(data: Mapping[str, Any]) -> WireFacts:
    """The facts of a `wire` section that its schema has accepted; raises ValueError for a bad path."""
    request = data["request"]
    stream = data.get("stream", {})
    usage = request.get("usage", {})
    array = stream.get("array", {})
    model = request.get("model")
    flag = request.get("stream")
    usage_field = stream.get("usage_field")
    return WireFacts(
        request=RequestFacts(
            path=request["path"],
            stream_path=request.get("stream_path", request["path"]),
            model=Path(model) if model else None,
            stream=Path(flag) if flag else None,
            usage_asked=Path(usage["asked"]) if "asked" in usage else None,
            usage_set=tuple((Path(path), value) for path, value in usage.get("set", {}).items()),
            force=tuple((Path(path), value) for path, value in request.get("force", {}).items()),
            objects=_paths(request.get("objects")),
            ids=_paths(request.get("ids")),
            seals=tuple(_seal_place(place) for place in request.get("seals", ())),
            calls=_paths(request.get("calls")),
            materialise=frozenset(request.get("materialise", ())),
            answers=_paths(request.get("answers")),
            max_tokens=_paths(request.get("max_tokens")),
            key_query=request.get("key_query"),
            key_header=request.get("key_header"),
            cache_key=Path(request["cache_key"]) if "cache_key" in request else None,
            service_tier=_paths(request.get("service_tier")),
            headers=tuple(request.get("headers", ())),
            fetches={kind: frozenset(types) for kind, types in request.get("fetches", {}).items()},
            unpiped=tuple((Path(path), frozenset(words)) for path, words in request.get("unpiped", {}).items()),
        ),
        stream=StreamFacts(
            event=stream.get("event"),
            done=stream.get("done"),
            ids=_id_places(stream.get("ids")),
            usage_only=stream.get("usage_only"),
            usage_field=Path(usage_field) if usage_field else None,
            cost=Path(stream["cost"]) if "cost" in stream else None,
            ping=stream.get("ping", {}),
            serial=stream.get("serial", False),
            group=frozenset(stream.get("group", ())),
            skip=frozenset(stream.get("skip", ())),
            results=stream.get("results", False),
            dense=stream.get("dense", False),
            late_citations=stream.get("late_citations", False),
            number=stream.get("number"),
            array_query=array.get("query"),
            array_sse=array.get("sse"),
        ),
        response_ids=_id_places(data.get("response", {}).get("ids")),
        limits=_limit_facts(data["limits"]) if "limits" in data else None,
    )


def _limit_facts(data: Mapping[str, Any]) -> LimitFacts:
    names = {unit: LimitNames(**data[unit]) if unit in data else None for unit in ("requests", "tokens")}
    return LimitFacts(data["reset"], names["requests"], names["tokens"])


def _id_places(entries: Any) -> tuple[IdPlace, ...]:
    return tuple(
        IdPlace(Path(entry)) if type(entry) is str else IdPlace(Path(entry["path"]), entry["prefix"])
        for entry in entries or ()
    )


def _seal_place(place: Mapping[str, Any]) -> SealPlace:
    path: str = place["path"]
    item = path.rsplit("[*]", 1)[0] + "[*]" if place.get("foreign") == "item" and "[*]" in path else None
    return SealPlace(Path(path), Path(item) if item else None)
