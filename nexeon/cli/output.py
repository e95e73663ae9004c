"""Data on stdout, as a table for people or as JSON for scripts; words on stderr."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import click

from nexeon.cli.options import given


def tell(words: str) -> None:
    """For people."""
    click.echo(words, err=True)


def show(value: Any, text: str) -> None:
    """`value` as one line of JSON where `--json` was given, else `text`."""
    click.echo(json.dumps(value, ensure_ascii=False) if given().json else text)


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """A table of some columns, or a JSON array of everything. `empty` says what to do where there is nothing."""
    if given().json:
        click.echo(json.dumps(list(rows), ensure_ascii=False))
    elif rows:
        click.echo(_table([[word(row[column]) for column in columns] for row in rows], columns))
    else:
        tell(empty)


def show_record(record: Mapping[str, Any]) -> None:
    """One name and value a line, or a JSON object."""
    width = max(map(len, record))
    show(record, "\n".join(f"{name:<{width}}  {word(value)}".rstrip() for name, value in record.items()))


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
        return ",".join(map(word, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


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


def _table(cells: list[list[str]], columns: Sequence[str]) -> str:
    lines = [[column.upper() for column in columns], *cells]
    widths = [max(_width(line[place]) for line in lines) for place in range(len(columns))]
    return "\n".join(
        "  ".join(
            _pad(cell, width, right=column in _NUMBERS)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in lines
    )


def _pad(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    """Columns on a terminal: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
