"""Answers that are made while nobody waits for them: their client polls, follows, cancels or comes back later."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from nexeon.errors import MappingFailure, RequestError
from nexeon.gateway import pipe
from nexeon.gateway.errors import canonical_error
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.relay import Framing
from nexeon.gateway.target import Preparer
from nexeon.gateway.turns import Turn
from nexeon.gateway.way import Reply
from nexeon.mapping import Format, StreamEncoder
from nexeon.mapping.paths import Path
from nexeon.wire.json import dumps, loads
from nexeon.wire.sse import encode_event

_log = logging.getLogger("nexeon.gateway")
STOPPED: Final = "The gateway stopped before the answer was complete."
_MARK: Final = "nex-"

Work = Callable[[], Awaitable[Reply]]


class Behind:
    """The answers under way, by account and id."""

    def __init__(self) -> None:
        self.running: dict[tuple[str, str], Turn] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._cancelled: set[tuple[str, str]] = set()

    async def start(self, exchange: Exchange, work: Work, *, keepalive: float) -> Reply:
        """Promises the answer that `work` will give: its state as queued, or its events as they come."""
        turn = exchange.turn
        assert turn is not None
        turn.id = turn.resource.prefix + _MARK + secrets.token_hex(16)
        turn.base = _first(exchange, turn)
        turn.save(answer=turn.state("queued"))
        await turn.store.flush()
        key = (turn.account, turn.id)
        self.running[key] = turn
        self._tasks[key] = asyncio.get_running_loop().create_task(self._run(key, exchange, turn, work))
        if exchange.stream:
            return Reply(
                200, follow(turn.resource.format, turn, keepalive=keepalive), "text/event-stream; charset=utf-8"
            )
        return Reply(200, dumps(turn.state("queued")))

    async def cancel(self, account: str, id: str) -> None:
        """Returns once it is no longer under way; does nothing where it was not."""
        task = self._tasks.get((account, id))
        if task is not None:
            self._cancelled.add((account, id))
            task.cancel()
            await asyncio.wait({task})

    async def stop(self, timeout: float) -> None:
        """Lets what runs come to its end, for so many seconds."""
        tasks = set(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _run(self, key: tuple[str, str], exchange: Exchange, turn: Turn, work: Work) -> None:
        try:
            turn.save(answer=turn.state("in_progress"))
            await _drained(await work())
            if turn.answer is None:
                _fail(exchange, turn, RequestError(502, "upstream", "The answer had no end."))
        except RequestError as error:
            _fail(exchange, turn, error)
        except asyncio.CancelledError:
            if key in self._cancelled:
                turn.save(answer=turn.state("cancelled"))
            else:
                _fail(exchange, turn, RequestError(503, "unavailable", STOPPED))
        except Exception:
            _log.exception("%s: an answer in the background failed", exchange.id)
            _fail(exchange, turn, RequestError(500, "internal", "The gateway failed at this request."))
        finally:
            self._cancelled.discard(key)
            self._tasks.pop(key, None)
            self.running.pop(key, None)
            turn.finish()


async def _drained(reply: Reply) -> None:
    """Reads a stream to its end: its events are kept on their way."""
    if isinstance(reply.body, bytes):
        return
    try:
        async for _ in reply.body:
            pass
    finally:
        if reply.close is not None:
            reply.close()


def _first(exchange: Exchange, turn: Turn) -> dict[str, Any]:
    """The answer before anything of it is there, as the format's streams begin with it."""
    assert turn.id is not None
    ctx = Preparer(exchange, turn.id).client_context()
    events = turn.resource.format.encode_piece({"type": "start", "response": {"id": turn.id}}, ctx)
    found = [turn.resource.answer["event"].get(event) for event in events]
    return turn.told(next((answer for answer in found if isinstance(answer, dict)), {}))


def _fail(exchange: Exchange, turn: Turn, error: RequestError) -> None:
    """The end of an answer that will not come; a stream is told so in its format's own words."""
    if exchange.stream and turn.answer is None:
        format = exchange.format
        encoder = StreamEncoder(format, Preparer(exchange, turn.id or "").client_context())
        if turn.events:
            encoder.follow(loads(turn.events[-1]))
        try:
            for event in encoder.encode(
                [{"type": "error", "error": canonical_error(error, exchange.id), "response": {"blocks": []}}]
            ):
                turn.event(event, dumps(event))
        except MappingFailure as failure:
            _log.error("an error could not be told to a client: %s", failure)
    turn.save(answer=turn.answer or turn.state("failed", error.message))


async def follow(format: Format, turn: Turn, after: int = -1, *, keepalive: float) -> AsyncIterator[bytes]:
    """The events of an answer under way that have a number above `after`, as they come, to its end."""
    framing = Framing(format, array=False)
    place = 0
    while True:
        changed, done = turn.changed, turn.done
        while place < len(turn.events):
            if framed := frame(format, loads(turn.events[place]), after):
                yield framed
            place += 1
        if done:
            return
        try:
            async with asyncio.timeout(keepalive or None):
                await changed.wait()
        except TimeoutError:
            yield framing.ping(format.wire.stream.ping)


async def replay(format: Format, events: list[Any], after: int) -> AsyncIterator[bytes]:
    """The kept events of an answer that have a number above `after`."""
    for event in events:
        if framed := frame(format, event, after):
            yield framed


def frame(format: Format, event: Any, after: int) -> bytes:
    """One event's bytes; none where its number is not above `after`."""
    facts = format.wire.stream
    number = event.get(facts.number) if facts.number is not None and isinstance(event, dict) else None
    if isinstance(number, int) and number <= after:
        return b""
    name = pipe.getter(Path(facts.event))(event) if facts.event else None
    return encode_event(dumps(event), name if isinstance(name, str) else None)
