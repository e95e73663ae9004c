"""What a format's `policy:` says becomes of the canonical fields that its mapping does not carry.

Paths are those of the canonical form. Some parts of it stand in many places, and are named by what they are:
`blocks.image.detail` of every image, `blocks[*].cache` of every block, `tools.function.strict`, `turns[*].name`;
`blocks.video` alone says what the mapping's own `$drop` or `$fail` does. `response.…` is about answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from nexeon.mapping.missing import MISSING
from nexeon.mapping.paths import Path

VERDICTS: Final = {"map": "mapped", "emulate": "emulated", "drop": "dropped", "ignore": "ignored"}
LISTED: Final = ("blocks", "tools", "citations", "logprobs", "sources")
"""Parts that are named by what they are."""
Loss = tuple[str, Any, str | None]
"""(policy path, what is lost, why the request is refused; None: it is dropped)."""


class Policy:
    """One format's policy, made for reading quickly."""

    def __init__(self, policy: Mapping[str, Any], name: str) -> None:
        self._verdicts = {path.replace("[*]", ""): verdict for path, verdict in policy.items()}
        own = f"extra.{name}."
        self.own: dict[str, Any] = {
            path.removeprefix(own): verdict for path, verdict in policy.items() if path.startswith(own)
        }
        self._paths: list[tuple[Path, str | None]] = []
        self._parts: dict[str, list[tuple[str, str | None, str, str | None]]] = {"blocks": [], "tools": []}
        for path, verdict in policy.items():
            if path.startswith(("extra.", "response.")) or verdict in ("map", "emulate", "ignore"):
                continue
            message = verdict["reject"] if isinstance(verdict, dict) else None
            first, *rest = path.replace("[*]", "").split(".")
            if first not in LISTED:
                self._paths.append((Path(path), message))
            elif first in self._parts and rest and (path.startswith(f"{first}[*]") or len(rest) > 1):
                kind = None if path.startswith(f"{first}[*]") else rest[0]
                self._parts[first].append((path, kind, rest[-1], message))

    def verdict(self, path: str) -> str | None:
        """What becomes of a field: mapped, emulated, dropped, rejected or ignored; None where nothing is said.

        A policy for a field is one for everything below it, and one for every kind of block is one for each kind.
        """
        parts = path.split(".")
        if parts[0] == "response" and len(parts) == 1:
            return None
        listed = next((place for place, part in enumerate(parts[:2]) if part in ("blocks", "tools")), None)
        for count in range(len(parts), 0, -1):
            names = [".".join(parts[:count])]
            if listed is not None and count > listed + 2:
                names.append(".".join([*parts[: listed + 1], *parts[listed + 2 : count]]))
            for name in names:
                found = self._verdicts.get(name)
                if found is not None:
                    return "rejected" if isinstance(found, dict) else VERDICTS[found]
        return None

    def losses(self, request: Mapping[str, Any]) -> Iterator[Loss]:
        """What a canonical request loses, each policy once."""
        for path, message in self._paths:
            value = next((one for one in path.all(request) if one is not None), MISSING)
            if value is not MISSING:
                yield path.text, value, message
        if self._parts["blocks"]:
            blocks = list(_blocks(request))
            yield from _lost(self._parts["blocks"], blocks)
        if self._parts["tools"]:
            yield from _lost(self._parts["tools"], request.get("tools") or ())


def _blocks(request: Mapping[str, Any]) -> Iterator[Any]:
    stack = [request.get("system"), *(turn.get("blocks") for turn in request.get("turns") or ())]
    while stack:
        for block in stack.pop() or ():
            yield block
            if "blocks" in block:
                stack.append(block["blocks"])
            elif "source" in block and "blocks" in block["source"]:
                stack.append(block["source"]["blocks"])


def _lost(policies: list[tuple[str, str | None, str, str | None]], parts: Any) -> Iterator[Loss]:
    for path, kind, field, message in policies:
        for part in parts:
            value = part.get(field)
            if value is not None and value != [] and (kind is None or part.get("type") == kind):
                yield path, value, message
                break
