"""`nexeon audit …`"""

from __future__ import annotations

from typing import Any

import click

from nexeon.cli.options import shared_options
from nexeon.cli.output import show_rows
from nexeon.cli.session import listing

COLUMNS = ("id", "made", "actor", "method", "name", "subject", "changed")


@click.group("audit")
@shared_options
def command() -> None:
    """Who changed what and when.

    \b
    nexeon audit list --limit 20
    """


@command.command("list")
@click.option("--subject", metavar="ID", help="Changes of one record only.")
@click.option("--actor", help="Changes of one person only, as the list names them.")
@click.option("--method", help="Changes of one kind only, such as keys.rotate.")
@click.option("--search", metavar="TEXT", help="Those with that text in who, what and which, or of that name.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="The newest N.")
@shared_options
def list_(limit: int, **given: Any) -> None:
    """List changes, newest first; with --json, as they were before and after.

    \b
    nexeon audit list --search laptop
    nexeon audit list --subject key_0123456789abcdef --json
    """
    filters = {name: value for name, value in given.items() if value is not None}
    rows = listing("audit.list", most=limit, limit=min(limit, 1000), **filters)
    show_rows(rows, COLUMNS, empty="no such change" if filters else "nothing was changed yet")
