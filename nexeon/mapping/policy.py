"""What a format's `policy:` says becomes of the canonical fields that its mapping does not carry.

Paths are those of the canonical form. Some parts of it stand in many places, and are named by what they are:
`blocks.image.detail` of every image, `blocks[*].cache` of every block, `tools.function.strict`, `turns[*].name`;
`blocks.video` alone says what the mapping's own `$drop` or `$fail` does. `response.…` is about answers,
`pieces.…` about what a stream is made of.
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
"""(policy path, the turn, block, tool or citation that has it, why the request is refused; None: it is dropped)."""


class Policy:
    """One format's policy, made for reading quickly."""

    def __init__(self, policy: Mapping[str, Any], name: str) -> None:
        self._verdicts = {path.replace("[*]", ""): verdict for path, verdict in policy.items()}
        self.name = name
        own = f"extra.{name}."
        self.own: dict[str, Any] = {
            path.removeprefix(own): verdict for path, verdict in policy.items() if path.startswith(own)
        }
        self._fields: dict[str, list[tuple[Path, str | None, Sequence[Any]]]] = {}
        parts: dict[str, list[_Part]] = {"blocks": [], "tools": [], "citations": [], "turns": []}
        for path, verdict in policy.items():
            if path.startswith(("extra.", "response.", "pieces.")) or verdict in ("map", "emulate", "ignore"):
                continue
            message = verdict.get("reject") if isinstance(verdict, dict) else None
            harmless = verdict.get("drop_except", ()) if isinstance(verdict, dict) else ()
            first, *rest = path.replace("[*]", "").split(".")
            if first not in parts:
                self._fields.setdefault(first, []).append((Path(path), message, harmless))
            elif rest:
                every = first in ("citations", "turns") or path.startswith(f"{first}[*]")
                if len(rest) == 1 and not every:
                    continue  # a whole kind: the mapping's `$drop` or `$fail` says so
                kind = None if every else rest[0]
                parts[first].append((path, kind, rest[-1], message, harmless))
        self._blocks, self._tools, self._citations, self._turns = (_by_kind(listed) for listed in parts.values())

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
        for first, policies in self._fields.items():
            if first not in request:
                continue
            for path, message, harmless in policies:
                value = _found(path, request)
                if value is not None and value not in harmless:
                    yield path.text, None, message
        if self._blocks or self._citations:
            blocks = all_blocks(request)
            yield from _lost(self._blocks, blocks)
            if self._citations:
                listed = [block["citations"] for block in blocks if "citations" in block]
                yield from _lost(self._citations, [one for some in listed if type(some) is list for one in some])
        if self._turns:
            yield from _lost(self._turns, request.get("turns") or ())
        if self._tools:
            yield from _lost(self._tools, request.get("tools") or ())

    def own_losses(self, request: Mapping[str, Any], target: str) -> Iterator[Loss]:
        """What only this format knows, and the target does not get; by the fields' own names."""
        if request.get("extra"):
            yield from ((field, None, message) for field, _, message in self._own(request, target, ""))
        for turn in request.get("turns") or ():
            if "extra" in turn:
                yield from self._own(turn, target, "turns.")
        for block in all_blocks(request):
            # what a provider's own tool did is mapped or dropped as a whole
            if "extra" in block and block["type"] not in ("server_tool_call", "server_tool_result"):
                yield from self._own(block, target, "blocks.")
        for tool in request.get("tools") or ():
            if "extra" in tool:
                yield from self._own(tool, target, "tools.")

    def _own(self, holder: Mapping[str, Any], target: str, part: str) -> Iterator[Loss]:
        for owner, fields in holder["extra"].items():
            if owner == target:
                continue
            for field, value in fields.items():
                verdict = self.own.get(part + field, "drop") if owner == self.name else "drop"
                if verdict == "drop" or (
                    isinstance(verdict, dict) and value not in verdict.get("drop_except", (value,))
                ):
                    yield field, holder, None
                elif isinstance(verdict, dict) and "reject" in verdict:
                    yield field, holder, verdict["reject"]


def _found(path: Path, request: Mapping[str, Any]) -> Any:
    """The first value there that is not null, or None."""
    if "[*]" in path.steps:
        return next((one for one in path.all(request) if one is not None), None)
    value: Any = request
    for step in path.steps:
        if type(value) is not dict or step not in value:
            return None
        value = value[step]
    return value


def _word(verdict: Any) -> str | None:
    if isinstance(verdict, dict):
        return "rejected" if "reject" in verdict else "dropped"
    return VERDICTS[verdict] if verdict is not None else None


def all_blocks(request: Mapping[str, Any]) -> list[Any]:
    """Every block of a canonical request, those inside results and documents too."""
    blocks: list[Any] = list(request.get("system") or ())
    for turn in request.get("turns") or ():
        blocks += turn.get("blocks") or ()
    for block in blocks:  # which grows while it is read
        if "blocks" in block:
            blocks += block["blocks"] or ()
        elif "source" in block and "blocks" in block["source"]:
            blocks += block["source"]["blocks"] or ()
    return blocks


def _by_kind(policies: list[_Part]) -> dict[str | None, list[_Part]]:
    """The policies that are about each kind; None: about any other."""
    kinds = {kind for _, kind, *_ in policies} | ({None} if policies else set())
    return {kind: [one for one in policies if one[1] in (None, kind)] for kind in kinds}


def _lost(policies: dict[str | None, list[_Part]], parts: Sequence[Any]) -> Iterator[Loss]:
    others = policies.get(None, [])
    told: set[str] = set()
    for part in parts:
        for path, _, field, message, harmless in policies.get(part.get("type"), others):
            if field not in part or path in told:
                continue
            value = part[field]
            if value is not None and value != [] and value not in harmless:
                told.add(path)
                yield path, part, message
