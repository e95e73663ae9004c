"""`nexeon models …`"""

from __future__ import annotations

import click

from nexeon.cli.completing import complete_models
from nexeon.cli.options import list_options, shared_options
from nexeon.cli.output import show_record, show_rows
from nexeon.cli.session import call, listing

COLUMNS = ("id", "owned_by", "context_window", "max_output_tokens", "strategy", "targets", "aliases")


@click.group("models")
@shared_options
def command() -> None:
    """Configured models: their prices, and how a running gateway finds their targets.

    \b
    nexeon models list --search mini
    """


@command.command("list")
@list_options("their id, an alias, their owner or a target")
@shared_options
def list_(search: str | None, limit: int | None) -> None:
    """List models.

    \b
    nexeon models list --limit 20
    """
    rows = listing("models.list", most=limit, search=search)
    shown = [row | {"targets": [f"{each['provider']}/{each['model']}" for each in row["targets"]]} for row in rows]
    show_rows(rows, COLUMNS, shown=shown, empty="no such models: see `models:` in the configuration")


@command.command("show")
@click.argument("model", shell_complete=complete_models)
@shared_options
def show_(model: str) -> None:
    """Show one model, by its id or an alias.

    \b
    nexeon models show MODEL --json
    """
    show_record(call("models.show", model=model))
