"""Every recorded request, said in every other format to every provider: nothing lost without a word."""

from __future__ import annotations

import pytest

from . import engine
from .cases import CHAT, FORMATS, GEMINI, MESSAGES, RESPONSES, SHORT, Case, Exceptions
from .compare_requests import unreported
from .read_requests import Said, read_request
from .refusals import is_known_refusal
from .request_types import request_problem
from .tally import Tally, expect_none

LAYER = "requests"
TARGETS = (
    (None, CHAT, "any"),
    (None, RESPONSES, "any"),
    (None, MESSAGES, "any"),
    (None, GEMINI, "any"),
    ("openai", RESPONSES, "gpt-6.2-sol"),
    ("openai", RESPONSES, "gpt-4.1"),
    ("openai", CHAT, "gpt-6.2-sol"),
    ("openai", CHAT, "gpt-4.1"),
    ("anthropic", MESSAGES, "claude-opus-5-5"),
    ("anthropic", MESSAGES, "claude-sonnet-4-5"),
    ("gemini", GEMINI, "gemini-3.8-flash"),
    ("gemini", GEMINI, "gemini-2.5-flash"),
    ("deepseek", CHAT, "deepseek-v4-pro"),
    ("xai", RESPONSES, "grok-4.7"),
    ("xai", CHAT, "grok-4.7"),
    ("openrouter", CHAT, "anthropic/claude-opus-4.8"),
    ("openrouter", RESPONSES, "openai/gpt-4.1-mini"),
)
"""Each format by itself (no dialect), and what each provider speaks, to a model that reasons and one that does not."""

MAKERS = ("openai", "anthropic", "gemini")
"""Whose SDK's types the bodies must have; the others' flavours have fields of their own."""


@pytest.mark.parametrize(
    ("provider", "target", "model"), TARGETS, ids=[f"{p or 'plain'}-{SHORT[t]}-{m}" for p, t, m in TARGETS]
)
def test_a_request_says_the_same_in_another_format(
    provider: str | None, target: str, model: str, cases: list[Case], exceptions: Exceptions, tally: Tally
) -> None:
    failures: list[str] = []
    for case in cases:
        if case.request is None or case.format == target:
            continue
        up = engine.upstream(case, provider, target, model)
        if up.refused:
            known = is_known_refusal(up.refused)
            tally.count(LAYER, target, "facts", "excused" if known else "failed")
            if not known:
                failures.append(f"{case.name}: refused: {up.refused}")
            continue
        lost = unreported(read_request(case.format, case.request), read_request(target, up.body), up.dropped)
        problem = request_problem(target, up.body) if provider in MAKERS else None
        tally.count(LAYER, target, "facts", "failed" if lost else "held")
        if provider in MAKERS:
            tally.count(LAYER, target, "types", "failed" if problem else "held")
            failures += [f"{case.name}: types: {problem}"] if problem else []
        failures += [f"{case.name}: {name}: {what} (reported: {up.dropped})" for name, what in lost.items()]
    expect_none(failures)


@pytest.mark.parametrize("format", FORMATS)
def test_a_request_says_the_same_in_its_own_format(format: str, cases: list[Case], tally: Tally) -> None:
    """Decoded and encoded again; the pipe, which carries the body itself, is judged over HTTP."""
    failures: list[str] = []
    for case in cases:
        if case.request is None or case.format != format:
            continue
        up = engine.upstream(case, case.provider, format, case.model)
        if up.refused and is_known_refusal(up.refused):
            tally.count("same", format, "facts", "excused")
            continue
        after = read_request(format, up.body) if not up.refused else Said()
        lost = unreported(read_request(format, case.request), after, up.dropped)
        tally.count("same", format, "facts", "failed" if lost else "held")
        failures += [f"{case.name}: {name}: {what}" for name, what in lost.items()]
    expect_none(failures)
