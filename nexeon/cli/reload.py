"""`nexeon reload`"""

from __future__ import annotations

import click

from nexeon.cli.options import shared_options
from nexeon.cli.output import show, tell
from nexeon.cli.session import call


@click.command("reload")
@shared_options
def command() -> None:
    """Have the running gateway read its configuration, mappings and schemas again.

    What cannot be used changes nothing: the problems are told, and the exit status is 1. What takes a new start, such
    as another port, is told as well.

    \b
    nexeon reload
    nexeon reload --json | jq .restart
    """
    outcome = call("reload")
    show(outcome, "\n".join([outcome["outcome"], *outcome["changes"], *outcome["restart"]]))
    for problem in outcome["problems"]:
        tell(f"nexeon: {problem}")
    raise SystemExit(1 if outcome["outcome"] == "refused" else 0)
