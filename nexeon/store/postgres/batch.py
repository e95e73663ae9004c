"""One transaction for all who ask at the same time: the way of every change of money.

While a batch is being written, the next one gathers; it has everything that has come meanwhile. A batch whose
connection was lost is tried again on a new one until its callers give up; each order is carried out once, because the
ledger and the reservations tell whether it has been.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import orjson

from nexeon.errors import StoreError, StoreUnavailable
from nexeon.store.postgres.book import BOOK, Booked, Booking
from nexeon.store.postgres.connections import LOST, Connections, let_go, told
from nexeon.store.postgres.piece import LedgerGrows, Needs, Piece

log = logging.getLogger(__name__)

_LAZY: Final = 0.02
"""Seconds that what nobody waits for may wait for company."""

_BUSY: Final = 4
_GATHERS: Final = 0.01
"""A batch of more orders than `_BUSY` is followed by the next so many seconds after its own begin: what a transaction
takes besides its orders is shared by more of them, and who asks seldom never waits."""

_MOST: Final = 512
"""Orders in one transaction."""

_AGAIN: Final = 0.05
_LONGEST: Final = 1.0
"""Seconds between attempts to reach the database: doubled up to the longest."""


@dataclass(eq=False, slots=True)
class Order:
    """`work` runs on a piece that has what it `needs`; `deadline` (monotonic) is when its caller gives up.

    `token` is the entry or reservation that tells whether it has been carried out. An order that the database may know
    how to carry out by itself has `facts` for it, and `told`, which makes the outcome of its answer.
    """

    needs: Needs
    work: Callable[[Piece], Awaitable[Any]]
    deadline: float
    token: str = ""
    closes: bool = False
    tried: bool = False
    facts: dict[str, Any] | None = None
    told: Callable[[Any], Any] = lambda answer: None
    future: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def end(self, outcome: Any) -> None:
        """Tells the caller, where it still waits."""
        if self.future.done():
            return
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Batcher:
    """Carries orders out. Owned by one event loop."""

    def __init__(
        self, connections: Connections, piece: Callable[[], Piece], clock: Callable[[], float], gateway: str
    ) -> None:
        """`gateway` is whose the reservations are."""
        self._connections = connections
        self._piece = piece
        self._clock = clock
        self._gateway = gateway
        self._queue: list[Order] = []
        self._lazy: set[asyncio.Future[Any]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._connection: Any = None
        self._closed = self._closing = False
        self.failing = False

    async def do(self, order: Order) -> Any:
        """Returns once it is durable. Raises what the work raises, StoreUnavailable at its deadline. A caller that is
        cancelled may leave an order that is carried out."""
        self._add(order)
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + order.deadline - time.monotonic()):
                return await asyncio.shield(order.future)
        except TimeoutError:
            if order in self._queue:
                self._queue.remove(order)
            raise StoreUnavailable(f"{self._connections.name} did not answer in time") from None

    def later(self, order: Order) -> None:
        """The same for what nobody waits for."""
        self._lazy.add(order.future)
        order.future.add_done_callback(self._done_lazily)
        self._add(order, lazy=True)

    async def flush(self) -> None:
        """Returns once what was left for later is done."""
        if self._lazy:
            self._start()
            await asyncio.wait(self._lazy)

    async def close(self) -> None:
        """Carries out what is left, as far as the database can be reached."""
        self._closing = True
        self._start()
        if self._runner is not None:
            await asyncio.wait({self._runner})
        self._closed = True
        await let_go(self._connection)

    def _add(self, order: Order, *, lazy: bool = False) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        self._queue.append(order)
        if self._runner is None and not lazy:
            self._start()
        elif self._runner is None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LAZY, self._start)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._runner is None and self._queue:
            self._runner = asyncio.get_running_loop().create_task(self._run())

    def _done_lazily(self, future: asyncio.Future[Any]) -> None:
        self._lazy.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            log.error("what a call has begun could not be noted: %s", error)

    async def _run(self) -> None:
        pause = _AGAIN
        try:
            while self._queue:
                batch, self._queue = self._queue[:_MOST], self._queue[_MOST:]
                began, size = time.monotonic(), len(batch)
                try:
                    await self._batch(batch)
                except LOST as error:
                    await self._lost(batch, error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST)
                else:
                    pause = _AGAIN
                    self.failing = False
                    left = began + _GATHERS - time.monotonic()
                    if _BUSY < size < _MOST and left > 0 and not self._closing:
                        await asyncio.sleep(left)
        finally:
            self._runner = None
            for order in self._queue:
                # only where the loop ends, which cancels this task
                order.future.cancel()

    async def _lost(self, batch: list[Order], error: BaseException) -> None:
        """Puts the orders back whose callers still wait."""
        connection, self._connection = self._connection, None
        await let_go(connection)
        if not self.failing:
            log.error("%s is lost: %s", self._connections.name, error)
        self.failing = True
        now = time.monotonic()
        for order in batch:
            order.tried = True
            if order.deadline <= now and not order.future.done():
                order.future.set_exception(StoreUnavailable(f"{self._connections.name} cannot be reached"))
        self._queue[:0] = [order for order in batch if not order.future.done()]

    async def _batch(self, batch: list[Order]) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connections.fresh()
        try:
            batch = await self._usual(batch)
            if not batch:
                return
            outcomes = await self._transact(batch)
        except LOST:
            raise
        except (asyncpg.PostgresError, StoreError) as error:
            if len(batch) > 1:
                # One order's fault must not be the others'.
                for order in batch:
                    await self._batch([order])
                return
            outcomes = [_told(error, self._connections.name)]
        for order, outcome in zip(batch, outcomes, strict=True):
            order.end(outcome)

    async def _usual(self, batch: list[Order]) -> list[Order]:
        """Has the database carry out what it can, in one statement; the others are left."""
        booking = Booking()
        usual: list[tuple[Order, dict[str, Any]]] = []
        others: list[tuple[Order, dict[str, Any]]] = []
        for order in batch:
            if order.facts is not None:
                (usual if booking.add(order.facts) else others).append((order, order.facts))
        if not usual:
            return batch
        at = self._clock()
        booked = Booked(await self._connection.fetchrow(BOOK, at, self._gateway, *booking.arrays()), at)
        for order, facts in usual:
            # Once it is done otherwise, another id stands for it.
            order.facts = None
            answer = booked.answer(facts)
            if answer is not None:
                order.end(order.told(answer))
            elif booked.simple(facts):
                others.append((order, facts))
        if others:
            await self._one_by_one(others)
        return [order for order in batch if not order.future.done()]

    async def _one_by_one(self, orders: list[tuple[Order, dict[str, Any]]]) -> None:
        """The same in the order in which they came."""
        text = orjson.dumps([facts for _, facts in orders]).decode()
        query = "SELECT carry_out($1::json, $2, $3)"
        answers = orjson.loads(await self._connection.fetchval(query, text, self._clock(), self._gateway))
        for (order, _), answer in zip(orders, answers, strict=True):
            order.facts = None
            if answer is not None:
                order.end(order.told(answer))

    async def _transact(self, batch: Sequence[Order]) -> list[Any]:
        needs = Needs()
        for order in batch:
            needs.add(order.needs)
            if order.tried and order.token:
                needs.reservations.add(order.token)
        while True:
            try:
                async with self._connection.transaction():
                    piece = self._piece()
                    await piece.load(self._connection, needs)
                    outcomes = await self._carry_out(batch, piece)
                    await piece.write(self._connection)
                return outcomes
            except LedgerGrows:
                needs.entries = True

    async def _carry_out(self, batch: Sequence[Order], piece: Piece) -> list[Any]:
        asked = [order.token for order in batch if order.token and (order.closes or order.tried)]
        asked = [token for token in asked if piece.holds(token) is None]
        known = await piece.recall(self._connection, asked) if asked else {}
        outcomes: list[Any] = []
        for order in batch:
            if order.tried and not order.closes and order.token:
                done = known.get(order.token) or piece.holds(order.token)
                if done is not None:
                    outcomes.append(done)
                    continue
            try:
                outcomes.append(await order.work(piece))
            except (StoreError, ValueError) as error:
                outcomes.append(error)
        return outcomes


def _told(error: Exception, name: str) -> Exception:
    try:
        with told(name):
            raise error
    except StoreError as words:
        return words
