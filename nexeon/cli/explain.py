"""`nexeon explain`"""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from nexeon.cli.options import given, shared_options


@click.command("explain")
@click.argument("request", metavar="REQUEST.json", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--model", required=True, metavar="M", help="A model of the configuration.")
@click.option("--from", "source", required=True, metavar="FORMAT", help="The format that the request is in.")
@shared_options
def command(request: Path, model: str, source: str) -> None:
    """Show the upstream request that REQUEST.json becomes for each target of a model, and what was lost."""
    run = importlib.import_module("nexeon.gateway.explain").explain
    raise SystemExit(run(given().config(), request, model=model, source=source, as_json=given().json))
