"""`nexeon diff`"""

from __future__ import annotations

import secrets
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nexeon.cli.options import given, shared_options
from nexeon.cli.output import show, tell
from nexeon.cli.session import asked_of_running
from nexeon.errors import AdminError

if TYPE_CHECKING:
    from nexeon.config import Config


@click.command("diff")
@click.option(
    "--against",
    metavar="FILE",
    type=click.Path(path_type=Path),
    multiple=True,
    help="The configuration to compare with, in place of the running gateway's; several are merged.",
)
@shared_options
def command(against: tuple[Path, ...]) -> None:
    """Show what the configuration given with -c would change in the running gateway.

    \b
    nexeon diff -c gateway.yaml -c new.yaml
    nexeon diff -c new.yaml --against old.yaml --json

    A secret is never shown, only that it is another one. Exit status: 0, also where there are differences; 1 where
    the configuration cannot be used.
    """
    from nexeon.config import load_config
    from nexeon.config.differences import Change, differences

    salt = secrets.token_hex(8)
    new = _shown(given().config(), salt)
    if against:
        changes = differences(_shown(load_config(against), salt), new)
    else:
        found = asked_of_running("diff", configuration=new, salt=salt)
        if found is None:
            raise AdminError("no gateway is running here: name the files to compare with, by --against")
        changes = [Change(**change) for change in found]
    show([asdict(change) for change in changes], "\n".join(map(str, changes)) or "nothing would change")
    if any(change.restart for change in changes):
        tell("what takes a new start is left as it is by a reload")


def _shown(config: Config, salt: str) -> dict[str, Any]:
    from nexeon.gateway.server.compiled import digests
    from nexeon.gateway.server.reload import described

    return described(config, digests(config.mappings), salt)
