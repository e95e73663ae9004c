"""What `nexeon explain` found, for people: side by side, in as many columns as the terminal has room for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nexeon.mapping import MISSING
from nexeon.mapping.paths import Path

if TYPE_CHECKING:
    from nexeon.gateway.explain.answers import ExplainedAnswer, Told
    from nexeon.gateway.explain.requests import Explained, Lost
    from nexeon.gateway.explain.values import Value

_WIDE: Final = 120
"""Columns from which the mapping lines have a column of their own."""

_STYLES: Final = {"same": "", "made": "yellow", "constant": "cyan", "gateway": "magenta"}
_LEGEND: Final = {
    "same": "as it was given",
    "made": "made of what was given",
    "constant": "the mapping's own",
    "gateway": "the gateway's own",
}


def show_requests(found: Sequence[Explained], given: Any) -> None:
    """`given`: the client's request."""
    console = _console()
    for number, target in enumerate(found):
        _head(console, number, target)
        if target.refusal:
            console.print(Text("refused: ", "bold red").append(target.refusal, "red").append(*_by(target.line)))
            continue
        console.print(Text(f"POST {target.url}"))
        for name, value in target.headers.items():
            console.print(Text(f"{name}: {value}"))
        _sides(console, ("client request", "upstream request"), given, target.body, target.values)
        for patch in target.patches:
            console.print(Text(f"patched: {patch}", "yellow"))
        _losses(console, target.losses)
    _legend(console)


def show_answers(found: Sequence[ExplainedAnswer], *, stream: bool) -> None:
    """Answers, or streams event by event."""
    console = _console()
    for number, target in enumerate(found):
        _head(console, number, target)
        told: set[str] = set()
        for position, part in enumerate(target.parts):
            if stream:
                _event(console, position, part, told)
            else:
                _sides(console, ("provider's answer", "client's answer"), part.given, part.told[0], part.values[0])
            _losses(console, part.losses)
        if target.usage:
            console.print(Text(f"charged for: {_short(target.usage, 200)}", "dim"))
        if target.failure:
            words = Text(f"status {target.status}: ", "bold red").append(target.failure, "red")
            console.print(words.append(*_by(target.line)))
    _legend(console)


def _console() -> Console:
    """Colours only where stdout is a terminal and NO_COLOR is not set."""
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=False)


def _head(console: Console, number: int, target: Explained | ExplainedAnswer) -> None:
    if number:
        console.print()
    title = Text(f"# {target.provider} · {target.model} · {target.format}", "bold")
    console.print(title.append(" · the client's own format: passed on with patches" if target.piped else "", "dim"))


def _by(line: str) -> tuple[str, str]:
    return (f"  {line}" if line else ""), "dim"


def _losses(console: Console, losses: Sequence[Lost]) -> None:
    for loss in losses:
        console.print(Text("dropped: ", "bold red").append(loss.name, "red").append(*_by(loss.line)))


def _legend(console: Console) -> None:
    words = Text("\nNAME:12 is line 12 of mappings/formats/NAME.yaml", "dim")
    if console.color_system is not None:
        words.append("\n")
        for how, meaning in _LEGEND.items():
            words.append(f"■ {meaning}  ", _STYLES[how] or "default")
    console.print(words)


# a whole body


