"""The answer to a keyed request on its way into the store: kept before it is charged, charged before it leaves."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nexeon.gateway.repeats.idempotency import PROMISED, Claim, Kept
from nexeon.gateway.repeats.owed import Owed
from nexeon.gateway.repeats.replay import Tape

if TYPE_CHECKING:
    from nexeon.gateway.way import Reply


class Keeping:
    """Of one request. `whole`: the answer has come to its end, and whoever charges it keeps it first."""

    def __init__(self, claim: Claim, tape: Callable[[], Tape]) -> None:
        """`tape` makes what takes a stream."""
        self._claim = claim
        self._make_tape = tape
        self._tape: Tape | None = None
        self._kind = ""
        self._headers: Mapping[str, str] = {}
        self._make: Callable[[], Kept] | None = None
        self.answer: str | None = None
        """The id under which the answer can be read and deleted as well."""

    @property
    def whole(self) -> bool:
        return self._make is not None

    def answered(self, body: bytes, kind: str, headers: Callable[[], Mapping[str, str]]) -> None:
        """An answer in one piece is there; `headers` are asked for once its cost is known."""
        if self._claim.commit():
            self._make = lambda: Kept(zlib.compress(body, 1), kind, dict(headers()))

    async def promise(self, answer: str, reply: Reply, headers: Mapping[str, str]) -> None:
        """An answer will be made in the background, under this id: what is said now is what is said again; of a stream,
        where its events are."""
        whole = isinstance(reply.body, bytes)
        told = reply.body if isinstance(reply.body, bytes) else answer.encode()
        kind = reply.content_type if whole else PROMISED
        await self._claim.keep(Kept(zlib.compress(told, 1), kind, dict(headers)), answer)

    def begun(self, kind: str, headers: Mapping[str, str]) -> None:
        """A stream is there."""
        self._kind, self._headers, self._tape = kind, dict(headers), self._make_tape()

    def add(self, chunk: bytes) -> None:
        """A piece of a stream, but for the last."""
        if self._tape is not None and not self.whole:
            self._tape.add(chunk)

    def ended(self, last: bytes) -> None:
        """The last piece of a stream, which is at its proper end."""
        tape = self._tape
        if tape is not None and self._claim.commit():
            tape.add(last)
            self._make = lambda: Kept(tape.packed(), self._kind, dict(self._headers), tape.folded)

    async def before(self, due: Owed | None) -> None:
        """The charge is about to be made; None: it costs nothing."""
        if self._make is not None:
            await self._claim.write(self._make(), due, self.answer)

    def after(self, *, booked: bool) -> None:
        """The charge was made, or could not be."""
        if self._make is not None:
            self._claim.end(booked=booked)
