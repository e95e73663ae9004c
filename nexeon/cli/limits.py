"""The options that bound how much is taken in a minute, in a day and at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_NO_LIMIT: Final = "none"
_HELP: Final = {
    "rpm": "Requests a minute.",
    "tpm": "Tokens a minute.",
    "rpd": "Requests a day.",
    "tpd": "Tokens a day.",
    "concurrency": "Requests at the same time.",
}


class Limit(click.ParamType[int | str, str]):
    """A whole number, or `none` for no limit."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value != _NO_LIMIT and not str(value).isdecimal():
            self.fail(f"`{value}` is neither a whole number nor `{_NO_LIMIT}`", param, ctx)
        return _NO_LIMIT if value == _NO_LIMIT else int(value)


def limit_options(function: F) -> F:
    """Adds --rpm, --tpm, --rpd, --tpd and --concurrency."""
    for name, words in reversed(_HELP.items()):
        function = click.option(f"--{name}", type=Limit(), help=words)(function)
    return function


def limit_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, with None where a limit is to be taken away."""
    return {
        name: None if name in _HELP and value == _NO_LIMIT else value
        for name, value in given.items()
        if value is not None
    }