def _sides(console: Console, titles: tuple[str, str], given: Any, made: Any, values: Sequence[Value]) -> None:
    wide = console.width >= _WIDE
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold underline")
    table.add_column(titles[0], ratio=10, overflow="ellipsis", no_wrap=True)
    table.add_column(titles[1], ratio=12, overflow="ellipsis", no_wrap=True)
    if wide:
        table.add_column("mapping lines", ratio=10, overflow="fold", style="dim")
    known = {value.path: value for value in values}
    for path, text in _json_lines(made, known):
        value = known.get(path)
        if value is None:
            table.add_row("", Text(text), *([""] if wide else []))
            continue
        left = Text("  ".join(_given(given, source) for source in value.sources[:3]))
        if len(value.sources) > 3:
            left.append(f" +{len(value.sources) - 3}", "dim")
        lines = [_place(line) for line in value.lines]
        right = Text(text, _STYLES[value.how])
        if wide:
            table.add_row(left, right, " → ".join(lines))
            continue
        table.add_row(left, right)
        for line in _wrapped(lines, console.width * 12 // 22 - 3):
            table.add_row("", Text(f"  {line}", "dim"))
    console.print(table)


def _place(line: str) -> str:
    """`file:line` as short as it can be told apart: `NAME:12` for formats, `dialects/NAME:12`."""
    return line.removeprefix("formats/").replace(".yaml:", ":")


def _given(given: Any, source: str) -> str:
    try:
        value = Path(source).get(given)
    except ValueError:
        value = MISSING
    return source if value is MISSING else f"{source}: {_short(value, 200)}"


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    rows: list[str] = []
    for line in lines:
        joined = f"{rows[-1]} → {line}" if rows else line
        if rows and len(joined) <= width:
            rows[-1] = joined
        else:
            rows.append(line if not rows else f"→ {line}")
    return rows


def _json_lines(value: Any, known: dict[str, Value]) -> Iterator[tuple[str, str]]:
    """(path, text) of each line of indented JSON; what is known as a whole stands in one."""
    if isinstance(value, dict | list):
        yield from _nested(value, "", 0, "", "", known)
    else:
        yield "", _short(value, 400)


def _nested(
    value: Any, path: str, depth: int, lead: str, end: str, known: dict[str, Value]
) -> Iterator[tuple[str, str]]:
    space = "  " * depth
    if not isinstance(value, dict | list) or not value or path in known:
        yield path, f"{space}{lead}{_short(value, 400)}{end}"
        return
    brackets = "{}" if isinstance(value, dict) else "[]"
    yield path, f"{space}{lead}{brackets[0]}"
    items: list[tuple[Any, Any]] = list(value.items() if isinstance(value, dict) else enumerate(value))
    for position, (key, item) in enumerate(items):
        named = isinstance(value, dict)
        place = (f"{path}.{key}" if path else str(key)) if named else f"{path}[{key}]"
        comma = "," if position < len(items) - 1 else ""
        yield from _nested(item, place, depth + 1, f"{json.dumps(key)}: " if named else "", comma, known)
    yield f"{path}\0", f"{space}{brackets[1]}{end}"


# a stream


def _event(console: Console, number: int, part: Told, known: set[str]) -> None:
    """`known`: the lines of constants that were shown before."""
    wide = console.width >= _WIDE
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), pad_edge=False, show_header=False)
    for ratio in (4, 16, 16):
        table.add_column(ratio=ratio, overflow="fold")
    if wide:
        table.add_column(ratio=14, overflow="fold", style="dim")
    left = Text(_short(part.given, 600)) if part.given is not None else Text("the end", "dim")
    for position, told in enumerate(part.told or [None]):
        right = Text(_short(told, 600)) if told is not None else Text("nothing", "dim")
        values = part.values[position] if position < len(part.values) else []
        told_of = [value for value in values if value.how != "constant" or not known.issuperset(value.lines)]
        lines = list(dict.fromkeys(_place(line) for value in told_of for line in value.lines))
        known.update(line for value in values if value.how == "constant" for line in value.lines)
        label = f"[{number}]" if position == 0 else ""
        cells = [Text(label, "bold"), left if position == 0 else "", right]
        table.add_row(*cells, *([" ".join(lines)] if wide else []))
        if not wide and lines:
            table.add_row("", "", Text(" ".join(lines), "dim"))
    console.print(table)


def _short(value: Any, most: int) -> str:
    """JSON on one line; what is long loses its middle."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= most:
        return text
    return f"{text[: most * 2 // 3]}…({len(text) - most:,} more)…{text[-most // 6 :]}"
