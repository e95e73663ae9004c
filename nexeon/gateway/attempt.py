"""One call to one target with one key, up to an answer that the client can be given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexeon.errors import MappingFailure, RequestError
from nexeon.gateway import pipe
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.failure import (
    AttemptFailed,
    Blame,
    bad_gateway,
    from_answer,
    from_failure,
    retry_after_seconds,
    stream_error,
)
from nexeon.gateway.limits.ratelimit import told_wait
from nexeon.gateway.pool.leases import Lease
from nexeon.gateway.reader import Reader
from nexeon.gateway.relay import Pipe, Relay, Translation
from nexeon.gateway.several import at_once, together
from nexeon.gateway.target import Context, Plan, Prepared
from nexeon.gateway.transport import Answer, close
from nexeon.gateway.unsaid import Unsaid
from nexeon.gateway.upstream import Upstream, UpstreamFailure
from nexeon.wire.json import JSONError, dumps, loads
from nexeon.wire.sse import SSEError, SSEParser


@dataclass(slots=True)
class JSONAnswer:
    """A whole answer in the client's format."""

    body: bytes


@dataclass(slots=True)
class StreamAnswer:
    """A stream that has begun: `first` are bytes that may go out now (none where the provider is still silent)."""

    reader: Reader
    parser: SSEParser
    relay: Relay
    first: bytes


