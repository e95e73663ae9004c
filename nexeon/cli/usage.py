"""`nexeon usage`"""

from __future__ import annotations

from typing import Any

import click

from nexeon.cli.completing import complete_accounts, complete_groups, complete_keys, complete_models, complete_providers
from nexeon.cli.options import shared_options
from nexeon.cli.output import show_rows
from nexeon.cli.session import listing

COLUMNS = ("requests", "input", "cached_input", "output", "reasoning", "estimated", "cost", "uncollected")


@click.command("usage")
@click.option(
    "--by",
    default="day",
    show_default=True,
    metavar="GROUP,…",
    help="day, account, key, model, provider.",
    shell_complete=complete_groups,
)
@click.option("--account", help="Of one account only, by id or name.", shell_complete=complete_accounts)
@click.option("--key", help="Of one key only, by id or name.", shell_complete=complete_keys)
@click.option("--model", help="Of one model only.", shell_complete=complete_models)
@click.option("--provider", help="Of one provider only.", shell_complete=complete_providers)
@click.option("--since", metavar="ISO", help="From that day (UTC) on.")
@click.option("--until", metavar="ISO", help="Up to before that day.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N rows only.")
@shared_options
def command(by: str, limit: int | None, **given: Any) -> None:
    """Show what was used and what it cost, from the ledger.

    \b
    nexeon usage --by day,model --since 2030-01-01
    """
    rows = listing(
        "usage.list", most=limit, by=by, **{name: value for name, value in given.items() if value is not None}
    )
    groups = [name for name in by.split(",") if name]
    show_rows(rows, (*groups, *COLUMNS), empty="nothing was used")
