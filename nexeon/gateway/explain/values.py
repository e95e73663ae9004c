"""Every value of an output with where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nexeon.mapping.provenance import Origin, Recorder, joined


@dataclass(frozen=True, slots=True)
class Value:
    """`path` in the output; `sources` are paths in the input (`ctx.…`: what the gateway knows of the request), `lines`
    the mapping lines it went through, `file:line`, in their order.

    `how`: "same" (the input's value as it was), "made" (of what the sources say), "constant" (the mapping's own), or
    "gateway" (put in by neither).
    """

    path: str
    how: str
    sources: list[str]
    lines: list[str]

    def view(self) -> dict[str, Any]:
        return {"path": self.path, "how": self.how, "from": self.sources, "lines": self.lines}


def values_of(recorder: Recorder, tree: Any) -> list[Value]:
    """The values of a tree that traced mappings made. A part that came from the input whole is one value."""
    return list(_below(recorder, tree, "", [])) if type(tree) in (dict, list) else []


def _below(recorder: Recorder, container: Any, path: str, above: list[str]) -> Iterator[Value]:
    for key, item in container.items() if type(container) is dict else enumerate(container):
        place = joined(path, key)
        origin = recorder.origin(container, key)
        if type(item) in (dict, list) and item and recorder.path(item) is None:
            yield from _below(recorder, item, place, origin.lines or above)
            continue
        if type(item) in (dict, list) and recorder.path(item) is not None:
            origin.same = True
            origin.sources = origin.sources or [recorder.path(item) or ""]
        origin.lines = origin.lines or above
        yield Value(place, _how(origin), origin.sources, origin.lines)


def _how(origin: Origin) -> str:
    if origin.same:
        return "same"
    if origin.sources:
        return "made"
    return "constant" if origin.lines else "gateway"
