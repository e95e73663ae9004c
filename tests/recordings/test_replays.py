"""Recorded streams that are too long to be kept as they are: folded, and streamed again from that."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from nexeon.gateway.repeats.replay import Tape, unfolded
from nexeon.mapping import Format, new_context

from .cases import Case
from .engine import client_body, library

SAID = ("type", "text", "summary", "name", "call_id", "redacted")
COUNTS = ("input", "cached_input", "cache_write", "cache_write_1h", "output")


def fold(format: Format, context: Callable[[], dict[str, Any]], raw: bytes, *, array: bool) -> dict[str, Any]:
    tape = Tape(format, context, array=array, most=0)
    for at in range(0, len(raw), 1000):
        tape.add(raw[at : at + 1000])
    packed = tape.packed()
    assert tape.folded
    assert packed is not None, "it is understood"
    folded: dict[str, Any] = json.loads(zlib.decompress(packed))
    return folded


@pytest.mark.parametrize("array", [False, True], ids=["events", "array"])
def test_what_is_streamed_again_says_the_same(cases: list[Case], array: bool) -> None:
    streams = [case for case in cases if case.stream and case.status == 200]
    assert len(streams) > 100
    for case in streams:
        format = library().format(case.format)
        body = client_body(case.format, stream=True)

        def context(name: str = case.format, body: dict[str, Any] = body) -> dict[str, Any]:
            return new_context(format=name, model="m", stream=True, body=body, path={"model": "m"})

        first = fold(format, context, case.raw, array=False)
        again = unfolded(first, format, context(), array=array)
        second = fold(format, context, again, array=array)
        assert said(second) == said(first), case
        assert second["finish"] == first["finish"], case
        assert second["model"] == first["model"], case
        assert counts(second) == counts(first), case
        third = fold(format, context, unfolded(second, format, context(), array=array), array=array)
        assert third == second, f"{case}: the gateway's own stream folds to the very same"


def said(answer: dict[str, Any]) -> list[Any]:
    """What anybody reads in the answer; arguments as what they say."""
    return [[block.get(name) for name in SAID] + [_meaning(block.get("arguments"))] for block in answer["blocks"]]


def _meaning(arguments: Any) -> Any:
    with contextlib.suppress(ValueError, TypeError):
        return json.loads(arguments)
    return arguments


def counts(answer: dict[str, Any]) -> list[int]:
    usage = answer.get("usage", {})
    return [usage.get(name) or 0 for name in COUNTS]
