"""What two configurations say differently, and what of it takes a new start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from nexeon.config.model import Config

FIXED: Final = {
    "server.host": "the address is bound before the first request",
    "server.port": "the address is bound before the first request",
    "server.workers": "workers are forked before the first request",
    "store": "the credit of calls under way is held there",
    "admin.socket": "commands look for the gateway there",
    "limits.url": "the places and tokens of calls under way are counted there",
}
"""What a running gateway cannot change, and why."""

_ABSENT: Final = object()
_LONGEST: Final = 100


@dataclass(frozen=True, slots=True)
class Change:
    """`kind` is added, removed or changed; `old` and `new` are JSON values, None where there is none. `restart`: a
    running gateway does not take it up, for this `reason`."""

    path: str
    kind: str
    old: Any
    new: Any
    restart: bool
    reason: str = ""

    def __str__(self) -> str:
        sign = {"added": "+", "removed": "-", "changed": "~"}[self.kind]
        told = f"{sign} {self.path}"
        if self.kind == "changed":
            told += f": {_short(self.old)} → {_short(self.new)}"
        elif not isinstance(self.new if self.kind == "added" else self.old, dict):
            told += f": {_short(self.new if self.kind == 'added' else self.old)}"
        return told + (f"   (takes a new start: {self.reason})" if self.restart else "")


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Between what `plain` made of two configurations, in the order of the paths."""
    return [
        Change(
            path,
            "added" if before is _ABSENT else "removed" if after is _ABSENT else "changed",
            None if before is _ABSENT else before,
            None if after is _ABSENT else after,
            bool(reason := _fixed(path)),
            reason,
        )
        for path, before, after in _walk("", old, new)
    ]


def kept(old: Config, new: Config) -> Config:
    """The new configuration, with what only a new start changes as it is."""
    here = old.server
    return replace(
        new,
        server=replace(new.server, host=here.host, port=here.port, workers=here.workers),
        limits=replace(new.limits, url=old.limits.url),
        store=old.store,
        admin=replace(new.admin, socket=old.admin.socket),
    )


def _fixed(path: str) -> str:
    return next((why for name, why in FIXED.items() if path == name or path.startswith(name + ".")), "")


def _walk(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(name for name in new if name not in old)]:
            below = f"{path}.{name}" if path else str(name)
            yield from _walk(below, old.get(name, _ABSENT), new.get(name, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _walk(f"{path}[{place}]", before, after)
    elif old != new or type(old) is not type(new):
        yield path, old, new


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
