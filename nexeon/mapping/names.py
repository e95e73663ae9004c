"""What canonical answers call things: whatever a provider sends for an id or a name, it is text here, or not there."""

from __future__ import annotations

from typing import Any, Final

from nexeon.errors import MappingFailure

_NAMES: Final = frozenset(("id", "call_id", "name", "server", "tool", "namespace"))
_FACTS: Final = frozenset(("id", "model"))
_PLACES: Final = ("start", "end")

_WORDS: Final[dict[str, tuple[tuple[str, str | None], ...]]] = {
    "text": (("text", ""),),
    "refusal": (("text", ""),),
    "reasoning": (("text", None),),
    "tool_call": (("arguments", "{}"),),
    "server_tool_call": (("arguments", None),),
}
"""The texts of a block, and what stands in for one that is missing."""

Content = dict[str, Any]


def named(block: Content) -> Content:
    """A block whose names are text: of a number as text, of anything else not at all."""
    for name, value in block.items():
        if name in _NAMES and not isinstance(value, str):
            return _texts(block, _NAMES)
    return block


def placed(citation: Any) -> Any:
    """A citation whose places in the text are whole numbers."""
    if type(citation) is dict:
        odd = [name for name in _PLACES if name in citation and type(citation[name]) is not int]
        if odd:
            return {name: value for name, value in citation.items() if name not in odd}
    return citation


def called(head: Content, ctx: Content, number: int) -> Content:
    """A block's head with its names; a call that has no id gets one of this request, and one without a name an empty
    one."""
    head = named(head)
    if head.get("type") == "tool_call" and not (head.get("call_id") and "name" in head):
        made = {"call_id": head.get("call_id") or f"call_{ctx.get('token', '')}_{number}"}
        return {"name": "", **head, **made}
    return head


def answer(facts: Any, ctx: Content) -> Any:
    """A whole answer (or what is known of it), and those beside it, likewise. Raises MappingFailure where a text is
    none."""
    if type(facts) is not dict:
        return facts
    if not isinstance(facts.get("id", ""), str) or not isinstance(facts.get("model", ""), str):
        facts = _texts(facts, _FACTS)
    if type(facts.get("created", 0)) not in (int, float):
        facts = {name: value for name, value in facts.items() if name != "created"}
    if type(blocks := facts.get("blocks")) is list:
        for number, block in enumerate(blocks):
            clean = _whole(block, ctx, number)
            if clean is not block:
                if blocks is facts["blocks"]:
                    blocks = list(blocks)
                blocks[number] = clean
        if blocks is not facts["blocks"]:
            facts = {**facts, "blocks": blocks}
    if type(others := facts.get("alternatives")) is list:
        facts = {**facts, "alternatives": [answer(other, ctx) for other in others]}
    return facts


def _whole(block: Any, ctx: Content, number: int) -> Any:
    if type(block) is not dict:
        return block
    block = _worded(called(block, ctx, number))
    if type(citations := block.get("citations")) is list:
        clean = [placed(citation) for citation in citations]
        if any(one is not other for one, other in zip(clean, citations, strict=True)):
            return {**block, "citations": clean}
    return block


def _worded(block: Content) -> Content:
    """A block with the text that its type cannot be without. Raises MappingFailure where it has another thing there."""
    for name, otherwise in _WORDS.get(block.get("type", ""), ()):
        value = block.get(name)
        if value is None:
            if otherwise is not None:
                block = {**block, name: "" if block.get("kind") == "custom" else otherwise}
        elif not isinstance(value, str):
            raise MappingFailure(f"`{name}` of a block must be text")
    if type(summary := block.get("summary")) is list and not all(isinstance(part, str) for part in summary):
        raise MappingFailure("a summary must be text")
    return block


def _texts(content: Content, names: frozenset[str]) -> Content:
    made = {}
    for name, value in content.items():
        if name in names and not isinstance(value, str):
            if type(value) not in (int, float):
                continue
            value = str(value)
        made[name] = value
    return made
