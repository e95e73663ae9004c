"""What an answer says, in words that no format owns."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .cases import CHAT, GEMINI, MESSAGES, RESPONSES, Case


@dataclass
class Call:
    """A tool call; `arguments` are parsed (or the text itself, where it is no JSON)."""

    id: str | None
    name: str
    arguments: Any


@dataclass
class Facts:
    """`usage`: input (all of it, cached too), cached, output (all of it, reasoning too), reasoning; None: not said."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str | None = None
    usage: dict[str, int | None] = field(default_factory=dict)


_FINISH = {
    CHAT: {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"},
    RESPONSES: {"completed": "stop", "max_output_tokens": "length", "content_filter": "content_filter"},
    MESSAGES: {
        "end_turn": "stop",
        "stop_sequence": "stop_sequence",
        "max_tokens": "length",
        "tool_use": "tool_calls",
        "pause_turn": "pause",
        "refusal": "content_filter",
    },
    GEMINI: {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"},
}
_CANNOT_SAY = {"stop_sequence": "stop", "pause": "stop"}
"""Reasons that only Messages has a word for, and the word that the others have."""


def finish_of(format: str, word: str | None, *, called: bool) -> str | None:
    """The neutral reason: an answer that asks for tools stopped for them, whatever the format calls that."""
    reason = _FINISH[format].get(word or "", word)
    return "tool_calls" if called and reason == "stop" else reason


def expected(case: Case, client: str, *, own_words: bool = False) -> Facts:
    """What `expect.json` says that a client must be able to read; `own_words`: in the provider's flavour."""
    choice = case.expect["choices"][0]
    calls = [Call(call["id"], call["name"], call["arguments"]) for call in choice["tool_calls"]]
    finish = finish_of(case.format, choice.get("incomplete") or choice["stop"], called=bool(calls))
    if client != MESSAGES:
        finish = _CANNOT_SAY.get(finish or "", finish)
    return Facts(
        text=choice["text"],
        reasoning=choice["reasoning"],
        refusal=choice["refusal"] or "",
        calls=calls,
        finish=finish,
        usage=expected_usage(case, own_words=own_words),
    )


def expected_usage(case: Case, *, own_words: bool = False) -> dict[str, int | None]:
    """In the neutral sense, whatever a format's fields include."""
    said = case.expect["usage"]
    if not said:
        return {}
    inputs, output = said["input"] or 0, said["output"] or 0
    cached, reasoning = said["cached"], said["reasoning"]
    if case.format == MESSAGES:  # what is read from and written to the cache stands beside the rest
        inputs += (cached or 0) + (said["cache_write"] or 0)
    elif case.format == GEMINI:  # thoughts and the prompts of server tools stand beside the rest
        inputs += said["tool_use_prompt"] or 0
        output += reasoning or 0
    elif case.provider_api == "xai.chat" and not own_words and said["total"] == inputs + output + (reasoning or 0):
        output += reasoning or 0
    return {"input": inputs, "cached": cached, "output": output, "reasoning": reasoning}


def differences(want: Facts, got: Facts, *, ids: bool = True) -> dict[str, str]:
    """Per aspect, what is not as it should be. Ids are those recorded; without any, `ids` asks for others."""
    found: dict[str, str] = {}
    if want.refusal and want.refusal not in (got.refusal, got.text):
        found["text"] = f"refusal {want.refusal[:80]!r} became {got.refusal[:80]!r}"
    if want.text != got.text and not (want.refusal and got.text == want.refusal):
        found["text"] = _text_difference(want.text, got.text)
    if want.reasoning != got.reasoning:
        found["reasoning"] = _text_difference(want.reasoning, got.reasoning)
    if problem := _calls_difference(want.calls, got.calls, ids=ids):
        found["calls"] = problem
    if want.finish != got.finish:
        found["finish"] = f"{want.finish} became {got.finish}"
    wrong = {
        name: (value, got.usage.get(name))
        for name, value in want.usage.items()
        if (value or 0) != (got.usage.get(name) or 0)
    }
    if wrong:
        found["usage"] = ", ".join(f"{name}: {before} became {after}" for name, (before, after) in wrong.items())
    return found


def _text_difference(want: str, got: str) -> str:
    at = next((n for n, (a, b) in enumerate(zip(want, got, strict=False)) if a != b), min(len(want), len(got)))
    return f"from character {at}: {want[at : at + 60]!r} became {got[at : at + 60]!r}"


def _calls_difference(want: list[Call], got: list[Call], *, ids: bool) -> str | None:
    if [call.name for call in want] != [call.name for call in got]:
        return f"calls {[call.name for call in want]} became {[call.name for call in got]}"
    for before, after in zip(want, got, strict=True):
        if before.arguments != after.arguments:
            return f"{before.name}: {json.dumps(before.arguments)[:120]} became {json.dumps(after.arguments)[:120]}"
        if before.id and before.id != after.id:
            return f"{before.name}: id {before.id} became {after.id}"
    given = [call.id for call in got]
    if ids and (not all(given) or len(set(given)) != len(given)):
        return f"ids {given} are not unique and non-empty"
    return None
