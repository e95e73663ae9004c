"""`nexeon check`"""

from __future__ import annotations

import importlib

import click

from nexeon.cli.options import config_option, given


@click.command("check")
@config_option
@click.option("--coverage", is_flag=True, help="Also find fields that have neither a mapping nor a policy.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "github"]), default="text", help="How findings are printed."
)
def command(coverage: bool, form: str) -> None:
    """Check the configuration, schemas, mappings and mapping cases. Exit status 0 or 1."""
    found = importlib.import_module("nexeon.mapping.check").main(given().files, coverage=coverage, form=form)
    raise SystemExit(found)
