"""`nexeon tui`"""

from __future__ import annotations

import importlib
import importlib.util

import click

from nexeon.cli.options import config_option, given
from nexeon.cli.output import tell


@click.command("tui")
@config_option
@click.option("--url", help="The admin address of a gateway that is far away.")
@click.option("--token", envvar="NEXEON_ADMIN_TOKEN", help="Its admin token; better in NEXEON_ADMIN_TOKEN.")
def command(url: str | None, token: str | None) -> None:
    """Open the admin terminal: beside a running gateway, on the store itself, or far away."""
    if importlib.util.find_spec("tui.app") is None:
        tell("nexeon: the admin terminal is not part of this version; use the accounts, keys and credits commands")
        raise SystemExit(2)
    importlib.import_module("tui.app").run(given().config() if url is None else None, url=url, token=token)
