"""Counters in the Prometheus text format. Labels come from the configuration, so their number is bounded."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

_TOKEN_CLASSES: Final = ("input", "cached_input", "cache_write", "cache_write_1h", "output", "reasoning")


_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_DURATIONS: Final = {
    "first": ("nexeon_first_answer_seconds", "Seconds until a call's client could be given something."),
    "whole": ("nexeon_call_seconds", "Seconds until a call was settled."),
}


class _Histogram:
    """Seconds, in buckets."""

    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(_BOUNDS, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str, **labels: str) -> list[str]:
        total = 0
        found = []
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._counts, strict=True):
            total += count
            found.append(f"{name}_bucket{_labels(**labels, le=bound)} {total}")
        return [*found, f"{name}_sum{_labels(**labels)} {self._sum:.6f}", f"{name}_count{_labels(**labels)} {total}"]


class Metrics:
    """What has happened since the start of the process."""

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, str, str, int], int] = defaultdict(int)
        self._attempts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._tokens: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._spend: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._response_losses: defaultdict[str, int] = defaultdict(int)
        self._refusals: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._replays: defaultdict[str, int] = defaultdict(int)
        self._reloads: defaultdict[str, int] = defaultdict(int)
        self._reload = (True, 0.0, 0.0)
        self._seconds = {name: defaultdict[tuple[str, str], _Histogram](_Histogram) for name in _DURATIONS}

    def answered(self, format_name: str, provider: str, model: str, status: int) -> None:
        self._requests[format_name, provider, model, status] += 1

    def attempted(self, provider: str, outcome: str) -> None:
        self._attempts[provider, outcome] += 1

    def charged(self, provider: str, model: str, usage: Mapping[str, Any], amount: int) -> None:
        for name in _TOKEN_CLASSES:
            if count := usage.get(name):
                self._tokens[provider, model, name] += count
        self._spend[provider, model] += amount

    def lost(self, provider: str, count: int) -> None:
        """Parts of answers that the client's format could not say."""
        self._response_losses[provider] += count

    def limited(self, scope: str, unit: str) -> None:
        """A request was refused by a limit of its key, account or model, on requests, tokens or calls at once."""
        self._refusals[scope, unit] += 1

    def repeated(self, outcome: str) -> None:
        """A request came again with its idempotency key: replayed, running, different or lost."""
        self._replays[outcome] += 1

    def took(self, what: str, provider: str, model: str, seconds: float) -> None:
        """How long a call took: `first` until the client could be given something, `whole` until it was settled."""
        self._seconds[what][provider, model].add(seconds)

    def reloaded(self, outcome: str, at: float, seconds: float) -> None:
        """The configuration was read again: applied, unchanged or refused, at a Unix time."""
        self._reloads[outcome] += 1
        self._reload = (outcome != "refused", at, seconds)

    def text(
        self,
        running: int,
        keys: Mapping[str, Mapping[str, int]] | None = None,
        circuits: Mapping[tuple[str, str], bool] | None = None,
        generations: int = 1,
    ) -> str:
        """The exposition text; `running` requests are under way, `keys` counts provider keys by provider and state,
        `circuits` tells which (provider, target) is open."""
        lines: list[str] = []
        _family(lines, "nexeon_requests_total", "Requests answered.", "counter")
        for (format_name, provider, model, status), count in sorted(self._requests.items()):
            labels = _labels(format=format_name, provider=provider, model=model, status=str(status))
            lines.append(f"nexeon_requests_total{labels} {count}")
        _family(lines, "nexeon_upstream_attempts_total", "Calls to providers by outcome.", "counter")
        for (provider, outcome), count in sorted(self._attempts.items()):
            lines.append(f"nexeon_upstream_attempts_total{_labels(provider=provider, outcome=outcome)} {count}")
        _family(lines, "nexeon_tokens_total", "Tokens by class.", "counter")
        for (provider, model, name), count in sorted(self._tokens.items()):
            lines.append(f"nexeon_tokens_total{_labels(provider=provider, model=model, kind=name)} {count}")
        _family(lines, "nexeon_spend_nano_usd_total", "Charges in billionths of a US dollar.", "counter")
        for (provider, model), amount in sorted(self._spend.items()):
            lines.append(f"nexeon_spend_nano_usd_total{_labels(provider=provider, model=model)} {amount}")
        _family(
            lines, "nexeon_response_losses_total", "Parts of answers that the client's format cannot say.", "counter"
        )
        for provider, count in sorted(self._response_losses.items()):
            lines.append(f"nexeon_response_losses_total{_labels(provider=provider)} {count}")
        _family(lines, "nexeon_limited_total", "Requests refused by a limit.", "counter")
        for (scope, unit), count in sorted(self._refusals.items()):
            lines.append(f"nexeon_limited_total{_labels(scope=scope, unit=unit)} {count}")
        _family(lines, "nexeon_idempotent_repeats_total", "Requests repeated with an idempotency key.", "counter")
        for outcome, count in sorted(self._replays.items()):
            lines.append(f"nexeon_idempotent_repeats_total{_labels(outcome=outcome)} {count}")
        for what, (name, words) in _DURATIONS.items():
            _family(lines, name, words, "histogram")
            for (provider, model), histogram in sorted(self._seconds[what].items()):
                lines += histogram.lines(name, provider=provider, model=model)
        _family(lines, "nexeon_provider_keys", "Provider keys by state.", "gauge")
        for provider, states in sorted((keys or {}).items()):
            for state, count in sorted(states.items()):
                lines.append(f"nexeon_provider_keys{_labels(provider=provider, state=state)} {count}")
        _family(lines, "nexeon_circuit_open", "Whether a target is left alone because it kept failing.", "gauge")
        for (provider, target), is_open in sorted((circuits or {}).items()):
            lines.append(f"nexeon_circuit_open{_labels(provider=provider, target=target)} {int(is_open)}")
        _family(lines, "nexeon_reload_total", "Readings of the configuration.", "counter")
        for outcome, count in sorted(self._reloads.items()):
            lines.append(f"nexeon_reload_total{_labels(outcome=outcome)} {count}")
        good, at, seconds = self._reload
        for name, text, value in (
            ("last_successful", "Whether the last reading could be used.", int(good)),
            ("last_timestamp_seconds", "When the configuration was read again.", at),
            ("last_duration_seconds", "How long that took.", seconds),
        ):
            _family(lines, f"nexeon_reload_{name}", text, "gauge")
            lines.append(f"nexeon_reload_{name} {value}")
        _family(lines, "nexeon_generations", "The configuration in force, and those before it with requests.", "gauge")
        lines.append(f"nexeon_generations {generations}")
        _family(lines, "nexeon_requests_running", "Requests under way.", "gauge")
        lines.append(f"nexeon_requests_running {running}")
        return "\n".join(lines) + "\n"


def _family(lines: list[str], name: str, text: str, kind: str) -> None:
    lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
