"""One stream, event by event: what the provider sends in, what the client gets out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from nexeon.config.model import NANO
from nexeon.errors import MappingFailure, RequestError
from nexeon.gateway import pipe
from nexeon.gateway.errors import canonical_error
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.failure import bad_gateway
from nexeon.gateway.lane import CLIENT_NUMBER, Lane, plain
from nexeon.gateway.price import due
from nexeon.gateway.target import Plan, Prepared
from nexeon.gateway.template import Meaning
from nexeon.gateway.unsaid import Unsaid
from nexeon.mapping import MISSING, Format, StreamDecoder, StreamEncoder
from nexeon.mapping.opaque import holds_opaque
from nexeon.mapping.paths import Path
from nexeon.mapping.stream import Steady
from nexeon.wire.json import JSONError, dumps, loads
from nexeon.wire.sse import Event, SSEParser, encode_comment, encode_event, first_event

Context = dict[str, Any]
Told = Callable[[Any, bytes], bytes]
"""Is given an event, whose ids may be as they came, and its JSON as the client gets it, and gives the JSON to send."""

_log = logging.getLogger("nexeon.gateway")
_CONTENT: Final = frozenset({"open", "delta", "close", "finish"})


class Framing:
    """How a client's format puts events into bytes: server-sent events, or one JSON array."""

    __slots__ = ("_array", "_event", "_first", "_told")

    def __init__(self, format: Format, *, array: bool, told: Told | None = None) -> None:
        self._told = told
        self._event = pipe.getter(Path(format.wire.stream.event)) if format.wire.stream.event else None
        self._array = array
        self._first = True

    def event(self, body: Any, data: bytes | None = None) -> bytes:
        """An event's bytes; `data` is its JSON where that is at hand."""
        if data is None:
            data = dumps(body)
        if self._told is not None:
            data = self._told(body, data)
        if self._array:
            lead = b"[" if self._first else b",\r\n"
            self._first = False
            return lead + data
        name = self._event(body) if self._event is not None else None
        return encode_event(data, name if type(name) is str else None)

    def names(self, event: Any) -> bool:
        """Whether an event is named by an opaque part of it."""
        return self._event is not None and holds_opaque(self._event(event))

    def end(self, done: str | None) -> bytes:
        """What ends the stream."""
        if self._array:
            return b"[]" if self._first else b"]"
        return encode_event(done.encode()) if done is not None else b""

    def close(self) -> bytes:
        """What ends a stream that failed: an array is closed, server-sent events just stop."""
        return self.end(None) if self._array else b""

    def ping(self, facts: Mapping[str, Any]) -> bytes:
        """A keep-alive that the client's SDK bears."""
        if self._array:
            return b"\n"
        if "event" in facts:
            return self.event(facts["event"])
        return encode_comment(facts["comment"]) if "comment" in facts else b"\n"


def broken_off(format: Format, decoder: StreamDecoder, ctx: Context) -> dict[str, Any] | None:
    """What a stream gave so far, as a client's format says it of an answer that failed; None where that is nothing."""
    if not decoder.started:
        return None
    try:
        answer = format.encode_response({**decoder.response, "finish": {"reason": "error"}}, ctx)
    except MappingFailure as failure:
        _log.error("an answer that broke off cannot be said: %s", failure)
        return None
    return answer if isinstance(answer, dict) else None


