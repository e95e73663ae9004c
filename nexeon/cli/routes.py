"""`nexeon routes …`"""

from __future__ import annotations

import click

from nexeon.cli.options import shared_options
from nexeon.cli.output import show_rows
from nexeon.cli.session import listing

COLUMNS = ("path", "methods", "format", "stream")


@click.group("routes")
@shared_options
def command() -> None:
    """Where clients ask, and in which format.

    \b
    nexeon routes list
    """


@command.command("list")
@shared_options
def list_() -> None:
    """List routes.

    \b
    nexeon routes list --json
    """
    show_rows(listing("routes.list"), COLUMNS, empty="no routes: see `routes:` in the configuration")
