"""A stream on its way to the client, and its charge before its end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Protocol

from nexeon.errors import RequestError, StoreError
from nexeon.gateway.attempt import StreamAnswer
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.failure import AttemptFailed, Blame, bad_gateway, from_failure, stream_error
from nexeon.gateway.settle import Settler
from nexeon.gateway.upstream import UpstreamFailure
from nexeon.wire.sse import SSEError

_log = logging.getLogger("nexeon.gateway")


class Writer(Protocol):
    """A client's connection, for bytes of a stream's body that need not wait."""

    def has_room(self) -> bool:
        """Whether `write` may be called: the answer has begun, and the client takes what it is sent."""
        ...

    def write(self, data: bytes) -> None: ...


class ClientStream:
    """The bytes of a streamed answer. `close` must be called however it ends; a client that left calls it early."""

    def __init__(self, exchange: Exchange, answer: StreamAnswer, settler: Settler) -> None:
        self._exchange = exchange
        self._answer = answer
        self._settler = settler
        self._iterator = self._run()
        self._kept = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._iterator

    def close(self) -> None:
        """Stops the provider's call, and charges and keeps what was produced, unless that has been done."""
        self._answer.reader.stop()
        self._settler.abandon(self._exchange)
        turn = self._exchange.turn
        if turn is None or not turn.keep or self._kept:
            return
        self._kept = True
        if turn.answer is None and (partial := self._answer.relay.partial()) is not None:
            turn.left(partial, self._answer.relay.decoder.open_calls)
        if not turn.background:
            turn.end("cancelled", maker=self._exchange.maker)

    def write_to(self, writer: Writer) -> None:
        """Events that are like those before are written as they come, where they come one by one: to wake whoever
        iterates takes longer than all else that is done for one. Everything else is iterated still."""
        reader, relay, parser = self._answer.reader, self._answer.relay, self._answer.parser
        exchange = self._exchange
        take, has_room, write = relay.take_steady, writer.has_room, writer.write

        def listen(data: bytes) -> int:
            if not has_room():
                return 0
            taken, out = take(data, parser)
            if out:
                if exchange.kept is not None:
                    exchange.keep(out)
                write(out)
            return taken

        reader.listen(listen)

    def cut(self, error: RequestError) -> None:
        """Ends the stream with an error event."""
        self._answer.reader.interrupt(error)

    async def _run(self) -> AsyncIterator[bytes]:
        relay, reader, parser = self._answer.relay, self._answer.reader, self._answer.parser
        out, self._answer.first = self._answer.first, b""
        given: list[bytes] = []  # a local name would keep what was given while it is on its way
        while True:
            self._exchange.keep(out)
            if relay.ended:
                out = await self._settled(out)
                reader.leave()
                yield out
                return
            if relay.failure is not None:
                failed = stream_error(self._exchange.provider, relay.failure)
                yield out + await self._failed(failed)
                return
            if out:
                given.append(out)
                out = b""
                yield given.pop()
                reader.spoke()
            try:
                data = await reader.read()
                if data == b"":
                    out = relay.ping()
                    continue
                out = relay.take(data, parser) if data is not None else relay.finish(parser)
                data = b""
            except UpstreamFailure as failure:
                self._exchange.keep(out)
                yield out + await self._failed(from_failure(failure))
                return
            except (RequestError, SSEError) as error:
                told = error if isinstance(error, RequestError) else bad_gateway("an event of the stream is too large")
                self._exchange.keep(out)
                yield out + await self._failed(AttemptFailed(Blame.BROKEN, told))
                return

    async def _settled(self, out: bytes) -> bytes:
        """The stream's end, once its charge is durable; an error in its place where that fails."""
        keeping = self._exchange.keeping
        if keeping is not None and not self._exchange.closed:
            turn = self._exchange.turn
            keeping.answer = turn.name if turn is not None else None
            keeping.ended(out)
        if self._exchange.turn is not None:
            await self._exchange.turn.secure(self._exchange.id)
        try:
            await self._settler.settle(self._exchange)
        except StoreError as error:
            _log.error("%s: a stream could not be charged: %s", self._exchange.id, error)
            if self._exchange.turn is not None:
                self._exchange.turn.unpaid()
            return self._answer.relay.fail(RequestError(503, "unavailable", "the call could not be booked"))
        self._save()
        return out

    def _save(self) -> None:
        self._kept = True
        if self._exchange.turn is not None:
            self._exchange.turn.save(self._exchange.maker)

    async def _failed(self, failed: AttemptFailed) -> bytes:
        relay = self._answer.relay
        failed.without_secrets(self._settler.clean)
        self._exchange.failure = failed.error
        relay.note()
        self._answer.reader.stop()
        try:
            await self._settler.settle(self._exchange)
        except StoreError as error:
            _log.error("%s: a stream could not be charged: %s", self._exchange.id, error)
        own = relay.own_words if failed.blame is not Blame.KEY else b""
        if own and self._settler.tells_secrets(own.decode(errors="replace")):
            own = b""  # the provider repeats what it was sent
        out = own + relay.framing.close() if own else relay.fail(failed.error)
        self._save()
        return out
