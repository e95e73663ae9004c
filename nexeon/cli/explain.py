"""`nexeon explain`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nexeon.cli.options import given, shared_options

if TYPE_CHECKING:
    from nexeon.gateway.explain.requests import Explained


_FILE = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path)


@click.command("explain")
@click.argument("request", metavar="REQUEST.json", type=_FILE)
@click.option("--model", required=True, metavar="M", help="A model of the configuration.")
@click.option("--from", "source", required=True, metavar="FORMAT", help="The format that the request is in.")
@shared_options
def command(request: Path, model: str, source: str) -> None:
    """Show the upstream request that REQUEST.json becomes for each target of a model, and what was lost.

    `-` reads the request from stdin. Exit status 1 where a target cannot be given the request.
    """
    from nexeon.gateway.explain.requests import explain

    with click.open_file(str(request), "rb") as file:
        text = file.read()
    found = explain(given().config(), text, model=model, source=source)
    if given().json:
        click.echo(json.dumps([target.view() for target in found], ensure_ascii=False))
    else:
        click.echo("\n\n".join(map(_text, found)))
    raise SystemExit(1 if any(target.refusal for target in found) else 0)


def _text(target: Explained) -> str:
    lines = [f"# {target.provider} · {target.model} · {target.format}"]
    if target.refusal:
        return "\n".join([*lines, f"refused: {target.refusal}"])
    lines += [f"POST {target.url}", json.dumps(target.body, indent=2, ensure_ascii=False)]
    lines += [f"patched: {patch}" for patch in target.patches]
    lines += [f"dropped: {name}" for name in target.dropped]
    return "\n".join(lines)
