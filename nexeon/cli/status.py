"""`nexeon status`"""

from __future__ import annotations

import click

from nexeon.cli.options import shared_options
from nexeon.cli.output import show, tell
from nexeon.cli.session import call


@click.command("status")
@shared_options
def command() -> None:
    """Show what is administered, by which process, and what needs attention.

    \b
    nexeon status
    nexeon status --json | jq -e '.warnings == []'
    """
    status = call("status")
    show(status, f"store  {status['store']}\npid    {status['pid']}")
    for warning in status["warnings"]:
        tell(f"warning: {warning}")
