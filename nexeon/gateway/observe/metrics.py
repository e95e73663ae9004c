"""Counters in the Prometheus text format. Labels come from the configuration, so their number is bounded."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_TOKEN_CLASSES: Final = ("input", "cached_input", "cache_write", "cache_write_1h", "output", "reasoning")

_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_SHORT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_ATTEMPTS: Final = (0, 1, 2, 3, 5, 8, 12)

_MOST_FIELDS: Final = 200
"""Names of dropped fields that have a series of their own; what comes beyond is `other`."""

Sample = tuple[Mapping[str, str], float]
Gauge = tuple[str, str, Sequence[Sample]]
"""Name, words, and values by their labels."""


class _Counter:
    """Numbers by their labels."""

    __slots__ = ("_labels", "_name", "_values", "_words")

    def __init__(self, name: str, words: str, *labels: str) -> None:
        self._name = name
        self._words = words
        self._labels = labels
        self._values: dict[tuple[Any, ...], int] = {}

    def add(self, *labels: Any, by: int = 1) -> None:
        self._values[labels] = self._values.get(labels, 0) + by

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, labels: tuple[Any, ...]) -> bool:
        return labels in self._values

    def lines(self) -> Iterable[str]:
        yield from _family(self._name, self._words, "counter")
        for labels, value in sorted(self._values.items()):
            yield f"{self._name}{_labels(zip(self._labels, labels, strict=True))} {value}"


class _Histogram:
    """Observations in buckets, by their labels."""

    __slots__ = ("_bounds", "_counts", "_labels", "_name", "_sums", "_words")

    def __init__(self, name: str, words: str, bounds: Sequence[float], *labels: str) -> None:
        self._name = name
        self._words = words
        self._bounds = bounds
        self._labels = labels
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, value: float, *labels: str) -> None:
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value

    def lines(self) -> Iterable[str]:
        yield from _family(self._name, self._words, "histogram")
        for labels, counts in sorted(self._counts.items()):
            named = list(zip(self._labels, labels, strict=True))
            total = 0
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                total += count
                yield f"{self._name}_bucket{_labels([*named, ('le', bound)])} {total}"
            yield f"{self._name}_sum{_labels(named)} {self._sums[labels]:.6f}"
            yield f"{self._name}_count{_labels(named)} {total}"


class Metrics:
    """What has happened since the start of the process."""

    def __init__(self) -> None:
        target = ("provider", "model")
        self._requests = _Counter(
            "nexeon_requests_total", "Requests answered.", "format", "provider", "model", "status"
        )
        self._attempts = _Counter("nexeon_upstream_attempts_total", "Calls to providers.", "provider", "outcome")
        self._rests = _Counter(
            "nexeon_provider_key_rests_total", "Provider keys that were set aside, limited or refused.",
            "provider", "state",
        )  # fmt: skip
        self._tokens = _Counter("nexeon_tokens_total", "Tokens by class.", *target, "kind")
        self._spend = _Counter("nexeon_spend_nano_usd_total", "Charges in billionths of a US dollar.", *target)
        self._estimated = _Counter("nexeon_estimated_charges_total", "Charges without a usage to go by.", *target)
        self._cut = _Counter("nexeon_streams_cut_total", "Streams that did not reach their end.", *target, "by")
        self._dropped = _Counter(
            "nexeon_dropped_fields_total", "Request fields that could not be said to a provider.", "provider", "field"
        )
        self._losses = _Counter(
            "nexeon_response_losses_total", "Parts of answers that the client's format cannot say.", "provider"
        )
        self._unknown = _Counter(
            "nexeon_unknown_events_total", "Events and answers passed on that no mapping knows.", "provider"
        )
        self._limited = _Counter("nexeon_limited_total", "Requests refused by a limit.", "scope", "unit")
        self._shed = _Counter("nexeon_shed_total", "Requests turned away since there was too much to do.", "reason")
        self._stalled = _Counter("nexeon_stalled_clients_total", "Clients cut off since they took nothing.", "held")
        self._repeats = _Counter(
            "nexeon_idempotent_repeats_total", "Requests repeated with an idempotency key.", "outcome"
        )
        self._reloads = _Counter("nexeon_reload_total", "Readings of the configuration.", "outcome")
        self._reload = (True, 0.0, 0.0)
        self._seconds = {
            "first": _Histogram(
                "nexeon_first_answer_seconds", "Seconds until a call's client could be given something.",
                _SECONDS, *target,
            ),
            "token": _Histogram(
                "nexeon_time_to_first_token_seconds", "Seconds until a stream said something.", _SECONDS, *target
            ),
            "gap": _Histogram(
                "nexeon_inter_token_seconds", "Seconds for each token of a stream after its first.", _SHORT, *target
            ),
            "whole": _Histogram(
                "nexeon_call_seconds", "Seconds until a call was settled.", _SECONDS, *target
            ),
        }  # fmt: skip
        self._tries = _Histogram("nexeon_attempts", "Calls to providers for each request.", _ATTEMPTS)
        self._lag = _Histogram(
            "nexeon_event_loop_lag_seconds", "How much later than asked for the event loop came back.", _SHORT
        )

    def answered(self, format_name: str, provider: str, model: str, status: int) -> None:
        self._requests.add(format_name, provider, model, status)

    def attempted(self, provider: str, outcome: str) -> None:
        self._attempts.add(provider, outcome)

    def rested(self, provider: str, state: str) -> None:
        """A provider key is set aside: cooling or removed."""
        self._rests.add(provider, state)

    def charged(
        self, provider: str, model: str, usage: Mapping[str, Any], amount: int, *, estimated: bool = False
    ) -> None:
        for name in _TOKEN_CLASSES:
            if count := usage.get(name):
                self._tokens.add(provider, model, name, by=count)
        self._spend.add(provider, model, by=amount)
        if estimated:
            self._estimated.add(provider, model)

    def cut(self, provider: str, model: str, by: str) -> None:
        """A stream that had begun did not reach its end: its client left, or the provider or this gateway ended it."""
        self._cut.add(provider, model, by)

    def dropped(self, provider: str, fields: Iterable[str]) -> None:
        """Request fields that did not reach a provider."""
        for field in fields:
            name = _plain(field)
            if len(self._dropped) >= _MOST_FIELDS and (provider, name) not in self._dropped:
                name = "other"
            self._dropped.add(provider, name)

    def lost(self, provider: str, count: int) -> None:
        """Parts of answers that the client's format could not say."""
        self._losses.add(provider, by=count)

    def unknown(self, provider: str, count: int) -> None:
        """Events that no mapping knows, and that were given through."""
        self._unknown.add(provider, by=count)

    def limited(self, scope: str, unit: str) -> None:
        """A request was refused by a limit of its key, account or model, on requests, tokens or calls at once."""
        self._limited.add(scope, unit)

    def shed(self, reason: str) -> None:
        """A request was turned away since there is too much to do: the queue was full, or its wait too long (late)."""
        self._shed.add(reason)

    def stalled(self, held: str) -> None:
        """A client was cut off since it took nothing: over its connection, or of one stream of it (window)."""
        self._stalled.add(held)

    def repeated(self, outcome: str) -> None:
        """A request came again with its idempotency key: replayed, running, different or lost."""
        self._repeats.add(outcome)

    def reloaded(self, outcome: str, at: float, seconds: float) -> None:
        """The configuration was read again: applied, unchanged or refused, at a Unix time."""
        self._reloads.add(outcome)
        self._reload = (outcome != "refused", at, seconds)

    def took(self, what: str, provider: str, model: str, seconds: float) -> None:
        """How long a call took: `first` until the client could be given something, `token` until a stream said
        something, `gap` from one of its tokens to the next, `whole` until it was settled."""
        self._seconds[what].add(seconds, provider, model)

    def tried(self, attempts: int) -> None:
        """A request has ended after so many calls to providers."""
        self._tries.add(attempts)

    def lagged(self, seconds: float) -> None:
        """The event loop came back so much later than asked for."""
        self._lag.add(seconds)

    def text(self, gauges: Iterable[Gauge] = ()) -> str:
        """The exposition text, with what is so at this moment."""
        lines: list[str] = []
        families: tuple[_Counter | _Histogram, ...] = (
            self._requests, self._attempts, self._rests, self._tokens, self._spend, self._estimated, self._cut,
            self._dropped, self._losses, self._unknown, self._limited, self._shed, self._stalled, self._repeats,
            self._reloads, *self._seconds.values(), self._tries, self._lag,
        )  # fmt: skip
        for family in families:
            lines += family.lines()
        good, at, seconds = self._reload
        reload: list[Gauge] = [
            ("nexeon_reload_last_successful", "Whether the last reading could be used.", [({}, int(good))]),
            ("nexeon_reload_last_timestamp_seconds", "When the configuration was read again.", [({}, at)]),
            ("nexeon_reload_last_duration_seconds", "How long that took.", [({}, seconds)]),
        ]
        for name, words, samples in (*reload, *gauges):
            lines += _family(name, words, "counter" if name.endswith("_total") else "gauge")
            lines += [f"{name}{_labels(labels.items())} {value}" for labels, value in samples]
        return "\n".join(lines) + "\n"


def _plain(field: str) -> str:
    """A field's name without the places in lists, and without what a client wrote."""
    name, _, _ = field.partition(":")
    return "".join("" if char.isdigit() else char for char in name)[:80]


def _family(name: str, words: str, kind: str) -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]


def _labels(labels: Iterable[tuple[str, Any]]) -> str:
    told = ",".join(f'{name}="{_escape(str(value))}"' for name, value in labels)
    return f"{{{told}}}" if told else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