class Relay:
    """What the pipe and the translation have in common.

    `feed` and `end` give the client's bytes; `ended` says that they hold the stream's end. `failure` is the canonical
    error that the provider reported, `own_words` the events that told it where the client could read them as they are,
    `spoken` whether any of the answer was given before.
    """

    def __init__(self, exchange: Exchange, plan: Plan, prepared: Prepared, client_context: Context) -> None:
        self.exchange = exchange
        self.client = exchange.format
        told = exchange.turn.event if exchange.turn is not None else None
        place = exchange.format.wire.stream.cost
        if exchange.tell_cost and place is not None:
            told = partial(self._with_cost, place, place.around(), told)
        self.framing = Framing(exchange.format, array=exchange.array, told=told)
        self.decoder = StreamDecoder(plan.format, prepared.context, plan.dialect.event)
        self.encoder = StreamEncoder(exchange.format, client_context)
        self.provider = plan.name
        self.format = plan.format
        self.dialect = plan.dialect
        # events that are kept, counted or framed one by one cannot be told together
        single = exchange.array or exchange.tell_cost or (exchange.turn is not None and exchange.turn.streamed)
        self._lane = None if single else Lane(plan.shapes)
        self.done = plan.dialect.wire.stream.done
        self.context = prepared.context
        self.client_context = client_context
        self.ended = False
        self.spoken = False
        self.own_words = b""
        self.unsaid: Unsaid | None = None
        """Takes the provider's key out of what is taken."""
        self._keep = prepared.keep
        self._kept = False
        if exchange.trace is not None:
            exchange.trace.answer = lambda: self.decoder.response

    @property
    def failure(self) -> dict[str, Any] | None:
        return self.decoder.failed

    def feed(self, events: list[Event]) -> bytes:
        """Raises RequestError 502 where the stream makes no sense."""
        raise NotImplementedError

    def finish(self, parser: SSEParser) -> bytes:
        """The provider's stream is over: its last event, and what is still owed to the client. Raises RequestError
        502."""
        events = parser.end()
        out = self.feed(events if self.unsaid is None else self.unsaid.hidden_in(events))
        return out if self.failure is not None or self.ended else out + self.end()

    def take(self, data: bytes, parser: SSEParser) -> bytes:
        """What has come, as it came. Raises RequestError 502, SSEError."""
        if self.unsaid is not None and self.unsaid.heard(data):
            self._one_by_one()
            return self.feed(self.unsaid.hidden_in(parser.feed(data)))
        lane = self._lane
        if lane is not None:
            lane.interrupt()
        if lane is None or b"\r" in data or (rest := parser.take()) is None:
            return self.feed(parser.feed(data))
        if rest:
            data = rest + data
        between = parser.between
        out: list[bytes] = []
        position = 0
        while not self.ended and self.failure is None:
            position, told = lane.run(data, position)
            if told:
                out.append(told)
            event, end = first_event(data, position)
            if not end or lane.given_up:
                break
            raw = data[position:end]
            position = end
            if between:
                events = [event] if event is not None else []
            else:
                events = parser.feed(raw)
                between = parser.between
            out.append(self.feed(events))
            lane.saw(raw, self._explain)
        if position < len(data):
            out.append(self.feed(parser.feed(data[position:])))
        if lane.given_up:
            self._lane = None
        self.note()
        return b"".join(out)

    def take_steady(self, data: bytes, parser: SSEParser) -> tuple[int, bytes]:
        """How much of what has come are events like those before, and what the client gets for these. All else is
        `take`'s."""
        lane = self._lane
        if lane is None or not (lane.is_steady or parser.between):
            return 0, b""
        if self.unsaid is not None and self.unsaid.heard_in_lines(data):
            return 0, b""
        alone = lane.run_alone(data)
        if alone is not None:  # nothing else is told by such an event
            self.exchange.produced = self.decoder.produced
            return len(data), alone
        taken, told = lane.run(data, 0)
        if taken:
            self.note()
        return taken, told

    def _one_by_one(self) -> None:
        """From here on no events are told together."""
        self._lane = None

    def _explain(self, event: Any, data: bytes) -> Meaning | None:
        """What an event with opaque parts comes to; `data` is its JSON with marks. Raises Touched."""
        raise NotImplementedError

    def _steady(self, event: Any) -> Steady | None:
        if not self.dialect.leaves_event(event, self.context):
            return None
        return self.decoder.steady(self.format.opaque_event(event, self.context))

    def end(self) -> bytes:
        """The provider's stream is over: what is still owed to the client."""
        raise NotImplementedError

    def fail(self, error: RequestError) -> bytes:
        """The format's own error event, and the end."""
        piece = {"type": "error", "error": canonical_error(error, self.exchange.id), "response": self.decoder.response}
        self.ended = True
        try:
            events = self.encoder.encode([piece])
        except MappingFailure as failure:
            _log.error("an error could not be told to a client: %s", failure)
            events = []
        return b"".join(self.framing.event(event) for event in events) + self.framing.close()

    def partial(self) -> dict[str, Any] | None:
        """The answer as far as it came, as one that failed; None where nothing of it came."""
        return broken_off(self.client, self.decoder, self.client_context)

    def ping(self) -> bytes:
        return self.framing.ping(self.client.wire.stream.ping)

    def _with_cost(self, place: Path, usage: Path, told: Told | None, event: Any, data: bytes) -> bytes:
        """The JSON of an event, where it tells `usage` with what that costs so far."""
        if type(usage.get(event)) is dict:
            used, produced = self.decoder.usage, self.decoder.produced
            tokens = self.exchange.input_tokens
            amount, _, _ = due(
                self.exchange.price,
                used,
                complete=True,
                input_tokens=tokens,
                produced=produced,
                doubtful=bool(self.exchange.doubts),
            )
            data = dumps(place.put(loads(data), amount / NANO))
        return data if told is None else told(event, data)

    def note(self) -> None:
        """Carries over what the stream has told so far."""
        exchange, decoder = self.exchange, self.decoder
        exchange.produced = decoder.produced
        exchange.usage = decoder.usage
        exchange.complete = decoder.finished
        if decoder.finished and not self._kept:
            self._kept = True
            self._keep(decoder.response)


