"""Counters in the Prometheus text format. Labels come from the configuration, so their number is bounded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

_TOKEN_CLASSES: Final = ("input", "cached_input", "cache_write", "cache_write_1h", "output", "reasoning")


class Metrics:
    """What has happened since the start of the process."""

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, str, str, int], int] = defaultdict(int)
        self._attempts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._tokens: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._spend: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._response_losses: defaultdict[str, int] = defaultdict(int)

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

    def text(self, running: int) -> str:
        """The exposition text; `running` requests are under way."""
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
        _family(lines, "nexeon_requests_running", "Requests under way.", "gauge")
        lines.append(f"nexeon_requests_running {running}")
        return "\n".join(lines) + "\n"


def _family(lines: list[str], name: str, text: str, kind: str) -> None:
    lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
