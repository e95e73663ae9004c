"""`nexeon accounts …`"""

from __future__ import annotations

from typing import Any

import click

from nexeon.cli.completing import complete_accounts
from nexeon.cli.limits import limit_options, limit_values
from nexeon.cli.options import list_options, shared_options
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
    """Create an account; prints its id.

    \b
    nexeon accounts create --name acme --soft-limit 10 --rpm 600
    """
    made = call("accounts.create", name=name, **limit_values(given))
    show({"id": made["id"]}, made["id"])
    tell(f"account `{name}` created; give it credit: nexeon credits add {made['id']} USD")


@command.command("list")
@list_options("their name or id")
@shared_options
def list_(search: str | None, limit: int | None) -> None:
    """List accounts with their balances, in USD.

    \b
    nexeon accounts list --search acme
    """
    rows = listing("accounts.list", most=limit, search=search)
    words = "no such account" if search else "no accounts yet: nexeon accounts create --name NAME"
    show_rows(rows, COLUMNS, empty=words)


@command.command("show")
@click.argument("account", shell_complete=complete_accounts)
@shared_options
def show_(account: str) -> None:
    """Show one account.

    \b
    nexeon accounts show acme --json
    """
    show_record(call("accounts.show", account=account))


@command.command()
@click.argument("account", shell_complete=complete_accounts)
@click.option("--name", help="A new name.")
@click.option("--overdraft", metavar="USD", help="How far below zero its balance may go.")
@click.option("--soft-limit", metavar="USD", help="Warn when less than this is available; `none` for no more warning.")
@click.option("--disable/--enable", "disabled", default=None, help="Refuse or accept its keys.")
@limit_options
@shared_options
def update(account: str, **given: Any) -> None:
    """Rename, disable or enable an account, or change what it may overdraw.

    \b
    nexeon accounts update acme --overdraft 5 --rpm none
    """
    changed = limit_values(changes(given))
    if changed.get("soft_limit") == "none":
        changed["soft_limit"] = None
    show_record(call("accounts.update", account=account, **changed))


@command.command()
@click.argument("account", shell_complete=complete_accounts)
@shared_options
def disable(account: str) -> None:
    """Refuse all keys of an account.

    \b
    nexeon accounts disable acme
    """
    show_record(call("accounts.disable", account=account))


@command.command()
@click.argument("account", shell_complete=complete_accounts)
@shared_options
def enable(account: str) -> None:
    """Accept the keys of an account again.

    \b
    nexeon accounts enable acme
    """
    show_record(call("accounts.update", account=account, disabled=False))


@command.command()
@click.argument("account", shell_complete=complete_accounts)
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options
def delete(account: str, yes: bool) -> None:
    """Delete an account, its keys and what is left of its credit. Its ledger stays.

    \b
    nexeon accounts delete acme --yes
    """
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
