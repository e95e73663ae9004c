"""Recorded streams, cut anywhere and framed in any way, give the same events."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexeon.wire.json import loads
from nexeon.wire.sse import Event, SSEParser

from . import engine
from .cases import FORMATS, Case

_LARGEST = 60_000


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_stream_cut_anywhere_gives_the_same_events(data: st.DataObject, cases: list[Case]) -> None:
    streams = [case for case in cases if case.stream and len(case.raw) < _LARGEST]
    case = data.draw(st.sampled_from(streams))
    client = data.draw(st.sampled_from(FORMATS))
    line_end = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    raw = case.raw.replace(b"\r\n", b"\n").replace(b"\n", line_end)
    cuts = sorted(set(data.draw(st.lists(st.integers(0, len(raw)), max_size=40))))
    events = _parsed(raw, [0, *cuts, len(raw)])
    assert events == case.sse
    bodies = [loads(event.data) for event in events if event.data != b"[DONE]"]
    assert engine.stream_of(case, client, bodies) == engine.stream(case, client)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_stream_that_comes_byte_by_byte_gives_the_same_events(data: st.DataObject, cases: list[Case]) -> None:
    case = data.draw(st.sampled_from([case for case in cases if case.stream and len(case.raw) < _LARGEST]))
    assert _parsed(case.raw, list(range(len(case.raw) + 1))) == case.sse


def _parsed(raw: bytes, cuts: list[int]) -> list[Event]:
    parser = SSEParser()
    events: list[Event] = []
    for start, end in itertools.pairwise(cuts):
        events += parser.feed(raw[start:end])
    return events + parser.end()
