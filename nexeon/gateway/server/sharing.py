"""What a gateway shares with others, in words for its start and as measures."""

from __future__ import annotations

from nexeon.config import Config
from nexeon.gateway.limits.windows import Windows


def notice(config: Config) -> str:
    """What an operator should know before the first request; "" where there is nothing to know."""
    if config.limits.url is not None or config.store.engine != "postgresql":
        return ""
    if config.server.workers > 1:
        return (
            f"no limits.url is set: each of the {config.server.workers} processes counts requests, tokens and calls at "
            "once on its own, and lets in its share of every limit"
        )
    return (
        "no limits.url is set: this process counts requests, tokens and calls at once on its own; other gateways on "
        "this store let in as much again"
    )


def measures(windows: Windows) -> str:
    """In the Prometheus text format; nothing for a process that shares nothing."""
    if not windows.shared:
        return ""
    name = "nexeon_limits_shared"
    words = "Whether limits are counted for all gateways together: 0 while the server at limits.url is lost."
    return f"# HELP {name} {words}\n# TYPE {name} gauge\n{name} {int(windows.reachable)}\n"
