"""`nexeon requests …`"""

from __future__ import annotations

from typing import Any

import click

from nexeon.cli.completing import complete_accounts, complete_keys, complete_models, complete_providers
from nexeon.cli.options import shared_options
from nexeon.cli.output import show_record, show_rows
from nexeon.cli.session import call, listing

COLUMNS = ("id", "started", "ms", "status", "account", "key", "model", "provider", "stream", "cost", "error")


@click.group("requests")
@shared_options
def command() -> None:
    """The log of requests.

    \b
    nexeon requests list --limit 20
    nexeon requests show req_0123456789abcdef
    """


@command.command("list")
@click.option("--account", help="Of one account only, by id or name.", shell_complete=complete_accounts)
@click.option("--key", help="Of one key only, by id or name.", shell_complete=complete_keys)
@click.option("--model", help="Of one model only.", shell_complete=complete_models)
@click.option("--provider", help="Of one provider only.", shell_complete=complete_providers)
@click.option("--status", type=int, help="With that HTTP status only.")
@click.option("--failed/--good", "failed", default=None, help="Those that failed only, or those that did not.")
@click.option("--since", metavar="ISO", help="From that time on.")
@click.option("--until", metavar="ISO", help="Up to before that time.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="The newest N.")
@shared_options
def list_(limit: int, **given: Any) -> None:
    """List requests, newest first.

    \b
    nexeon requests list --failed --since 2030-01-01
    """
    filters = {name: value for name, value in given.items() if value is not None}
    rows = listing("requests.list", most=limit, limit=min(limit, 1000), **filters)
    words = "no such requests" if filters else "no requests yet"
    show_rows([dict.fromkeys(COLUMNS) | row for row in rows], COLUMNS, empty=words)


@command.command("show")
@click.argument("request")
@shared_options
def show_(request: str) -> None:
    """Show one request: its steps, attempts, usage and cost, and its bodies where they are kept.

    \b
    nexeon requests show req_0123456789abcdef --json
    """
    show_record(call("requests.show", request=request))
