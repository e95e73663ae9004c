"""`nexeon configuration …`"""

from __future__ import annotations

import json

import click

from nexeon.cli.options import shared_options
from nexeon.cli.output import show
from nexeon.cli.session import call


@click.group("configuration")
@shared_options
def command() -> None:
    """The effective configuration: files merged, variables read, defaults filled in.

    \b
    nexeon configuration show -c gateway.yaml -c mine.yaml
    """


@command.command("show")
@shared_options
def show_() -> None:
    """Show it as JSON, without secrets. Amounts are in nano-USD.

    \b
    nexeon configuration show | jq .providers
    """
    found = call("configuration.show")
    show(found, json.dumps(found, indent=2, ensure_ascii=False))
