"""The judges see what they are for: a stream with any event missing or said twice never passes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from . import engine
from .cases import FORMATS, RESPONSES, Case
from .extras import Extras, extras, missing
from .judge import judge, recorded

FEATURES = ({"text", "tool_call"}, {"reasoning", "text"}, {"parallel_tool_calls"})


@pytest.mark.parametrize("client", FORMATS)
def test_a_stream_with_an_event_too_few_or_too_many_fails(client: str, cases: list[Case]) -> None:
    for features in FEATURES:
        wanted = [case for case in cases if case.stream and features <= case.features]
        case = min((case for case in wanted if "server_tool" not in case.features), key=lambda case: len(case.raw))
        events = engine.stream(case, client)
        assert _wrong(case, client, events) == []
        for number, event in enumerate(events):
            if _says_nothing(event):
                continue
            for changed in (
                events[:number] + events[number + 1 :],
                [*events[: number + 1], event, *events[number + 1 :]],
            ):
                assert _wrong(case, client, _numbered(client, changed)), f"{case.name}: event {number} {event}"


def _says_nothing(event: Any) -> bool:
    """A ping, a proof that only its maker reads, or the arguments of a call that has none."""
    text = json.dumps(event)
    proof = any(word in text for word in ("signature_delta", "thoughtSignature", "reasoning_details"))
    return event.get("type") == "ping" or proof or '"{}"' in text


def _wrong(case: Case, client: str, events: list[Any]) -> list[str]:
    return [aspect for aspect, wrong in judge(case, client, events).items() if wrong]


def _numbered(client: str, events: list[Any]) -> list[Any]:
    """The gap in the numbers would give it away."""
    if client != RESPONSES:
        return events
    return [{**copy.deepcopy(event), "sequence_number": number} for number, event in enumerate(events)]


def test_what_an_answer_carries_beside_its_words_is_missed(cases: list[Case]) -> None:
    judged: set[str] = set()
    for case in cases:
        want = extras(case.format, recorded(case))
        for client in FORMATS:
            found = missing(want, Extras(), client)
            assert None not in found.values()
            judged |= found.keys()
            assert not any(missing(want, want, client).values())
    assert judged == {"citations", "server tools", "seals"}
