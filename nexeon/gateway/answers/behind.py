"""Answers that are made while nobody waits for them: their client polls, follows, cancels or comes back later."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from nexeon.errors import NotFound, RequestError, StoreError
from nexeon.gateway.answers.resource import Resource
from nexeon.gateway.answers.turns import SECURED, Turn
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.relay import Framing
from nexeon.gateway.target import Preparer
from nexeon.gateway.way import Reply
from nexeon.store.answers import Answer, AnswerStore
from nexeon.wire.json import dumps, loads

_log = logging.getLogger("nexeon.gateway")
STOPPED: Final = "The gateway stopped before the answer was complete."
_MARK: Final = "nex-"

RENEW: Final = 5.0
"""Seconds between signs of life of what runs here, where other processes look for them."""

LOST: Final = 30.0
"""Seconds without such a sign after which nobody is at it any more."""

_LOOK: Final = 0.5

Work = Callable[[], Awaitable[Reply]]
Promised = Callable[[Reply], Awaitable[None]]
Key = tuple[str, str]


class Behind:
    """The answers under way in this process, by account and id."""

    def __init__(self) -> None:
        self.running: dict[Key, Turn] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._cancelled: set[Key] = set()
        self._renewing: asyncio.Task[None] | None = None

    async def start(
        self, exchange: Exchange, work: Work, promised: Promised | None = None, *, keepalive: float
    ) -> Reply:
        """Promises the answer that `work` will give: its state as queued, or its events as they come.

        `promised` is told of that before the work begins, for a request that must not be answered twice.
        """
        turn = exchange.turn
        assert turn is not None
        turn.id = turn.resource.prefix + _MARK + secrets.token_hex(16)
        turn.base = _first(exchange, turn)
        queued = turn.state("queued")
        turn.streamed = exchange.stream
        turn.save(answer=queued)
        if exchange.stream:
            turn.begin()
        if exchange.stream:
            events = follow(turn.resource, turn, keepalive=keepalive)
            reply = Reply(200, events, "text/event-stream; charset=utf-8", {"cache-control": "no-cache"})
        else:
            reply = Reply(200, dumps(queued))
        try:
            await turn.store.flush()
            if promised is not None:
                await promised(reply)
        except BaseException:  # the client left, say: nothing will come of what is queued
            turn.end("cancelled")
            turn.finish()
            raise
        key = (turn.account, turn.id)
        self.running[key] = turn
        self._tasks[key] = asyncio.get_running_loop().create_task(self._run(key, exchange, turn, work))
        if turn.store.shared and self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew(turn.store))
        return reply

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
        if self._renewing is not None:
            self._renewing.cancel()

    async def _run(self, key: Key, exchange: Exchange, turn: Turn, work: Work) -> None:
        try:
            turn.save(answer=turn.state("in_progress"))
            await _drained(await work())
            if turn.answer is None:
                turn.end("failed", "The answer had no end.")
        except RequestError as error:
            turn.end("failed", error.message)
        except asyncio.CancelledError:
            turn.end("cancelled") if key in self._cancelled else turn.end("failed", STOPPED)
        except Exception:
            _log.exception("%s: an answer in the background failed", exchange.id)
            turn.end("failed", "The gateway failed at this request.")
        finally:
            turn.finish()
            self._cancelled.discard(key)
            self._tasks.pop(key, None)
            self.running.pop(key, None)

    async def _renew(self, store: AnswerStore) -> None:
        """Tells other processes that this one is at work, and hears from them what was cancelled or deleted there."""
        while self.running:
            await asyncio.sleep(RENEW)
            for (account, id), turn in list(self.running.items()):
                try:
                    under_way = await store.renew(account, id) in turn.resource.open
                except NotFound:  # nothing is to be left of it
                    under_way = turn.keep = False
                except StoreError as error:
                    _log.error("an answer in the background could not be renewed: %s", error)
                    continue
                if not under_way:
                    await self.cancel(account, id)
        self._renewing = None


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


async def follow(resource: Resource, turn: Turn, after: int = -1, *, keepalive: float) -> AsyncIterator[bytes]:
    """The events of an answer under way that have a number above `after`, as they come, to its end."""
    framing = Framing(resource.format, array=False)
    place = after + 1
    while True:
        changed, done = turn.changed, turn.done
        while place < len(turn.events):
            yield framing.event(loads(turn.events[place]), turn.events[place])
            place += 1
        if done:
            return
        try:
            async with asyncio.timeout(keepalive or None):
                await changed.wait()
        except TimeoutError:
            yield framing.ping(resource.format.wire.stream.ping)


async def watch(resource: Resource, store: AnswerStore, answer: Answer, after: int) -> AsyncIterator[bytes]:
    """The same of one that is kept, or under way in another process."""
    framing = Framing(resource.format, array=False)
    place = after + 1
    try:
        while True:
            events = await store.events(answer.account, answer.id, place)
            for event in events:
                body = loads(event)
                if SECURED in body:  # told when it is charged
                    break
                yield framing.event(body, event)
                place += 1
            if answer.status not in resource.open or time.time() - answer.touched > LOST:
                return
            await asyncio.sleep(_LOOK)
            answer = await store.get(answer.account, answer.id)
    except NotFound:  # deleted meanwhile
        return
