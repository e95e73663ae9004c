"""What an answer held sealed beside its tool calls, kept for clients that cannot bear it or drop it.

Many clients send a call back without the reasoning before it, or in a format that has no place for a call's own seal,
and the provider refuses such a history. What is kept goes back only to the account that got it and to the provider
that made it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nexeon.mapping.identifiers import fit_id
from nexeon.wire.json import JSONError, dumps, loads

_SECONDS: Final = 6 * 3600.0
_BYTES: Final = 128 * 1024 * 1024
_LARGEST: Final = 2 * 1024 * 1024
_FITTED: Final = (40, 64)
"""Formats that take only short or plain identifiers show a call's under another name."""

Block = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """One answer's reasoning, calls and sealed texts, in their order. `organisation` is that of the provider's key."""

    provider: str
    organisation: str
    blocks: tuple[Block, ...]
    keys: tuple[tuple[str, str], ...]
    size: int
    expires: float

    def call(self, block: Block) -> Block | None:
        """The call as it was made, where a client's block is that call."""
        called = block.get("call_id")
        for own in self.blocks:
            if own["type"] == "tool_call" and called in _names(own["call_id"]):
                return own if _same_call(own, block) else None
        return None


class Stash:
    """A bounded memory of sealed answers, by account and tool-call id. The oldest go first."""

    def __init__(
        self, *, seconds: float = _SECONDS, most: int = _BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`most` in bytes of all that is kept; `seconds` until an answer is forgotten."""
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._size = 0
        self._answers: OrderedDict[int, Kept] = OrderedDict()
        self._by_call: dict[tuple[str, str], Kept] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def keep(self, account: str, response: Mapping[str, Any], maker: Mapping[str, Any]) -> None:
        """Keeps what a canonical answer sealed. `maker` is the target's context: it names provider and organisation."""
        for answer in (response, *(response.get("alternatives") or ())):
            self._keep(account, answer.get("blocks") or (), maker)

    def _keep(self, account: str, blocks: Sequence[Mapping[str, Any]], maker: Mapping[str, Any]) -> None:
        ids = [b["call_id"] for b in blocks if b.get("type") == "tool_call" and b.get("call_id")]
        if not ids:
            return
        told = tuple(slim for block in blocks if (slim := _slim(block)) is not None)
        if not any(block["type"] == "reasoning" or "seal" in block for block in told):
            return
        size = len(dumps(told))
        if size > min(_LARGEST, self._most):
            return
        keys = tuple((account, name) for call_id in ids for name in _names(call_id))
        kept = Kept(
            str(maker.get("provider", "")), str(maker.get("account") or "default"), told, keys, size,
            self._clock() + self._seconds,
        )  # fmt: skip
        self._answers[id(kept)] = kept
        self._size += size
        self._by_call.update(dict.fromkeys(keys, kept))
        self._forget()

    def find(self, account: str, provider: str, call_ids: Iterable[Any]) -> list[Kept]:
        """The answers of this provider that made these calls for the account, each once."""
        if not self._answers:
            return []
        now = self._clock()
        found: dict[int, Kept] = {}
        for call_id in call_ids:
            kept = self._by_call.get((account, call_id)) if type(call_id) is str else None
            if kept is not None and kept.expires > now and kept.provider == provider:
                found[id(kept)] = kept
        return list(found.values())

    def _forget(self) -> None:
        now = self._clock()
        while self._answers:
            oldest = next(iter(self._answers.values()))
            if oldest.expires > now and self._size <= self._most:
                return
            del self._answers[id(oldest)]
            self._size -= oldest.size
            for key in oldest.keys:
                if self._by_call.get(key) is oldest:
                    del self._by_call[key]


def call_ids(request: Mapping[str, Any]) -> list[str]:
    """The tool calls in a canonical request's history."""
    return [
        block["call_id"]
        for turn in request.get("turns") or ()
        if turn.get("role") == "assistant"
        for block in turn.get("blocks") or ()
        if block.get("type") == "tool_call" and "call_id" in block
    ]


def give_back(request: dict[str, Any], answers: Sequence[Kept]) -> dict[str, Any]:
    """The canonical request with what its calls came without; itself where nothing was missing."""
    turns = request.get("turns") or []
    restored = [_restored(turn, answers) for turn in turns]
    if all(new is old for new, old in zip(restored, turns, strict=True)):
        return request
    return {**request, "turns": restored}


def _restored(turn: dict[str, Any], answers: Sequence[Kept]) -> dict[str, Any]:
    blocks: list[Block] = turn.get("blocks") or []
    if turn.get("role") != "assistant" or not blocks:
        return turn
    new = blocks
    for kept in answers:
        new = _rethought(_resealed(new, kept), kept)
    return turn if new is blocks else {**turn, "blocks": new}


def _resealed(blocks: list[Block], kept: Kept) -> list[Block]:
    """Calls and texts with their own seals."""
    if not any(block["type"] == "tool_call" and kept.call(block) is not None for block in blocks):
        return blocks
    texts = {block["text"]: block["seal"] for block in kept.blocks if block["type"] == "text"}

    def seal(block: Block) -> Any:
        if "seal" in block:
            return None
        if block["type"] == "text":
            return texts.get(block.get("text"))
        own = kept.call(block) if block["type"] == "tool_call" else None
        return own.get("seal") if own is not None else None

    seals = [seal(block) for block in blocks]
    if not any(seals):
        return blocks
    return [{**block, "seal": found} if found else block for block, found in zip(blocks, seals, strict=True)]


def _rethought(blocks: list[Block], kept: Kept) -> list[Block]:
    """The reasoning before each call, where the client did not send it."""
    thoughts = [block for block in kept.blocks if block["type"] == "reasoning"]
    calls = {position: own for position, b in enumerate(blocks) if b["type"] == "tool_call" and (own := kept.call(b))}
    if not thoughts or not calls:
        return blocks
    # other answers' calls that stand before in the same turn are not this answer's
    start = max((p for p in range(min(calls)) if blocks[p]["type"] == "tool_call"), default=-1) + 1
    span = range(start, max(calls) + 1)
    sealed = any("seal" in thought for thought in thoughts)
    if any(blocks[p]["type"] == "reasoning" and (not sealed or "seal" in blocks[p]) for p in span):
        return blocks
    after: dict[str, list[Block]] = {"": []}
    last = ""
    for block in kept.blocks:
        if block["type"] == "tool_call":
            last = block["call_id"]
        elif block["type"] == "reasoning":
            after.setdefault(last, []).append(block)
    new = blocks[:start] + after.pop("")
    for position in span:
        if blocks[position]["type"] == "reasoning":
            continue
        new.append(blocks[position])
        if position in calls:
            new += after.pop(calls[position]["call_id"], ())
    return new + blocks[max(calls) + 1 :]


def _slim(block: Mapping[str, Any]) -> Block | None:
    """What of a block is worth keeping."""
    match block.get("type"):
        case "reasoning":
            return dict(block) if block.keys() & {"seal", "text", "summary"} else None
        case "tool_call" if block.get("call_id"):
            return {name: block[name] for name in ("type", "call_id", "name", "arguments", "seal") if name in block}
        case "text" if "seal" in block:
            return {name: block[name] for name in ("type", "text", "seal")}
    return None


def _names(call_id: str) -> tuple[str, ...]:
    """How clients may know a call."""
    return tuple(dict.fromkeys((call_id, *(fit_id(call_id, longest) for longest in _FITTED))))


def _same_call(own: Block, block: Block) -> bool:
    """Some providers count their calls anew in each answer, so that an id alone is no proof."""
    if own.get("name") != block.get("name"):
        return False
    mine, told = own.get("arguments") or "{}", block.get("arguments") or "{}"
    if mine == told:
        return True
    try:
        return bool(loads(mine.encode("utf-8", "surrogatepass")) == loads(told.encode("utf-8", "surrogatepass")))
    except JSONError:
        return False
