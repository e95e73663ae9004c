"""What a format's `policy:` says becomes of the canonical fields that its mapping does not carry.

Paths are those of the canonical form. Some parts of it stand in many places, and are named by what they are:
`blocks.image.detail` of every image, `blocks[*].cache` of every block, `tools.function.strict`, `turns[*].name`;
`blocks.video` alone says what the mapping's own `$drop` or `$fail` does. `response.…` is about answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from nexeon.mapping.paths import Path

VERDICTS: Final = {"map": "mapped", "emulate": "emulated", "drop": "dropped", "ignore": "ignored"}
LISTED: Final = ("blocks", "tools", "citations", "logprobs", "sources")
"""Parts that are named by what they are."""
_Part = tuple[str, str | None, str, str | None, Sequence[Any]]
"""(policy path, kind of block or tool or None for all, field, why it is refused, values that lose nothing)"""
Loss = tuple[str, Any, str | None]
"""(policy path, what is lost, why the request is refused; None: it is dropped)."""


class Policy:
    """One format's policy, made for reading quickly."""

    def __init__(self, policy: Mapping[str, Any], name: str) -> None:
        self._verdicts = {path.replace("[*]", ""): verdict for path, verdict in policy.items()}
        self.name = name
        own = f"extra.{name}."
        self.own: dict[str, Any] = {
            path.removeprefix(own): verdict for path, verdict in policy.items() if path.startswith(own)
        }
        self._paths: list[tuple[Path, str | None, Sequence[Any]]] = []
        self._parts: dict[str, list[_Part]] = {"blocks": [], "tools": [], "citations": []}
        for path, verdict in policy.items():
            if path.startswith(("extra.", "response.")) or verdict in ("map", "emulate", "ignore"):
                continue
            message = verdict.get("reject") if isinstance(verdict, dict) else None
            harmless = verdict.get("drop_except", ()) if isinstance(verdict, dict) else ()
            first, *rest = path.replace("[*]", "").split(".")
            if first not in LISTED:
                self._paths.append((Path(path), message, harmless))
            elif first in self._parts and rest:
                every = first == "citations" or path.startswith(f"{first}[*]")
                if len(rest) == 1 and not every:
                    continue  # a whole kind: the mapping's `$drop` or `$fail` says so
                kind = None if every else rest[0]
                self._parts[first].append((path, kind, rest[-1], message, harmless))

    def verdict(self, path: str, otherwise: str | None = None) -> str | None:
        """What becomes of a field: mapped, emulated, dropped, rejected or ignored; None where nothing is said.

        A policy for a field is one for everything below it. One for every kind of block (`blocks[*].id`) is one for
        each kind where the mapping does nothing with it: then `otherwise` is None.
        """
        parts = path.split(".")
        for count in range(len(parts), 0, -1):
            found = self._verdicts.get(".".join(parts[:count]))
            if found is not None:
                return _word(found)
        listed = next((place for place, part in enumerate(parts[:2]) if part in ("blocks", "tools")), None)
        if otherwise is None and listed is not None and len(parts) > listed + 2:
            otherwise = _word(self._verdicts.get(".".join([*parts[: listed + 1], parts[listed + 2]])))
        return otherwise

    def losses(self, request: Mapping[str, Any]) -> Iterator[Loss]:
        """What a canonical request loses, each policy once."""
        for path, message, harmless in self._paths:
            value = next((one for one in path.all(request) if one is not None), None)
            if value is not None and value not in harmless:
                yield path.text, value, message
        if self._parts["blocks"] or self._parts["citations"]:
            blocks = list(_blocks(request))
            yield from _lost(self._parts["blocks"], blocks)
            if self._parts["citations"]:
                listed = (block.get("citations") for block in blocks)
                yield from _lost(
                    self._parts["citations"], [one for some in listed if type(some) is list for one in some]
                )
        if self._parts["tools"]:
            yield from _lost(self._parts["tools"], request.get("tools") or ())

    def own_losses(self, request: Mapping[str, Any], target: str) -> Iterator[tuple[str, str | None]]:
        """What only this format knows, and the target does not get: (field, why the request is refused or None)."""
        extra = request.get("extra")
        if extra:
            yield from self._own(extra, target, "")
        for turn in request.get("turns") or ():
            if "extra" in turn:
                yield from self._own(turn["extra"], target, "turns.")
        for block in _blocks(request):
            # what a provider's own tool did is mapped or dropped as a whole
            if "extra" in block and block["type"] not in ("server_tool_call", "server_tool_result"):
                yield from self._own(block["extra"], target, "blocks.")
        for tool in request.get("tools") or ():
            if "extra" in tool:
                yield from self._own(tool["extra"], target, "tools.")

    def _own(self, extra: Mapping[str, Any], target: str, part: str) -> Iterator[tuple[str, str | None]]:
        for owner, fields in extra.items():
            if owner == target:
                continue
            for field, value in fields.items():
                verdict = self.own.get(part + field, "drop") if owner == self.name else "drop"
                if verdict == "drop" or (
                    isinstance(verdict, dict) and value not in verdict.get("drop_except", (value,))
                ):
                    yield field, None
                elif isinstance(verdict, dict) and "reject" in verdict:
                    yield field, verdict["reject"]


def _word(verdict: Any) -> str | None:
    if isinstance(verdict, dict):
        return "rejected" if "reject" in verdict else "dropped"
    return VERDICTS[verdict] if verdict is not None else None


def _blocks(request: Mapping[str, Any]) -> Iterator[Any]:
    stack = [request.get("system"), *(turn.get("blocks") for turn in request.get("turns") or ())]
    while stack:
        for block in stack.pop() or ():
            yield block
            if "blocks" in block:
                stack.append(block["blocks"])
            elif "source" in block and "blocks" in block["source"]:
                stack.append(block["source"]["blocks"])


def _lost(policies: list[_Part], parts: Sequence[Any]) -> Iterator[Loss]:
    for path, kind, field, message, harmless in policies:
        for part in parts:
            value = part.get(field)
            if value is None or value == [] or value in harmless or (kind is not None and part.get("type") != kind):
                continue
            yield path, value, message
            break
