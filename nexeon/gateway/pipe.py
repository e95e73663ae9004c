"""Same format on both sides: the client's own body goes up with declared patches, the answer comes down as it came."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nexeon.mapping import MISSING
from nexeon.mapping.identifiers import gateway_id, provider_id
from nexeon.mapping.paths import Path
from nexeon.mapping.seals import open_envelope, usable
from nexeon.mapping.wirefacts import IdPlace, RequestFacts
from nexeon.wire.json import dumps


def upstream_body(
    body: dict[str, Any],
    facts: RequestFacts,
    *,
    format_name: str,
    provider: str,
    account: str,
    model: str | None = None,
) -> dict[str, Any]:
    """The client's body as the provider may have it: our marks taken out of ids, our envelopes opened.

    What the gateway sets in every body (model, usage option, forced fields) comes after.
    """
    body = unmarked(body, facts)
    for place in facts.seals:
        if place.path.get(body) is MISSING:
            continue

        def open_seal(value: Any) -> Any:
            """The maker's own text; MISSING for what another one made, or the same one in another format."""
            if type(value) is not str or (seal := open_envelope(value)) is None:
                return value
            if seal.get("format") != format_name:
                return MISSING
            mine = usable(seal, provider=provider, account=account, format_name=format_name, model=model)
            return seal["data"] if mine else MISSING

        if place.item is None:
            body = _pruned(place.path.change(body, open_seal), place.path)
            continue
        inner = Path(place.path.text[len(place.item.text) :].lstrip("."))

        def open_item(item: Any, inner: Path = inner) -> Any:
            value = inner.get(item)
            opened = open_seal(value)
            if opened is value:
                return item
            return MISSING if opened is MISSING else inner.put(item, opened)

        body = place.item.change(body, open_item)
    return body


def unmarked(body: Any, facts: RequestFacts) -> Any:
    """A request with the provider's own ids, where the client has them with the gateway's mark."""
    for path in facts.ids:
        body = path.change(body, _unmarked)
    return body


def _pruned(body: Any, path: Path) -> Any:
    """Without the maps that only led to what was taken out."""
    text = path.text
    while (text := text.rpartition(".")[0]) and not text.endswith("]"):
        body = Path(text).change(body, lambda value: MISSING if value == {} else value)
    return body


def set_facts(
    body: dict[str, Any], facts: RequestFacts, *, model: str, stream: bool, ask_usage: bool
) -> dict[str, Any]:
    """What the gateway sets in every upstream body of a format, piped or translated."""
    if facts.model is not None and facts.model.get(body) != model:
        body = facts.model.put(body, model)
    if facts.stream is not None and stream and facts.stream.get(body) is not True:
        body = facts.stream.put(body, True)
    if ask_usage:
        for path, value in facts.usage_set:
            body = path.put(body, _merged(path.get(body), value))
    for path, value in facts.force:
        body = path.put(body, value)
    return body


def _merged(old: Any, new: Any) -> Any:
    if type(old) is dict and type(new) is dict:
        return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    return new


def asked_for_usage(facts: RequestFacts, body: dict[str, Any]) -> bool:
    """Whether the client wants to see usage in its stream; true where its format always has it."""
    return facts.usage_asked is None or facts.usage_asked.get(body) is True


def marked(body: Any, places: tuple[IdPlace, ...]) -> Any:
    """An answer or an event with the gateway's mark in its ids."""
    for place in places:
        body = place.path.change(body, partial(_marked, place.prefix))
    return body


class EventMarker:
    """Marks the ids of a stream's events. Where an event's JSON has them in their places only, the rest of it stays
    byte for byte."""

    __slots__ = ("_deep", "_known", "_plain")

    def __init__(self, places: tuple[IdPlace, ...]) -> None:
        self._plain = [(str(place.path.steps[0]), place.prefix) for place in places if len(place.path.steps) == 1]
        self._deep = [(place.path.steps[0], place) for place in places if len(place.path.steps) > 1]
        self._known: dict[str, tuple[bytes, bytes]] = {}

    def mark(self, body: dict[str, Any], data: bytes) -> bytes | None:
        """The event's JSON with marked ids; None where `body` has to be written anew after `marked`."""
        times: dict[str, int] = {}
        for key, prefix in self._plain:
            if key in body and type(value := body[key]) is str and value and value.startswith(prefix):
                times[value] = times.get(value, 0) + 1
        for first, place in self._deep:
            if first in body:
                for value in place.path.all(body):
                    if type(value) is str and value and value.startswith(place.prefix):
                        times[value] = times.get(value, 0) + 1
        for value, count in times.items():
            swap = self._known.get(value)
            if swap is None:
                swap = self._known[value] = dumps(value), dumps(gateway_id(value))
            if data.count(swap[0]) != count:
                return None
            data = data.replace(*swap)
        return data


def getter(path: Path) -> Callable[[Any], Any]:
    """`path.get` for a path that is read in every event."""
    if len(path.steps) > 1:
        return path.get
    key = path.steps[0]
    return lambda body: body.get(key, MISSING) if type(body) is dict else MISSING


def _marked(prefix: str, value: Any) -> Any:
    return gateway_id(value) if type(value) is str and value and value.startswith(prefix) else value


def _unmarked(value: Any) -> Any:
    return provider_id(value) if type(value) is str else value
