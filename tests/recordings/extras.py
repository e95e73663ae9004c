"""What an answer carries beside its words: citations, what the provider's own tools did, and seals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nexeon.mapping.seals import open_envelope

from .cases import CHAT, GEMINI, MESSAGES, RESPONSES

_TOOLS = {
    "web_search_call": "search",
    "code_interpreter_call": "code",
    "mcp_call": "mcp",
    "web_search": "search",
    "code_execution": "code",
    "bash_code_execution": "code",
    "text_editor_code_execution": "code",
}
_UNSPOKEN = {CHAT: ("search", "code", "mcp"), GEMINI: ("mcp",)}
"""What a format has no words for: whatever its provider did there shows in the text alone."""

_LAST_WORD = "response.output_item.done"
_SEALED = {"signature", "thoughtSignature", "thought_signature"}


@dataclass
class Extras:
    """`cited`: addresses; `tools`: how often a provider's own tool of a kind was called; `seals`: their data.

    Those on calls stand apart: Messages and Responses have no place for them, so that the gateway keeps and gives back
    what they would lose (tests/gateway/test_stash.py, test_tool_loops.py).
    """

    cited: set[str] = field(default_factory=set)
    tools: Counter[str] = field(default_factory=Counter)
    seals: set[str] = field(default_factory=set)
    call_seals: set[str] = field(default_factory=set)


def extras(format: str, said: Any) -> Extras:
    """Of a whole answer, or of a stream's events (each thing once, however often it is told)."""
    found = Extras()
    tools: dict[tuple[str, str], None] = {}
    for event in said if isinstance(said, list) else [said]:
        found.cited |= set(_cited(format, event))
        for text, called in _sealed(format, event):
            (found.call_seals if called else found.seals).add(_opened(text))
        tools |= dict.fromkeys(_tools(format, event))
    found.tools = Counter(kind for kind, _ in tools)
    return found


def missing(want: Extras, got: Extras, client: str) -> dict[str, str | None]:
    """Per aspect that can be judged, what did not arrive (None: nothing is missing)."""
    found: dict[str, str | None] = {}
    if want.cited:
        lost = want.cited - got.cited
        found["citations"] = f"{len(lost)} of {len(want.cited)}: {min(lost)}" if lost else None
    tools = {kind: count for kind, count in want.tools.items() if kind not in _UNSPOKEN.get(client, ())}
    if tools:
        less = {kind: count for kind, count in tools.items() if got.tools[kind] < count}
        found["server tools"] = f"{less} became {dict(got.tools)}" if less else None
    seals = want.seals | (want.call_seals if client in (CHAT, GEMINI) else set())
    if seals:
        # (an envelope may hold more than the bare text, such as the id that goes with it)
        told = got.seals | got.call_seals
        lost = {seal for seal in seals if not any(seal in one for one in told)}
        found["seals"] = f"{len(lost)} of {len(seals)}: {min(lost)[:40]}…" if lost else None
    return found


def _maps(value: Any) -> Iterator[dict[str, Any]]:
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            yield one
        stack += reversed(list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else [])


def _cited(format: str, said: Any) -> Iterator[str]:
    for one in _maps(said):
        if format == GEMINI:
            chunks, supports = one.get("groundingChunks") or [], one.get("groundingSupports") or ()
            named = {number for support in supports for number in support.get("groundingChunkIndices") or ()}
            for number, chunk in enumerate(chunks):  # without any supports, what they say of no place in the text
                if "web" in chunk and (number in named or not supports):
                    yield chunk["web"]["uri"]
        elif one.get("type") == {MESSAGES: "web_search_result_location", RESPONSES: "url_citation"}.get(format, ""):
            yield one["url"]
        elif format == CHAT and one.get("type") == "url_citation":
            yield one["url_citation"]["url"]


def _tools(format: str, said: Any) -> Iterator[tuple[str, str]]:
    """(kind, what tells one call from the next)."""
    for one in _maps(said):
        kind = str(one.get("type"))
        if format == RESPONSES and kind in _TOOLS and "id" in one:
            yield _TOOLS[kind], str(one["id"])
        elif format == MESSAGES and kind == "server_tool_use" and one.get("name") in _TOOLS:
            yield _TOOLS[one["name"]], one["id"]
        elif format == MESSAGES and kind == "mcp_tool_use":
            yield "mcp", one["id"]
        elif format == GEMINI and "executableCode" in one:
            yield "code", str(one["executableCode"])
        elif format == GEMINI and str(one.get("toolType")).startswith("GOOGLE_SEARCH") and "args" in one:
            yield "search", str(one.get("id"))


def _sealed(format: str, said: Any) -> Iterator[tuple[str, bool]]:
    """(text, whether it is on a call). A seal on mere text, or on what the provider's own tool did, need not come back,
    and not every format has a place for it.
    """
    if format == RESPONSES and str(said.get("type")).startswith("response.") and said["type"] != _LAST_WORD:
        return  # every event seals anew
    for one in _maps(said):
        called = "functionCall" in one or one.get("type") == "function"
        if format == GEMINI and not called and not one.get("thought"):
            continue
        if format == CHAT and called:
            own = one.get("extra_content", {}).get("google", {}).get("thought_signature")
            yield from [(own, True)] if own else []
            continue
        yield from ((value, called) for name, value in one.items() if name in _SEALED and isinstance(value, str))
        if one.get("type") in ("redacted_thinking", "reasoning.encrypted") and isinstance(one.get("data"), str):
            yield one["data"], False
        if one.get("type") == "reasoning" and isinstance(one.get("encrypted_content"), str):
            yield one["encrypted_content"], False


def _opened(text: str) -> str:
    seal = open_envelope(text)
    return text if seal is None else str(seal["data"])
