"""`nexeon live`"""

from __future__ import annotations

from typing import Any

import click

from nexeon.cli.options import given, shared_options
from nexeon.cli.output import show, show_record, show_rows, tell
from nexeon.cli.session import call


@click.group("live")
@shared_options
def command() -> None:
    """What happens now.

    \b
    nexeon live show --span 60 --points 1
    """


@command.command("show")
@click.option("--span", type=click.IntRange(1), default=300, show_default=True, metavar="SECONDS", help="So far back.")
@click.option("--points", type=click.IntRange(1), default=60, show_default=True, metavar="N", help="In so many parts.")
@shared_options
def show_(span: int, points: int) -> None:
    """Show traffic, today's spend and what needs attention.

    \b
    nexeon live show --json
    """
    now = call("live.show", span=span, points=points)
    if given().json:
        show(now, "")
        return
    show_record({**{name: now[name] for name in ("now", "url", "running", "spend_today")}, **_sums(now["traffic"])})
    for of in ("models", "providers"):
        if busiest := (now["traffic"] or {}).get(of):
            click.echo()
            show_rows(busiest, tuple(busiest[0]), empty="")
    for problem in now["problems"]:
        tell(f"{problem['state']}: {problem['name']}: {problem['words']}")


def _sums(traffic: dict[str, Any] | None) -> dict[str, Any]:
    """What came in the whole span, in words; how it went from part to part is for scripts."""
    if traffic is None:
        return {"traffic": "no log of requests is kept: set log.enabled to true"}
    return {f"{name} in {traffic['span']} s": value for name, value in traffic["total"].items()}
