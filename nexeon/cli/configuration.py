"""`nexeon configuration …`"""

from __future__ import annotations

import json

import click

from nexeon.cli.options import given, shared_options
from nexeon.cli.output import show
from nexeon.cli.session import asked_of_running


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

    It is the running gateway's, where one runs, else what one would begin with; the store is not looked at.

    \b
    nexeon configuration show | jq .providers
    """
    found = asked_of_running("configuration.show")
    if found is None:
        from nexeon.admin.deployment import plain

        found = plain(given().config())
    show(found, json.dumps(found, indent=2, ensure_ascii=False))
