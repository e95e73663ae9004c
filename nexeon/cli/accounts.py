"""`nexeon accounts …`"""

from __future__ import annotations

from typing import Any

import click

from nexeon.cli.limits import limit_options, limit_values
from nexeon.cli.options import shared_options
from nexeon.cli.output import confirmed, show, show_record, show_rows, tell
from nexeon.cli.session import call, listing

COLUMNS = ("id", "name", "balance", "reserved", "available", "low", "disabled", "created")


@click.group("accounts")
@shared_options
def command() -> None:
    """Accounts own a wallet and keys. An account is named by id or name.

    \b
    nexeon accounts create --name acme
    nexeon credits add acme 25
    nexeon keys create --account acme --name laptop
    """


@command.command()
@click.option("--name", required=True, help="A name that no other account has.")
@click.option("--overdraft", metavar="USD", help="How far below zero its balance may go; 0 without this.")
@click.option("--soft-limit", metavar="USD", help="Warn when less than this is available.")
@limit_options
@shared_options
def create(name: str, **given: Any) -> None:
    """Create an account; prints its id."""
    made = call("accounts.create", name=name, **limit_values(given))
    show({"id": made["id"]}, made["id"])
    tell(f"account `{name}` created; give it credit: nexeon credits add {made['id']} USD")


@command.command("list")
@shared_options
def list_() -> None:
    """List accounts with their balances, in USD."""
    show_rows(listing("accounts.list"), COLUMNS, empty="no accounts yet: nexeon accounts create --name NAME")


@command.command("show")
@click.argument("account")
@shared_options
def show_(account: str) -> None:
    """Show one account."""
    show_record(call("accounts.show", account=account))


@command.command()
@click.argument("account")
@click.option("--name", help="A new name.")
@click.option("--overdraft", metavar="USD", help="How far below zero its balance may go.")
@click.option("--soft-limit", metavar="USD", help="Warn when less than this is available; `none` for no more warning.")
@click.option("--disable/--enable", "disabled", default=None, help="Refuse or accept its keys.")
@limit_options
@shared_options
def update(account: str, **given: Any) -> None:
    """Rename, disable or enable an account, or change what it may overdraw."""
    changed = limit_values(changes(given))
    if changed.get("soft_limit") == "none":
        changed["soft_limit"] = None
    show_record(call("accounts.update", account=account, **changed))


@command.command()
@click.argument("account")
@shared_options
def disable(account: str) -> None:
    """Refuse all keys of an account."""
    show_record(call("accounts.disable", account=account))


@command.command()
@click.argument("account")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options
def delete(account: str, yes: bool) -> None:
    """Delete an account, its keys and what is left of its credit. Its ledger stays."""
    confirmed(f"Delete account {account} with its keys and credit?", yes)
    gone = call("accounts.delete", account=account)
    show(gone, gone["id"])
    tell(f"account `{account}` deleted")


def changes(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given. Raises UsageError where there is none."""
    found = {name: value for name, value in given.items() if value is not None}
    if not found:
        raise click.UsageError("nothing to update: give at least one option")
    return found
