"""Events that are told together are told as they would be one by one."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexeon.errors import RequestError
from nexeon.gateway.lane import Explain, Lane, Shapes
from nexeon.gateway.relay import Relay
from nexeon.mapping import StreamEncoder, new_context
from nexeon.mapping.opaque import OpaqueText, Touched
from nexeon.wire.json import JSONError, dumps, loads
from nexeon.wire.sse import SSEParser
from tests.bench.answers import events_of
from tests.bench.deployment import FORMATS, SHORT
from tests.gateway.relays import deployed, relay

EVENTS = dict(zip(FORMATS, ("chat/completions", "responses", "messages", "enerateContent"), strict=True))
SHAPES: dict[tuple[str, str], Shapes] = {}
"""What streams of earlier examples have learned."""

PAIRS = list(itertools.product(FORMATS, FORMATS))
TEXT = st.one_of(
    st.sampled_from([" the", "a", '"', "\\", '\\"', "\n\n", '"}', " ", "", "naïve", "\u2028", "🙂", "42", "[DONE]"]),
    st.text(max_size=6),
)


def told(one: Relay, raw: bytes, cuts: list[int]) -> bytes:
    """What the client gets of a stream that comes in these pieces."""
    parser = SSEParser()
    out = [one.take(raw[start:end], parser) for start, end in itertools.pairwise([0, *cuts, len(raw)])]
    out.append(one.feed(parser.end()))
    return b"".join(out) if one.ended else b"".join([*out, one.end()])


def one_by_one(one: Relay, raw: bytes) -> bytes:
    one._lane = None
    return told(one, raw, [])


def meaning(raw: bytes) -> list[Any]:
    return [
        (event.event, event.data if event.data == b"[DONE]" else loads(event.data)) for event in SSEParser().feed(raw)
    ]


def state(one: Relay) -> tuple[Any, ...]:
    decoder = one.decoder
    return decoder.response, decoder.usage, decoder.produced, one.exchange.produced, one.exchange.complete, one.spoken


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{SHORT[pair[1]]}-{SHORT[pair[0]]}")
def test_whole_streams(pair: tuple[str, str], usage: bool) -> None:
    client, upstream = pair
    raw = b"".join(events_of(EVENTS[upstream]))
    fast, slow = relay(client, upstream, usage=usage), relay(client, upstream, usage=usage)
    assert meaning(told(fast, raw, [])) == meaning(one_by_one(slow, raw))
    assert state(fast) == state(slow)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_text_cut_anywhere(data: st.DataObject) -> None:
    client, upstream = data.draw(st.sampled_from(PAIRS))
    raw = b"".join(events_of(EVENTS[upstream], data.draw(st.lists(TEXT, max_size=30))))
    if data.draw(st.booleans()):
        raw = b"".join(_escaped(event) for event in raw.split(b"\n\n")[:-1])
    cuts = sorted(set(data.draw(st.lists(st.integers(1, len(raw) - 1), max_size=12))))
    if data.draw(st.booleans()):  # each event alone, but for a few
        ends = list(itertools.accumulate(len(event) + 2 for event in raw.split(b"\n\n")[:-1]))
        cuts = [end for end in ends[:-1] if end not in ends[: len(cuts)]]
    fast, slow = relay(client, upstream), relay(client, upstream)
    if fast._lane is not None and data.draw(st.booleans()):
        fast._lane._shapes = SHAPES.setdefault((client, upstream), {})
    assert meaning(told(fast, raw, cuts)) == meaning(one_by_one(slow, raw))
    assert state(fast) == state(slow)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_what_fits_but_for_a_byte_is_found_in_the_midst(data: st.DataObject) -> None:
    """Events that begin and end as the others do, with something else between."""
    client, upstream = data.draw(st.sampled_from(PAIRS))
    texts = data.draw(st.lists(TEXT, min_size=12, max_size=30))
    events = events_of(EVENTS[upstream], texts)
    for _ in range(data.draw(st.integers(1, 3))):
        number = data.draw(st.integers(4, len(events) - 4))
        event = events[number]
        start = data.draw(st.integers(1, len(event) - 3))
        end = data.draw(st.integers(start, min(start + 3, len(event) - 3)))
        new = data.draw(
            st.sampled_from([b"", b"0", b"x", b'"', b"\\", b'","', b'":"', b'" ,"', b"{", b"}", b"\n", b"\xff"])
        )
        events[number] = event[:start] + new + event[end:]
    raw = b"".join(events)
    fast, slow = relay(client, upstream), relay(client, upstream)
    slow._lane = None
    if fast._lane is not None and data.draw(st.booleans()):
        fast._lane._shapes = SHAPES.setdefault((client, upstream), {})
    assert _outcome(fast, raw) == _outcome(slow, raw)
    assert state(fast) == state(slow)


def heard(one: Relay, raw: bytes, cuts: list[int]) -> bytes:
    """The same where what is steady is taken first."""
    parser = SSEParser()
    out: list[bytes] = []
    for start, end in itertools.pairwise([0, *cuts, len(raw)]):
        taken, said = one.take_steady(raw[start:end], parser)
        out.append(said)
        if taken < end - start:
            out.append(one.take(raw[start + taken : end], parser))
    out.append(one.feed(parser.end()))
    return b"".join(out) if one.ended else b"".join([*out, one.end()])


def _outcome(one: Relay, raw: bytes, cuts: list[int] | None = None) -> Any:
    try:
        out = told(one, raw, []) if cuts is None else heard(one, raw, cuts)
    except RequestError as error:
        one.note()
        return str(error)
    found: list[Any] = []
    for event in SSEParser().feed(out):
        try:
            found.append((event.event, loads(event.data)))
        except JSONError:
            found.append((event.event, event.data))
    return found


def _escaped(event: bytes) -> bytes:
    """The same event with everything beyond ASCII written as escapes."""
    head, data, json_text = event.partition(b"data: ")
    if json_text.startswith(b"["):
        return event + b"\n\n"
    return head + data + json.dumps(json.loads(json_text)).encode() + b"\n\n"


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{SHORT[pair[1]]}-{SHORT[pair[0]]}")
def test_most_events_of_a_plain_stream_are_told_together(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, upstream = pair
    one = relay(client, upstream)
    singles: list[bytes] = []
    original = Lane.saw

    def saw(self: Lane, raw: bytes, explain: Explain) -> None:
        singles.append(raw)
        original(self, raw, explain)

    monkeypatch.setattr(Lane, "saw", saw)
    events = events_of(EVENTS[upstream])
    told(one, b"".join(events), [])
    assert len(events) > 200
    first = len(singles)
    assert first < 16
    second = relay(client, upstream)
    assert one._lane is not None
    assert second._lane is not None
    second._lane._shapes = one._lane._shapes
    told(second, b"".join(events), [])
    assert len(singles) - first < first  # it knows where the text is from the first one


def test_what_another_stream_has_learned_may_be_wrong() -> None:
    """Here the events differ in more than they did there: what they have in common is looked for anew."""
    texts = [" a", " b", " c", " d", " e", " f"]
    raw = b"".join(events_of("chat/completions", texts))
    learned = relay("openai.chat", "openai.chat")
    told(learned, raw, [])
    assert learned._lane is not None
    assert learned._lane._shapes
    shapes = {  # as if the others had stood still
        begin: {quotes: places[:1] for quotes, places in known.items()}
        for begin, known in learned._lane._shapes.items()
    }
    fast, slow = relay("openai.chat", "openai.chat"), relay("openai.chat", "openai.chat")
    assert fast._lane is not None
    fast._lane._shapes = shapes
    assert meaning(told(fast, raw, [])) == meaning(one_by_one(slow, raw))
    assert state(fast) == state(slow)
    assert shapes == learned._lane._shapes


@pytest.mark.parametrize(
    ("bad", "problem"),
    [(b'"delta":{"content":" the\x01"}', "a control character"), (b'"delta":{"content":"\xff"}', "no UTF-8")],
)
def test_what_is_no_json_text_goes_the_long_way(bad: bytes, problem: str) -> None:
    events = events_of(EVENTS["openai.chat"], [" a", " b", " c", " d", " e"])
    events[5] = events[5].replace(b'"delta":{"content":" e"}', bad)
    one = relay("openai.chat", "openai.chat")
    told(one, b"".join(events), [])
    assert one.decoder.response["blocks"] == [{"type": "text", "text": " a b c d"}], problem


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{SHORT[pair[1]]}-{SHORT[pair[0]]}")
def test_halves_of_surrogate_pairs_come_as_they_are(pair: tuple[str, str]) -> None:
    """Some providers cut text between the two halves of an emoji; a client that joins the pieces has it whole."""
    client, upstream = pair
    raw = b"".join(events_of(EVENTS[upstream], [" a", " b", "HIGH", "LOW", "HIGH", "LOW", " c", " d"]))
    raw = raw.replace(b"HIGH", b"\\ud83d").replace(b"LOW", b"\\ude00")
    fast, slow = relay(client, upstream), relay(client, upstream)
    assert meaning(told(fast, raw, [])) == meaning(one_by_one(slow, raw))
    assert fast.decoder.response["blocks"][0]["text"] == " a b\ud83d\ude00\ud83d\ude00 c d"


def test_a_block_that_ended_between_ends_the_template() -> None:
    """The same bytes mean something else once the block that they were for is closed."""
    events = events_of(EVENTS["anthropic.messages"], [" a", " b", " c", " d"])
    stop = next(event for event in events if b"content_block_stop" in event)
    late = [*events[:6], stop, *events[6:]]
    fast, slow = relay("openai.chat", "anthropic.messages"), relay("openai.chat", "anthropic.messages")
    assert meaning(told(fast, b"".join(late), [])) == meaning(one_by_one(slow, b"".join(late)))
    assert state(fast) == state(slow)


def test_a_template_needs_a_mapping_that_does_not_read_the_text() -> None:
    _, library = deployed()
    decode = library.format("openai.chat").transforms["stream", "decode"]
    event = {"choices": [{"index": 0, "delta": {"content": OpaqueText("x")}}]}
    ctx = {"lost": [], "dropped": [], "ids": 0, "status": 200}
    assert decode.opaque(event, ctx)[0]["text"] is event["choices"][0]["delta"]["content"]  # type: ignore[index]
    with pytest.raises(Touched):
        decode.opaque({"choices": [{"index": 0, "delta": {}, "finish_reason": OpaqueText("stop")}]}, ctx)


@pytest.mark.parametrize("client", FORMATS)
def test_text_after_a_block_that_the_format_does_not_tell(client: str) -> None:
    _, library = deployed()
    format = library.format(client)
    encoder = StreamEncoder(format, new_context(format=client, token="0" * 24, now=1, model="m", body={}))
    sound = {"type": "audio", "format": "wav", "data": "AAAA"}
    text = {"type": "text"}
    encoder.encode(
        [
            {"type": "start", "response": {"blocks": []}},
            {"type": "open", "index": 0, "ordinal": 0, "block": sound},
            {"type": "close", "index": 0, "ordinal": 0, "block": sound},
            {"type": "open", "index": 1, "ordinal": 0, "block": text},
            {"type": "delta", "index": 1, "ordinal": 0, "block": text, "text": "a", "begins": True},
        ]
    )
    piece = {"type": "delta", "index": 1, "ordinal": 0, "block": text}
    together = encoder.steady(format, {**piece, "text": OpaqueText("b")}, encoder._count)
    alone = encoder.encode([{**piece, "text": "b"}])
    assert together is not None
    assert dumps(together) == dumps(alone)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_any_text_taken_as_it_comes(data: st.DataObject) -> None:
    """What is steady first, and the rest after it, as a listener does: in pieces of one event, of some, of halves."""
    client, upstream = data.draw(st.sampled_from(PAIRS))
    events = events_of(EVENTS[upstream], data.draw(st.lists(TEXT, max_size=30)))
    if data.draw(st.booleans()):
        number = data.draw(st.integers(0, len(events) - 1))
        event = events[number]
        place = data.draw(st.integers(1, len(event) - 3))
        events[number] = event[:place] + data.draw(st.sampled_from([b"0", b"x", b'"', b"\\", b'","'])) + event[place:]
    raw = b"".join(events)
    ends = set(itertools.accumulate(map(len, events)))
    cuts = (ends - set(data.draw(st.lists(st.sampled_from(sorted(ends)), max_size=9)))) - {len(raw)}
    cuts |= set(data.draw(st.lists(st.integers(1, len(raw) - 1), max_size=4)))
    fast, slow = relay(client, upstream), relay(client, upstream)
    slow._lane = None
    assert _outcome(fast, raw, sorted(cuts)) == _outcome(slow, raw)
    assert state(fast) == state(slow)
