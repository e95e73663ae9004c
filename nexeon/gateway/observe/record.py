"""What the request log keeps of an exchange."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from nexeon.config import Config
from nexeon.gateway.exchange import Bodies, Exchange
from nexeon.gateway.observe.logs import Redaction, RequestLines, about
from nexeon.gateway.observe.tracing import Tracer
from nexeon.store.requests import RequestLog

_MOST: Final = 50
"""Of what an answer lost, or told amiss, in its record."""


class Recorder:
    """Records exchanges once they are settled: in the log of requests, where there is one, and as `lines`."""

    def __init__(self, log: RequestLog | None, config: Config) -> None:
        self._log = log
        self.lines = RequestLines(config.lines)
        self.tracer: Tracer | None = None
        self.redaction = Redaction(config.lines.redact)
        self._settings = config.log

    def adopt(self, config: Config) -> None:
        """Goes by this configuration from now on."""
        self.lines.settings = config.lines
        self._settings = config.log
        if self._log is not None:
            self._log.configure(**asdict(config.log))

    def watch(self, exchange: Exchange, raw: bytes, headers: Mapping[str, str]) -> None:
        """Keeps the bodies of an exchange that has just begun, where the log wants them, and its place in a trace."""
        if self.tracer is not None:
            exchange.trace = self.tracer.begin(headers)
        about.set(exchange)
        if (self._log is not None and self._log.bodies) or self.lines.bodies:
            exchange.kept = Bodies(raw)

    def settled(self, exchange: Exchange, usage: Mapping[str, Any], *, estimated: bool) -> None:
        """Never waits and never fails."""
        if exchange.trace is not None:
            exchange.trace.tracer.ended(exchange, exchange.trace, usage)
        told = self.lines.settings.requests
        log = self._log
        if (log is None or not log.enabled) and not told:
            return
        record = _record(exchange, usage, estimated)
        if told:
            self.lines.tell(record, self._settings.redact, self._settings.body_limit)
        if log is not None:
            if exchange.kept is not None:
                self.redaction.refresh()
            log.record(record)


def _record(exchange: Exchange, usage: Mapping[str, Any], estimated: bool) -> dict[str, Any]:
    now = time.monotonic()
    ended = time.time()
    failure = exchange.failure
    error = failure.message if failure is not None else ""
    if not error and not exchange.complete:
        error = "the client left, or the answer ended early"
    record: dict[str, Any] = {
        "id": exchange.id,
        "started": ended - (now - exchange.started),
        "ended": ended,
        "steps": {name: round(when - exchange.started, 4) for name, when in exchange.steps.items()},
        "account": exchange.account.id,
        "key": exchange.key.id,
        "model": exchange.model.id if exchange.model is not None else "",
        "served": exchange.served.id if exchange.served is not None else None,
        "provider": exchange.provider,
        "format": exchange.format.name,
        "stream": exchange.stream,
        "status": 200 if exchange.answered or failure is None else failure.status,
        "error": error,
        "attempts": [asdict(tried) for tried in exchange.attempts],
        "usage": dict(usage),
        "cost": exchange.cost,
        "estimated": estimated,
        "dropped": list(exchange.dropped),
    }
    if lost := exchange.lost():
        record["lost"] = lost[:_MOST]
    if exchange.doubts:
        record["doubts"] = list(dict.fromkeys(exchange.doubts))[:_MOST]
    if exchange.kept is not None:
        bodies = exchange.kept
        record["request"], record["response"] = bodies.asked, bytes(bodies.told)
        if bodies.sent:
            record["upstream_request"], record["upstream_response"] = bodies.sent, bytes(bodies.heard)
    return record
