"""`nexeon check`"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from nexeon.cli.options import config_option, given, json_option
from nexeon.cli.output import tell

if TYPE_CHECKING:
    from nexeon.errors import Problem

_NEWLINES = {"%": "%25", "\r": "%0D", "\n": "%0A"}


@click.command("check")
@config_option
@click.option("--coverage", is_flag=True, help="Also find fields that have neither a mapping nor a policy.")
@click.option("--compile", "compiles", is_flag=True, help="Also compile the mappings, so that no start has to.")
@json_option
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "github"]), default="text", help="How findings are printed."
)
def command(coverage: bool, compiles: bool, form: str) -> None:
    """Check the configuration, schemas, mappings and mapping cases. Exit status 0 or 1.

    What --compile compiles is kept in the folder that NEXEON_CACHE names, else in the user's cache folder: an image
    of a container that is made with it starts as fast as any.

    \b
    nexeon check --coverage
    nexeon check -c mine.yaml --format github
    """
    from nexeon.data import data_path
    from nexeon.errors import ConfigError
    from nexeon.gateway.server.pagefiles import page_problems
    from nexeon.mapping.check import check
    from nexeon.mapping.schemas import schema_folders

    try:
        config = given().config()
    except ConfigError as error:
        problems, looked = error.problems, "the configuration cannot be used; the mappings were not looked at"
    else:
        schemas = schema_folders(data_path("schemas"), config.mappings)
        report = check(config.mappings, schemas, with_coverage=coverage)
        problems = report.problems + (page_problems(report.library) if report.library is not None else [])
        looked = f"{report.formats} formats, {report.dialects} dialects, {report.cases} cases"
    if form == "json" or given().json:
        click.echo(json.dumps([asdict(problem) for problem in problems], ensure_ascii=False))
    else:
        for problem in problems:
            click.echo(str(problem) if form == "text" else _annotation(problem))
    failed = sum(problem.severity == "error" for problem in problems)
    if compiles and not failed:
        from nexeon.mapping.ahead import at_start

        asyncio.run(at_start(config.mappings))
    found = f"{failed} error{'s' if failed > 1 else ''}" if failed else "good"
    tell(f"nexeon: {looked}: {found}")
    raise SystemExit(1 if failed else 0)


def _annotation(problem: Problem) -> str:
    """A workflow command that a pull request shows beside the line."""
    level = "error" if problem.severity == "error" else "warning"
    place = f" file={problem.file},line={problem.line or 1}" if problem.file else ""
    text = f"{problem.path}: {problem.message}" if problem.path else problem.message
    return f"::{level}{place}::" + "".join(_NEWLINES.get(character, character) for character in text)