class Attempt:
    """Raises AttemptFailed from every method; whatever was opened is closed by then."""

    def __init__(
        self,
        exchange: Exchange,
        plan: Plan,
        prepared: Prepared,
        lease: Lease,
        upstream: Upstream,
        client_context: Context,
    ) -> None:
        self.exchange = exchange
        self.plan = plan
        self.prepared = prepared
        self.lease = lease
        self.upstream = upstream
        self.client_context = client_context
        self._unsaid = Unsaid(lease.secret)
        # the pipe gives everything through, whatever its mapping knows
        exchange.doubts = prepared.context["doubts"]
        exchange.losses = [] if plan.piped else [prepared.context["dropped"], client_context["dropped"]]

    async def json(self) -> JSONAnswer:
        """Sends, and reads the whole answer."""
        copies = self.prepared.copies
        if copies == 1:
            body, canonical, raw = await self._whole()
            answer = self._encoded(body, canonical, raw)
            produced = len(raw)
        else:
            wholes = await at_once(self._whole, copies)
            canonical = together([canonical for _, canonical, _ in wholes])
            answer = self._said(canonical)
            produced = sum(len(raw) for _, _, raw in wholes)
        exchange = self.exchange
        exchange.usage = canonical.get("usage") or {}
        if exchange.usage and copies > 1:
            exchange.usage = {**exchange.usage, "calls": copies}
        exchange.complete = True
        exchange.produced = produced
        if exchange.trace is not None:
            exchange.trace.answer = lambda: canonical
        self.prepared.keep(canonical)
        return answer

    async def _whole(self) -> tuple[Any, dict[str, Any], bytes]:
        """One call: the answer as it came, what it means, and its bytes."""
        response = await self._send(stream=False)
        raw = await self._read(response)
        if "event-stream" in response.headers.get("content-type", ""):
            raise self._useless("a stream where one answer was asked for")
        body = self._parse(raw, response)
        if not isinstance(body, dict) or not body:
            raise self._useless("an answer with nothing in it" if not body else "an answer that is no object")
        as_it_is = self.plan.piped and self.prepared.copies == 1
        canonical = self._tap(body) if as_it_is else self._decode(self._patched(body))
        self._look_for_error(body, canonical)
        return body, canonical, raw

    def _encoded(self, body: Any, canonical: dict[str, Any], raw: bytes) -> JSONAnswer:
        if self.plan.piped:
            changed = pipe.marked(body, self.plan.dialect.wire.response_ids)
            return JSONAnswer(raw if changed is body else dumps(changed))
        return self._said(canonical)

    def _said(self, canonical: dict[str, Any]) -> JSONAnswer:
        try:
            return JSONAnswer(dumps(self.exchange.format.encode_response(canonical, self.client_context)))
        except (MappingFailure, TypeError) as failure:
            raise self._lost("an answer that cannot be said in the format of this request") from failure

    async def stream(self, keepalive: float) -> StreamAnswer:
        """Sends, and reads until something can be told to the client, or `keepalive` seconds of silence have passed."""
        response = await self._send(stream=True)
        kind = response.headers.get("content-type", "")
        if "json" in kind or "html" in kind:
            raw = await self._read(response)
            if "json" in kind:
                self._look_for_error(self._parse(raw, response), {})
            raise self._useless(f"{kind.partition(';')[0]} where a stream was asked for")
        kept = self.exchange.kept
        reader = Reader(
            self.upstream, response, keepalive=keepalive, tap=kept.heard.extend if kept is not None else None
        )
        try:
            return await self._begin(reader)
        except BaseException:
            reader.stop()
            raise

    async def _begin(self, reader: Reader) -> StreamAnswer:
        relay_class = Pipe if self.plan.piped else Translation
        relay = relay_class(self.exchange, self.plan, self.prepared, self.client_context)
        relay.unsaid = self._unsaid
        parser = SSEParser()
        try:
            while True:
                data = await reader.read()
                if data == b"":
                    return StreamAnswer(reader, parser, relay, relay.ping())
                out = relay.take(data, parser) if data is not None else relay.finish(parser)
                if relay.failure is not None and not relay.spoken:
                    raise stream_error(self.plan.name, relay.failure)
                if out or relay.failure is not None:
                    return StreamAnswer(reader, parser, relay, out)
        except UpstreamFailure as failure:
            raise from_failure(failure) from failure
        except SSEError as error:
            raise self._useless("a stream with an event beyond any size") from error
        except RequestError as error:
            raise AttemptFailed(Blame.BROKEN, error) from error

    async def _send(self, *, stream: bool) -> Answer:
        """The answer with status 2xx, unread."""
        prepared = self.prepared
        if self.exchange.kept is not None:
            self.exchange.kept.attempt(prepared.body)
        headers, trace = prepared.headers, self.exchange.trace
        if trace is not None:
            headers = {**headers, **trace.call()}
        try:
            response = await self.upstream.send(
                prepared.path, prepared.body, key=self.lease.secret, stream=stream, headers=headers
            )
        except UpstreamFailure as failure:
            raise from_failure(failure) from failure
        if 200 <= response.status_code < 300:
            return response
        raise self._refusal(response, await self._read_refusal(response))

    async def _read(self, response: Answer) -> bytes:
        try:
            return self._heard(await self.upstream.read(response))
        except UpstreamFailure as failure:
            raise from_failure(failure) from failure
        except BaseException:
            await close(response)
            raise

    async def _read_refusal(self, response: Answer) -> bytes:
        """What the provider says of its refusal; nothing where it breaks off: the status says enough."""
        try:
            return self._heard(await self.upstream.read(response))
        except UpstreamFailure:
            return b""

    def _heard(self, raw: bytes) -> bytes:
        if self.exchange.kept is not None:
            self.exchange.kept.heard.extend(raw)
        return self._unsaid.hidden(raw)

    def _refusal(self, response: Answer, raw: bytes) -> AttemptFailed:
        status = response.status_code
        said: Any
        try:
            said = loads(raw)
        except JSONError:
            markup = "html" in response.headers.get("content-type", "") or raw.lstrip()[:1] == b"<"
            said = "" if markup else raw.decode("utf-8", "replace").strip()
        error = self._decode_error(said, status)
        wait = retry_after_seconds(response.headers)
        if wait is None and status == 429:
            wait = told_wait(self.plan.format.wire.limits, response.headers)
        return from_answer(self.plan.name, status, error, wait)

    def _decode_error(self, said: Any, status: int) -> Mapping[str, Any]:
        ctx = {**self.prepared.context, "status": status}
        try:
            patched = self.plan.dialect.error(said, ctx) if isinstance(said, dict) else said
            error = self.plan.format.decode_error(patched, ctx)
        except MappingFailure:
            return {}
        return error if isinstance(error, dict) else {}

    def _look_for_error(self, body: Any, canonical: Mapping[str, Any]) -> None:
        """Some providers put an error into an answer with status 200."""
        if any(_says_something(block) for block in canonical.get("blocks", ())):
            return
        if isinstance(body, dict) and body.get("error"):
            raise stream_error(self.plan.name, self._decode_error(body, 200))
        finish = canonical.get("finish") or {}
        if finish.get("reason") == "error" and finish.get("detail"):
            raise stream_error(self.plan.name, {"kind": "upstream", "message": finish["detail"]})

    def _parse(self, raw: bytes, response: Answer) -> Any:
        try:
            return loads(raw)
        except JSONError:
            kind = response.headers.get("content-type", "").partition(";")[0]
            raise self._useless(f"{kind or 'an answer'} that is not JSON") from None

    def _patched(self, body: Any) -> Any:
        try:
            return self.plan.dialect.response(body, self.prepared.context)
        except MappingFailure as failure:
            raise self._lost("an answer that cannot be understood") from failure

    def _decode(self, body: Any) -> dict[str, Any]:
        try:
            canonical = self.plan.format.decode_response(body, self.prepared.context)
        except MappingFailure as failure:
            self._look_for_error(body, {})
            raise self._lost("an answer that cannot be understood") from failure
        if not isinstance(canonical, dict) or "blocks" not in canonical:
            self._look_for_error(body, {})
            raise self._lost("an answer that cannot be understood")
        return canonical

    def _tap(self, body: Any) -> dict[str, Any]:
        """What the answer means, as far as the mapping knows; the pipe gives the rest through unread."""
        try:
            patched = self.plan.dialect.response(body, self.prepared.context)
            canonical = self.plan.format.decode_response(patched, self.prepared.context)
        except MappingFailure:
            self._look_for_error(body, {})
            self.exchange.unknown += 1
            return {"blocks": [{"type": "unknown", "text": "…"}]}
        return canonical if isinstance(canonical, dict) else {}

    def _useless(self, what: str) -> AttemptFailed:
        return AttemptFailed(Blame.BROKEN, bad_gateway(f"provider `{self.plan.name}` sent {what}"))

    def _lost(self, what: str) -> AttemptFailed:
        """As `_useless`, where asking the same target again would give the same."""
        failed = self._useless(what)
        failed.blame = Blame.TARGET
        return failed


def _says_something(block: Mapping[str, Any]) -> bool:
    return any(value for name, value in block.items() if name != "type")
