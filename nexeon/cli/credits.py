"""`nexeon credits …`"""

from __future__ import annotations

from typing import Any

import click

from nexeon.cli.completing import complete_accounts
from nexeon.cli.options import shared_options
from nexeon.cli.output import show, show_rows, tell
from nexeon.cli.session import call, listing

COLUMNS = ("id", "created", "kind", "amount", "balance", "uncollected", "model", "key", "request", "reason")


@click.group("credits")
@shared_options
def command() -> None:
    """Credit of accounts, in USD as exact decimals.

    \b
    nexeon credits add acme 25
    nexeon credits add acme 5 --expires 2030-12-31 --reason trial
    nexeon credits adjust acme -0.50 --reason "double grant"
    nexeon credits ledger acme --json
    """


# A negative amount looks like an option.
_SIGNED = {"ignore_unknown_options": True}


@command.command(context_settings=_SIGNED)
@click.argument("account", shell_complete=complete_accounts)
@click.argument("usd")
@click.option("--reason", default="", help="Written to the ledger.")
@click.option("--expires", metavar="ISO", help="When what is left of it is taken back: 2030-12-31T18:00:00Z.")
@shared_options
def add(account: str, usd: str, reason: str, expires: str | None) -> None:
    """Grant credit. What expires first is spent first.

    \b
    nexeon credits add acme 5 --expires 2030-12-31 --reason trial
    """
    _above_zero(account, usd)
    _show(call("credits.add", account=account, usd=usd, reason=reason, expires=expires))


@command.command(context_settings=_SIGNED)
@click.argument("account", shell_complete=complete_accounts)
@click.argument("usd")
@click.option("--reason", default="", help="Written to the ledger.")
@click.option("--request", default="", help="The id of the call that it is for, whose key gets its budget back, too.")
@shared_options
def refund(account: str, usd: str, reason: str, request: str) -> None:
    """Give credit back for a call.

    \b
    nexeon credits refund acme 0.02 --request req_0123456789abcdef --reason "cut short"
    """
    _above_zero(account, usd)
    entry = call("credits.refund", account=account, usd=usd, reason=reason, request=request)
    _show(entry)
    if request and not entry["key"]:
        tell(f"no request `{request}` is known: no key got its budget back")


@command.command(context_settings=_SIGNED)
@click.argument("account", shell_complete=complete_accounts)
@click.argument("usd")
@click.option("--reason", default="", help="Written to the ledger.")
@shared_options
def adjust(account: str, usd: str, reason: str) -> None:
    """Correct a balance, up or down (-5.00).

    \b
    nexeon credits adjust acme -0.50 --reason "double grant"
    """
    _show(call("credits.adjust", account=account, usd=usd, reason=reason))


@command.command()
@click.argument("account", shell_complete=complete_accounts)
@click.option("--limit", type=click.IntRange(1), help="The newest N entries; all without this.", metavar="N")
@shared_options
def ledger(account: str, limit: int | None) -> None:
    """List an account's ledger, newest first.

    \b
    nexeon credits ledger acme --limit 20
    """
    rows = listing("credits.ledger", most=limit, account=account, limit=min(limit or 1000, 1000))
    show_rows(rows, COLUMNS, empty=f"no entries yet: nexeon credits add {account} USD")


def _above_zero(account: str, usd: str) -> None:
    if usd.startswith("-"):
        raise click.UsageError(f"USD must be above zero; to take some back: nexeon credits adjust {account} {usd}")


def _show(entry: dict[str, Any]) -> None:
    show(entry, f"{entry['kind']} {entry['amount']} USD, balance {entry['balance']} USD")
