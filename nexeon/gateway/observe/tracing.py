"""OpenTelemetry traces after the conventions for generative AI: a span for each request, one below it for each call
to a provider.

Spans are made once a request has ended, of what is known of it by then; only their ids are made as it goes, since the
provider is told them. So a request that is traced costs little on its way, and one that is not costs nothing.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from nexeon import __version__
from nexeon.config import Config, Tracing
from nexeon.errors import ConfigError, Problem, RequestError
from nexeon.gateway.exchange import Exchange, Tried
from nexeon.gateway.price import input_total

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?\Z")
_SAMPLED: Final = 1
_OPERATION: Final = "chat"
_LONGEST_STATE: Final = 512
_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"


@dataclass(slots=True)
class Call:
    """One call to a provider: times in Unix nanoseconds."""

    span: int
    began: int
    ended: int = 0
    tried: Tried | None = None


@dataclass(slots=True)
class Trace:
    """One request's place in a trace, which `tracer` tells of. `parent` is the caller's span, 0 where it has none;
    `answer` gives the canonical answer as far as it came, once there is one."""

    tracer: Tracer
    id: int
    span: int
    parent: int
    sampled: bool
    state: str
    began: int
    calls: list[Call] = field(default_factory=list)
    answer: Callable[[], Mapping[str, Any]] | None = None

    def call(self) -> dict[str, str]:
        """A call to a provider begins: the headers that it is told."""
        call = Call(_span_id(), time.time_ns())
        self.calls.append(call)
        headers = {"traceparent": f"00-{self.id:032x}-{call.span:016x}-{int(self.sampled):02x}"}
        if self.state:
            headers["tracestate"] = self.state
        return headers

    def tried(self, tried: Tried) -> None:
        """It has ended, and how."""
        for call in self.calls:
            if not call.ended:
                call.ended, call.tried = time.time_ns(), tried


class Tracer:
    """Sends spans, from `begin` to `close`."""

    def __init__(
        self, config: Config, processor: SpanProcessor, clean: Callable[[str], str] = lambda text: text
    ) -> None:
        """`clean` takes secrets out of what a provider chose to say."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self.settings = settings = config.tracing
        self._sample = settings.sample
        self._processor = processor
        self._clean = clean
        self._resource = Resource.create({"service.name": settings.service, "service.version": __version__})
        self._scope = InstrumentationScope("nexeon", __version__)
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Goes by this configuration's providers from now on."""
        self._names = {name: provider.otel_name or name for name, provider in config.providers.items()}
        self._servers = {name: _server(provider.base_url) for name, provider in config.providers.items()}

    def begin(self, headers: Mapping[str, str]) -> Trace:
        """Takes up the caller's trace, or begins one."""
        found = _PARENT.fullmatch(headers.get("traceparent", "").strip().lower())
        now = time.time_ns()
        if found is not None and found[1] != "ff" and int(found[2], 16) and int(found[3], 16):
            state = headers.get("tracestate", "")[:_LONGEST_STATE]
            sampled = bool(int(found[4], 16) & _SAMPLED)
            return Trace(self, int(found[2], 16), _span_id(), int(found[3], 16), sampled, state, now)
        return Trace(self, random.getrandbits(128) or 1, _span_id(), 0, random.random() < self._sample, "", now)

    def ended(self, exchange: Exchange, trace: Trace, usage: Mapping[str, Any]) -> None:
        """Hands the spans of a request over; they are sent in the background."""
        if not trace.sampled:
            return
        now = time.time_ns()
        failure = exchange.failure
        status = 200 if exchange.answered or failure is None else failure.status
        used = {**_usage(usage), **_answer(exchange, trace)}
        trace.answer = None  # it holds the whole stream
        asked = exchange.model.id if exchange.model is not None else ""
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": _OPERATION,
            "gen_ai.provider.name": self._names.get(exchange.provider, "nexeon"),
            "gen_ai.request.model": asked,
            "gen_ai.request.stream": exchange.stream,
            "http.request.method": "POST",
            "http.response.status_code": status,
            "nexeon.request.id": exchange.id,
            "nexeon.key.id": exchange.key.id,
            "nexeon.account.id": exchange.account.id,
            "nexeon.format": exchange.format.name,
            **used,
        }
        spoke = exchange.steps.get("spoke")
        if spoke is not None:
            attributes[_FIRST_CHUNK] = round(spoke - exchange.started, 6)
        if exchange.cost is not None:
            attributes["nexeon.cost.nano_usd"] = exchange.cost
        if exchange.dropped:
            attributes["nexeon.dropped"] = tuple(exchange.dropped)
        error = None if failure is None and exchange.complete else (failure.code or failure.kind if failure else "left")
        for call in trace.calls:
            last = call is trace.calls[-1]
            if last and spoke is not None:
                waited = (now - call.began) / 1e9 - (time.monotonic() - spoke)
                used[_FIRST_CHUNK] = round(max(waited, 0.0), 6)
            self._call(trace, call, exchange, used if last else {}, now, None if exchange.complete else error)
        self._end(
            f"{_OPERATION} {asked}", trace.span, trace.parent, trace, trace.began, now, attributes, error, "SERVER"
        )

    def refused(self, headers: Mapping[str, str], route: str, error: RequestError) -> None:
        """A request that did not get as far as to a model."""
        trace = self.begin(headers)
        if trace.sampled:
            attributes = {
                "gen_ai.operation.name": _OPERATION,
                "http.request.method": "POST",
                "http.route": route,
                "http.response.status_code": error.status,
            }
            told = error.code or error.kind
            self._end(
                f"POST {route}",
                trace.span,
                trace.parent,
                trace,
                trace.began,
                time.time_ns(),
                attributes,
                told,
                "SERVER",
            )

    def close(self) -> None:
        """Sends what waits; may take seconds."""
        self._processor.shutdown()

    def _call(
        self, trace: Trace, call: Call, exchange: Exchange, used: Mapping[str, Any], now: int, broke: str | None
    ) -> None:
        tried = call.tried
        provider = tried.provider if tried is not None else exchange.provider
        model = tried.model if tried is not None else exchange.target.model if exchange.target is not None else ""
        host, port = self._servers.get(provider, ("", 0))
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": _OPERATION,
            "gen_ai.provider.name": self._names.get(provider, provider),
            "gen_ai.request.model": model,
            "gen_ai.request.stream": exchange.stream,
            "server.address": host,
            "server.port": port,
        }
        error: str | None = "cancelled"
        ended = call.ended or now
        if tried is not None:
            attributes["nexeon.provider_key.id"] = tried.key
            if tried.status:
                attributes["http.response.status_code"] = tried.status
            error = None if tried.outcome == "ok" else tried.outcome
        if error is None:
            error = broke
            attributes |= used
            ended = now if exchange.stream else ended
        self._end(f"{_OPERATION} {model}", call.span, trace.span, trace, call.began, ended, attributes, error, "CLIENT")

    def _end(
        self, name: str, span: int, parent: int, trace: Trace, began: int, ended: int, attributes: dict[str, Any],
        error: str | None, kind: str,
    ) -> None:  # fmt: skip
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(id: int, *, remote: bool) -> SpanContext:
            return SpanContext(trace.id, id, is_remote=remote, trace_flags=TraceFlags(_SAMPLED))

        if error is not None:
            attributes["error.type"] = error
        attributes = {name: self._cleaned(value) for name, value in attributes.items()}
        made: ReadableSpan = ReadableSpan(
            name,
            context=context(span, remote=False),
            parent=context(parent, remote=parent == trace.parent) if parent else None,
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind[kind],
            status=Status(StatusCode.UNSET) if error is None else Status(StatusCode.ERROR),
            start_time=began,
            end_time=ended,
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(made)

    def _cleaned(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._clean(value)
        return tuple(map(self._cleaned, value)) if isinstance(value, tuple) else value


def check_tracing(config: Config) -> None:
    """Loads what tracing needs, which takes a moment. Raises ConfigError where it is not installed."""
    if not config.tracing.enabled:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace.export  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError([Problem(f"tracing needs {error.name}: pip install 'nexeon[otel]'")]) from None


def open_tracer(config: Config, clean: Callable[[str], str] = lambda text: text) -> Tracer | None:
    """None where tracing is off; `clean` takes secrets out of what spans say. Raises ConfigError where its package is
    not installed."""
    settings: Tracing = config.tracing
    if not settings.enabled:
        return None
    check_tracing(config)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(endpoint=settings.endpoint, headers=dict(settings.headers) or None)
    return Tracer(config, BatchSpanProcessor(exporter, schedule_delay_millis=settings.delay * 1000), clean)


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    if not usage:
        return {}
    found: dict[str, Any] = {
        "gen_ai.usage.input_tokens": input_total(usage),
        "gen_ai.usage.output_tokens": int(usage.get("output") or 0),
    }
    for name, attribute in (
        ("cached_input", "cache_read.input_tokens"),
        ("cache_write", "cache_write.input_tokens"),
        ("cache_write", "cache_creation.input_tokens"),  # its name until 2026
        ("reasoning", "reasoning.output_tokens"),
    ):
        if count := usage.get(name):
            found[f"gen_ai.usage.{attribute}"] = int(count)
    return found


def _answer(exchange: Exchange, trace: Trace) -> dict[str, Any]:
    """What the conventions say of an answer: the model that gave it, the provider's id, why each part of it ended."""
    answer = trace.answer() if trace.answer is not None else {}
    model = answer.get("model") or (exchange.target.model if exchange.target is not None else "")
    ends = [one.get("finish") for one in (answer, *answer.get("alternatives", ()))]
    reasons = tuple(str(end["reason"]) for end in ends if type(end) is dict and end.get("reason"))
    found = {
        "gen_ai.response.model": model if exchange.answered or exchange.complete else "",
        "gen_ai.response.id": answer.get("id"),
        "gen_ai.response.finish_reasons": reasons,
    }
    return {name: value for name, value in found.items() if value}


def _server(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _span_id() -> int:
    return random.getrandbits(64) or 1
