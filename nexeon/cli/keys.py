"""`nexeon keys …`"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from nexeon.cli.accounts import changes
from nexeon.cli.completing import (
    complete_accounts,
    complete_keys,
    complete_models,
    complete_periods,
    complete_scopes,
)
from nexeon.cli.limits import limit_options
from nexeon.cli.options import list_options, shared_options
from nexeon.cli.output import confirmed, show, show_record, show_rows, tell
from nexeon.cli.session import call, listing

COLUMNS = (
    "id", "account", "name", "last4", "state", "models", "scopes", "rpm", "tpm", "rpd", "tpd", "concurrency", "budget",
    "period", "spent", "expires", "last_used",
)  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])


def _limits(function: F) -> F:
    options = [
        click.option(
            "--models",
            metavar="GLOB,…",
            help="Models it may use; all without this.",
            shell_complete=complete_models,
        ),
        click.option(
            "--scopes",
            metavar="SCOPE,…",
            help="What narrows it: read, endpoint:GLOB, provider:GLOB, ip:RANGE; everything without this.",
            shell_complete=complete_scopes,
        ),
        click.option("--budget", metavar="USD", help="What it may spend in a period, or in all; or `none`."),
        click.option(
            "--period",
            metavar="day|week|month",
            help="Of the budget, in UTC; or `none`.",
            shell_complete=complete_periods,
        ),
        click.option("--expires", metavar="ISO", help="When it ends: 2030-12-31 or 2030-12-31T18:00:00Z; or `none`."),
    ]
    for option in reversed(options):
        function = option(function)
    return limit_options(function)


def _values(given: dict[str, Any]) -> dict[str, Any]:
    """`none` takes a limit away; of a list it leaves nothing, which permits everything."""
    lists = ("models", "scopes")
    return {
        name: (([] if name in lists else None) if value == "none" and name != "name" else value)
        for name, value in given.items()
        if value is not None
    }


@click.group("keys")
@shared_options
def command() -> None:
    """Keys of clients. A key is named by its id, or by a name that only it has.

    \b
    nexeon keys create --account acme --name laptop --models 'small-*' --rpm 60
    nexeon keys rotate laptop --overlap 3600
    """


@command.command()
@click.option(
    "--account",
    required=True,
    help="The account that pays, by id or name.",
    shell_complete=complete_accounts,
)
@click.option("--name", required=True, help="What the key is for.")
@_limits
@shared_options
def create(account: str, name: str, **given: Any) -> None:
    """Create a key; prints its secret, this once.

    \b
    nexeon keys create --account acme --name ci --models 'small-*' --budget 20 --period month
    nexeon keys create --account acme --name watch --scopes read,ip:10.0.0.0/8
    """
    made = call("keys.create", account=account, name=name, **_values(given))
    _show_secret(made)


@command.command("list")
@click.option("--account", help="Of one account only, by id or name.", shell_complete=complete_accounts)
@list_options("their name, their id or their secret's last characters")
@shared_options
def list_(account: str | None, search: str | None, limit: int | None) -> None:
    """List keys.

    \b
    nexeon keys list --account acme
    """
    rows = listing("keys.list", most=limit, account=account, search=search)
    words = "no such key" if search else "no keys yet: nexeon keys create --account ACCOUNT --name NAME"
    shown = [row | {"account": row.get("account_name") or row["account"]} for row in rows]
    show_rows(rows, COLUMNS, shown=shown, empty=words)


@command.command("show")
@click.argument("key", shell_complete=complete_keys)
@shared_options
def show_(key: str) -> None:
    """Show one key.

    \b
    nexeon keys show laptop
    """
    show_record(call("keys.show", key=key))


@command.command()
@click.argument("key", shell_complete=complete_keys)
@click.option("--name", help="A new name.")
@_limits
@click.option("--disable/--enable", "disabled", default=None, help="Refuse or accept it.")
@shared_options
def update(key: str, **given: Any) -> None:
    """Change a key; `none` takes a limit away.

    \b
    nexeon keys update laptop --rpm 60 --expires none
    """
    show_record(call("keys.update", key=key, **_values(changes(given))))


@command.command()
@click.argument("key", shell_complete=complete_keys)
@shared_options
def disable(key: str) -> None:
    """Refuse a key.

    \b
    nexeon keys disable laptop
    """
    show_record(call("keys.disable", key=key))


@command.command()
@click.argument("key", shell_complete=complete_keys)
@shared_options
def enable(key: str) -> None:
    """Accept a key again.

    \b
    nexeon keys enable laptop
    """
    show_record(call("keys.update", key=key, disabled=False))


@command.command()
@click.argument("key", shell_complete=complete_keys)
@click.option("--overlap", type=float, default=0.0, metavar="SECONDS", help="How long the old secret stays good.")
@shared_options
def rotate(key: str, overlap: float) -> None:
    """Give a key a new secret; prints it, this once.

    \b
    nexeon keys rotate laptop --overlap 3600
    """
    _show_secret(call("keys.rotate", key=key, overlap=overlap))


@command.command()
@click.argument("key", shell_complete=complete_keys)
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options
def delete(key: str, yes: bool) -> None:
    """Delete a key.

    \b
    nexeon keys delete laptop --yes
    """
    confirmed(f"Delete key {key}?", yes)
    gone = call("keys.delete", key=key)
    show(gone, gone["id"])
    tell(f"key `{key}` deleted")


def _show_secret(made: dict[str, Any]) -> None:
    show({"id": made["id"], "key": made["key"]}, made["key"])
    tell(f"the secret of {made['id']} is not shown again: keep it now")
