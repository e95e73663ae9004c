"""Data on stdout, as a table for people or as JSON for scripts; words on stderr."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from nexeon.cli.options import given


def tell(words: str) -> None:
    """For people."""
    click.echo(words, err=True)


def show(value: Any, text: str) -> None:
    """`value` as one line of JSON where `--json` was given, else `text`."""
    click.echo(json.dumps(value, ensure_ascii=False) if given().json else text)


def show_rows(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    empty: str,
    shown: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """A table of some columns, or a JSON array of everything. `empty` says what to do where there is nothing; `shown`
    are the rows for people, where those differ."""
    if given().json:
        click.echo(json.dumps(list(rows), ensure_ascii=False))
    elif rows:
        click.echo(_table([[word(row[column]) for column in columns] for row in shown or rows], columns))
    else:
        tell(empty)


def show_record(record: Mapping[str, Any]) -> None:
    """One name and value a line, or a JSON object."""
    width = max(map(len, record))
    lines = [f"{_dim(f'{name:<{width}}')}  {_coloured(word(value), name)}".rstrip() for name, value in record.items()]
    show(record, "\n".join(lines))


def confirmed(question: str, yes: bool) -> None:
    """Asks a person once; a script has no terminal and means what it says. Raises Abort."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def word(value: Any) -> str:
    """A value in a cell."""
    if value is None or value == "" or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return (" | " if any(isinstance(each, dict) for each in value) else ",").join(map(word, value))
    if isinstance(value, dict):
        return " ".join(f"{name}={word(each)}" for name, each in value.items() if word(each) != "-") or "-"
    return str(value)


_NUMBERS = frozenset(
    {
        "balance",
        "reserved",
        "available",
        "amount",
        "uncollected",
        "rpm",
        "tpm",
        "concurrency",
        "weight",
        "budget",
        "spent",
        "requests",
        "input",
        "output",
        "cost",
        "status",
        "ms",
    }
)


_COLOURS: Final = {
    "active": "green", "ok": "green", "cooling": "yellow", "estimated": "yellow", "removed": "red", "disabled": "red",
    "expired": "red", "open": "red",
}  # fmt: skip
_STATES: Final = frozenset({"state", "status"})
_BAD: Final = frozenset({"disabled", "low"})
"""Columns in which `yes` is bad news."""


def _table(cells: list[list[str]], columns: Sequence[str]) -> str:
    heads = [column.upper() for column in columns]
    widths = [max(_width(line[place]) for line in (heads, *cells)) for place in range(len(columns))]

    def line(texts: list[str], paint: Callable[[str, str], str]) -> str:
        padded = [
            paint(_pad(text, width, right=column in _NUMBERS), column)
            for text, width, column in zip(texts, widths, columns, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(heads, lambda text, _: _dim(text)), *(line(each, _coloured) for each in cells)])


def _coloured(cell: str, column: str) -> str:
    """By what it says, on a terminal that takes colours."""
    text = cell.strip()
    colour = None
    if column in _STATES:
        colour = _COLOURS.get(text) or ("red" if text.isdecimal() and int(text) >= 400 else None)
    elif (column in _BAD and text == "yes") or (column in _NUMBERS and text.startswith("-") and len(text) > 1):
        colour = "red"
    return click.style(cell, fg=colour) if colour is not None and _takes_colours() else cell


def _dim(text: str) -> str:
    return click.style(text, dim=True) if _takes_colours() else text


def _takes_colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _pad(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    """Columns on a terminal: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
