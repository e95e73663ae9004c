"""`nexeon provider-keys …`"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from nexeon.cli.accounts import changes
from nexeon.cli.completing import complete_provider_keys, complete_providers
from nexeon.cli.limits import limit_options, limit_values
from nexeon.cli.options import shared_options
from nexeon.cli.output import confirmed, show, show_record, show_rows, tell
from nexeon.cli.session import call, listing, with_client
from nexeon.errors import AdminError

if TYPE_CHECKING:
    from nexeon.admin.provider_keys import Probe
    from nexeon.config import Config

COLUMNS = ("id", "provider", "account", "label", "last4", "weight", "state", "reason", "created")


@click.group("provider-keys")
@shared_options
def command() -> None:
    """The operator's keys at providers. They are kept encrypted and never shown.

    \b
    nexeon provider-keys add PROVIDER < secret.txt
    nexeon provider-keys list
    """


@command.command()
@click.argument("provider", shell_complete=complete_providers)
@click.option("--account", default="default", show_default=True, help="The organisation at the provider.")
@click.option("--label", default="", help="A name for people.")
@click.option("--weight", type=int, default=1, show_default=True, help="Its share among the provider's keys.")
@limit_options
@shared_options
def add(provider: str, **given: Any) -> None:
    """Add a key of PROVIDER; the secret comes from stdin, or from a prompt on a terminal.

    \b
    nexeon provider-keys add PROVIDER --label main < secret.txt
    pass show provider | nexeon provider-keys add PROVIDER --weight 3 --rpm 500
    """
    secret = click.prompt("Secret", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
    if not secret.strip():
        raise AdminError("no secret came from stdin: pipe it in, or type it at the prompt of a terminal")
    made = call("provider_keys.add", provider=provider, secret=secret, **limit_values(given))
    show({"id": made["id"]}, made["id"])
    tell(f"a key of `{provider}` was added; try it: nexeon provider-keys test {made['id']}")


@command.command("list")
@click.option("--provider", help="Of one provider only.", shell_complete=complete_providers)
@shared_options
def list_(provider: str | None) -> None:
    """List the keys, with what a running gateway knows of them.

    \b
    nexeon provider-keys list --json
    """
    rows = listing("provider_keys.list", provider=provider)
    show_rows(rows, COLUMNS, empty="no provider keys: nexeon provider-keys add PROVIDER")


@command.command("show")
@click.argument("key", shell_complete=complete_provider_keys)
@shared_options
def show_(key: str) -> None:
    """Show one key, and why it rests.

    \b
    nexeon provider-keys show pk_0123456789abcdef
    """
    show_record(call("provider_keys.show", key=key))


@command.command()
@click.argument("key", shell_complete=complete_provider_keys)
@shared_options
def test(key: str) -> None:
    """Try a key with one cheap call to the provider.

    \b
    nexeon provider-keys test pk_0123456789abcdef
    """
    result: dict[str, Any] = with_client(lambda client: client.call("provider_keys.test", key=key), probe=_probe)
    show_record(result)
    if not result["ok"]:
        raise SystemExit(1)


@command.command()
@click.argument("key", shell_complete=complete_provider_keys)
@click.option("--account", help="The organisation at the provider.")
@click.option("--label", help="A name for people.")
@click.option("--weight", type=int, help="Its share among the provider's keys.")
@click.option("--enable/--disable", "enabled", default=None, help="Use it, or do not.")
@limit_options
@shared_options
def update(key: str, **given: Any) -> None:
    """Change what is noted about a key.

    \b
    nexeon provider-keys update main --weight 3 --tpm none
    """
    show_record(call("provider_keys.update", key=key, **limit_values(changes(given))))


@command.command()
@click.argument("key", shell_complete=complete_provider_keys)
@shared_options
def enable(key: str) -> None:
    """Use a key again, also where its provider has limited or refused it.

    \b
    nexeon provider-keys enable pk_0123456789abcdef
    """
    show_record(call("provider_keys.enable", key=key))


@command.command()
@click.argument("key", shell_complete=complete_provider_keys)
@shared_options
def disable(key: str) -> None:
    """Do not use a key.

    \b
    nexeon provider-keys disable main
    """
    show_record(call("provider_keys.disable", key=key))


@command.command()
@click.argument("key", shell_complete=complete_provider_keys)
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options
def delete(key: str, yes: bool) -> None:
    """Delete a key.

    \b
    nexeon provider-keys delete main --yes
    """
    confirmed(f"Delete provider key {key}?", yes)
    gone = call("provider_keys.delete", key=key)
    show(gone, gone["id"])
    tell(f"provider key `{key}` deleted")


def _probe(config: Config) -> Probe:
    """The gateway's way to try a key, for when no gateway runs."""
    from nexeon.gateway.pool.probe import probe

    return probe(config)
