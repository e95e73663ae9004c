"""Whether a request still says, in another format, all that it said."""

from __future__ import annotations

import json
from typing import Any

from .read_requests import Said, schema_facts


def _all(parts: list[str]) -> str:
    return "".join(parts)


def _squeezed(text: str) -> str:
    return "".join(text.split())


_LEAST_OUTPUT = 16
"""Tokens: one API takes no smaller limit."""

_REPORTED = {
    "stop": ("stop",),
    "top_k": ("top_k", "topK"),
    "top_p": ("top_p", "topP"),
    "temperature": ("temperature",),
    "reasoning": ("reasoning", "thinking"),
    "choice": ("tool_choice", "toolConfig"),
    "parallel": ("parallel_tool_calls", "tool_choice"),
    "presence_penalty": ("presence",),
    "frequency_penalty": ("frequency",),
    "seed": ("seed",),
    "media": ("media", "blocks"),
}
"""What a report about a kind of fact names."""


def unreported(before: Said, after: Said, dropped: list[str]) -> dict[str, str]:
    """What a request lost without a word in `dropped`."""
    return {
        name: problem
        for name, problem in lost_facts(before, after).items()
        if not any(word in entry for word in _REPORTED.get(name, ()) for entry in dropped)
    }


def lost_facts(before: Said, after: Said) -> dict[str, str]:
    """Per kind of fact, what is missing or different. Words may be added (they tell what has no field), never lost."""
    lost: dict[str, str] = {}
    for name in ("user", "assistant", "system"):
        if problem := _missing(getattr(before, name), _all(getattr(after, name))):
            lost[name] = problem
    # a conversation must begin and end with the user: where there is none, the instructions stand in
    if "system" in lost and not _missing(
        [part for part in before.system if part not in after.system], _all(after.user)
    ):
        del lost["system"]
    if missing := sorted(set(before.media) - set(after.media)):
        lost["media"] = f"{len(missing)} of {len(before.media)}: {missing[0][:60]}"
    if before.calls != after.calls:
        lost["calls"] = f"{before.calls} became {after.calls}"[:300]
    if [place for place, _ in before.results] != [place for place, _ in after.results]:
        lost["results"] = f"{before.results} became {after.results}"[:300]
    for (_, want), (_, got) in zip(before.results, after.results, strict=False):
        if want not in got and not (want == "{}" and not got):
            lost["results"] = f"{want} became {got}"[:300]
    for name, tool in before.tools.items():
        if name not in after.tools and isinstance(before.choice, tuple) and name not in before.choice[1]:
            continue  # a tool that may not be called
        if name not in after.tools:
            lost["tools"] = f"{name} is missing"
        elif tool[0] != after.tools[name][0]:
            lost["tools"] = f"{name}: {tool[0][:60]!r} became {after.tools[name][0][:60]!r}"
        elif tool[1] != after.tools[name][1]:
            lost["schemas"] = f"{name}: {tool[1]} became {after.tools[name][1]}"[:400]
    if before.tools and before.choice != after.choice and not _allowed(before, after):
        lost["choice"] = f"{before.choice} became {after.choice}"
    if before.tools and before.parallel != after.parallel:
        lost["parallel"] = f"{before.parallel} became {after.parallel}"
    for name, value in before.settings.items():
        if name == "schema" and _told(value, after.system):
            continue
        if name == "reasoning" and value is True and after.shown:
            continue
        if name == "max_tokens" and value < _LEAST_OUTPUT == after.settings.get(name):
            continue
        if not _same(value, after.settings.get(name)):
            lost[name] = f"{value} became {after.settings.get(name)}"[:300]
    return lost


def _missing(parts: list[str], text: str) -> str | None:
    """The first part that does not stand in the text, in order."""
    text = _squeezed(text)
    at = 0
    for part in parts:
        part = _squeezed(part)
        found = text.find(part, at)
        if found < 0:
            return f"{part[:80]!r} is not in {text[at : at + 120]!r}"
        at = found + len(part)
    return None


def _allowed(before: Said, after: Said) -> bool:
    """A choice among some tools becomes one among all, where the others are left out."""
    return (
        isinstance(before.choice, tuple)
        and after.choice == before.choice[0]
        and sorted(after.tools) == sorted(before.choice[1])
    )


def _told(schema: Any, system: list[str]) -> bool:
    """Whether the instructions ask for JSON of a schema, where there is no field for it."""
    for part in system:
        _, found, text = part.partition("JSON Schema:\n")
        if found:
            return bool(schema_facts(json.JSONDecoder().raw_decode(text)[0]) == schema)
    return schema == "any" and "JSON" in _all(system)


def _same(before: Any, after: Any) -> bool:
    return before == after or before in (None, False, [])
