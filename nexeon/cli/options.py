"""Options that every level takes, so that they may stand anywhere: `-c`, `--json`, `--url` and `--token`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from nexeon.config import Config

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Given:
    """What was given on any level, in the order of the command line."""

    files: list[Path] = field(default_factory=list)
    json: bool = False
    url: str = ""
    token: str = field(default="", repr=False)

    def config(self) -> Config:
        """Raises ConfigError."""
        from nexeon.config import load_config

        return load_config(self.files or None)


def given(ctx: click.Context | None = None) -> Given:
    return (ctx or click.get_current_context()).find_root().ensure_object(Given)


def _take_files(ctx: click.Context, parameter: click.Parameter, value: tuple[Path, ...]) -> None:
    given(ctx).files.extend(value)


def _take_json(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    given(ctx).json |= value


def config_option(function: F) -> F:
    return click.option(
        "-c",
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path),
        multiple=True,
        expose_value=False,
        is_eager=True,
        callback=_take_files,
        help="A configuration file; several are merged, left to right.",
    )(function)


def json_option(function: F) -> F:
    return click.option(
        "--json", is_flag=True, expose_value=False, is_eager=True, callback=_take_json, help="Print JSON for scripts."
    )(function)


def _take_url(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        given(ctx).url = value


def _take_token(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        given(ctx).token = value


def remote_options(function: F) -> F:
    """`--url` and `--token`."""
    options = [
        click.option(
            "--url", expose_value=False, is_eager=True, callback=_take_url, help="Act on a gateway that is far away."
        ),
        click.option(
            "--token",
            envvar="NEXEON_ADMIN_TOKEN",
            expose_value=False,
            is_eager=True,
            callback=_take_token,
            help="Its admin token; better in NEXEON_ADMIN_TOKEN.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def list_options(where: str) -> Callable[[F], F]:
    """`--search` (in `where`) and `--limit`."""

    def add(function: F) -> F:
        function = click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N only.")(function)
        return click.option("--search", metavar="TEXT", help=f"Those with that text in {where}.")(function)

    return add


def shared_options(function: F) -> F:
    """`-c`, `--json`, `--url` and `--token`."""
    return config_option(json_option(remote_options(function)))
