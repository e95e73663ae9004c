"""`nexeon live`"""

from __future__ import annotations

import click

from nexeon.cli.options import shared_options
from nexeon.cli.output import show_record
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
    show_record(call("live.show", span=span, points=points))