class Translation(Relay):
    """Between two formats: events → pieces → events."""

    def feed(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            if self.ended:
                break
            if self.done is not None and event.data == self.done.encode():
                self._pieces(self.decoder.end(), out)
                break
            self._pieces(self._decode(event), out)
        self.note()
        return b"".join(out)

    def _explain(self, event: Any, data: bytes) -> Meaning | None:
        steady = self._steady(event)
        if steady is None:
            return None
        events = self.encoder.steady(self.client, steady.piece, CLIENT_NUMBER)
        if events is None:
            return None
        out = b"".join(self.framing.event(one, plain(one)) for one in events)
        return Meaning(out, steady, partial(self.encoder.told, steady.piece, each=len(events)))

    def end(self) -> bytes:
        out: list[bytes] = []
        self._pieces(self.decoder.end(), out)
        self.note()
        return b"".join(out)

    def _decode(self, event: Event) -> list[dict[str, Any]]:
        try:
            body = loads(event.data)
        except JSONError:
            raise bad_gateway(f"provider `{self.provider}` sent an event that is not JSON") from None
        try:
            return self.decoder.feed(body)
        except MappingFailure as failure:
            _log.warning("%s: %s", self.exchange.id, failure)
            raise bad_gateway(f"an event of provider `{self.provider}` cannot be understood") from failure

    def _pieces(self, pieces: list[dict[str, Any]], out: list[bytes]) -> None:
        if not pieces:
            return
        if not self.spoken and any(piece["type"] in _CONTENT for piece in pieces):
            self.spoken = True
            self.exchange.spoke()
        last = pieces[-1]["type"]
        if last == "error":  # told by whoever knows whether another target can still help
            pieces = pieces[:-1]
        try:
            events = self.encoder.encode(pieces)
        except MappingFailure as failure:
            _log.warning("%s: %s", self.exchange.id, failure)
            raise bad_gateway("the answer cannot be said in the format of this request") from failure
        out += [self.framing.event(event) for event in events]
        if last == "finish":
            out.append(self.framing.end(self.client.wire.stream.done))
            self.ended = True


class Pipe(Relay):
    """The same format on both sides: events as they came, but for the gateway's ids and a hidden usage option."""

    def __init__(self, exchange: Exchange, plan: Plan, prepared: Prepared, client_context: Context) -> None:
        super().__init__(exchange, plan, prepared, client_context)
        self._format = plan.format
        self._ids = plan.dialect.wire.stream.ids
        self._usage_field = plan.dialect.wire.stream.usage_field if prepared.hide_usage else None
        self._usage_of = pipe.getter(self._usage_field) if self._usage_field is not None else None
        self._hide_usage = prepared.hide_usage
        self._marker = pipe.EventMarker(self._ids)
        self._last: Any = None

    def feed(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            if self.ended:
                break
            if self.done is not None and event.data == self.done.encode():
                self.decoder.end()
                if self.failure is None:
                    out.append(self._close())
                break
            self._forward(event, out)
        if self.decoder.finished and not self.ended and self.done is None:
            out.append(self._close())
        self.note()
        return b"".join(out)

    def _explain(self, event: Any, data: bytes) -> Meaning | None:
        steady = self._steady(event)
        if steady is None:
            return None
        if self._may_be_hidden(event) and self._format.opaque_usage_only(event, self.context):
            return None
        if self.framing.names(event) or any(holds_opaque(place.path.get(event)) for place in self._ids):
            return None
        said, json = self._said(event, data)
        return Meaning(self.framing.event(said, plain(said) if json is None else json), steady, lambda times: 0)

    def end(self) -> bytes:
        self.decoder.end()
        self.note()
        return self._close() if self.decoder.finished else b""

    def _one_by_one(self) -> None:
        if self._lane is not None and self._lane.last is not None:
            self._last = loads(self._lane.last.partition(b"data:")[2])
        super()._one_by_one()

    def fail(self, error: RequestError) -> bytes:
        self._one_by_one()
        self.encoder.follow(self._last)
        return super().fail(error)

    def _close(self) -> bytes:
        self.ended = True
        return self.framing.end(self.client.wire.stream.done)

    def _forward(self, event: Event, out: list[bytes]) -> None:
        try:
            body = loads(event.data)
        except JSONError:
            if not self.decoder.finished and not self.exchange.array:
                out.append(encode_event(event.data, event.event))
            return
        self._tap(body)
        if self.failure is not None:
            told = pipe.marked(body, self._ids)
            self.own_words += self.framing.event(told, event.data if told is body else None)
            return
        self._last = body
        if self._may_be_hidden(body) and self._format.usage_only(body, self.context):
            return
        out.append(self.framing.event(*self._said(body, event.data)))

    def _said(self, body: Any, data: bytes) -> tuple[Any, bytes | None]:
        """An event as the client gets it, and its JSON where that need not be written anew."""
        if self._usage_of is not None and self._usage_of(body) is not MISSING:
            assert self._usage_field is not None
            return self._usage_field.remove(pipe.marked(body, self._ids)), None
        if type(body) is not dict:
            return body, data
        marked = self._marker.mark(body, data)
        return (pipe.marked(body, self._ids), None) if marked is None else (body, marked)

    def _may_be_hidden(self, body: Any) -> bool:
        """Where the format says what usage is called, an event without it does not exist for usage."""
        return self._hide_usage and (self._usage_of is None or self._usage_of(body) is not MISSING)

    def _tap(self, body: Any) -> None:
        try:
            pieces = self.decoder.feed(body)
        except MappingFailure:  # what the mapping does not know passes all the same
            self.exchange.unknown += 1
            return
        if not self.spoken and any(piece["type"] in _CONTENT for piece in pieces):
            self.spoken = True
            self.exchange.spoke()
