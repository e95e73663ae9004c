"""YAML with places: what the compiler reads.

Scalars follow the YAML 1.2 core schema (`no` and dates are text). A map keeps its order and its keys' lines; keys that
occur twice and expressions that lost their quotes are problems.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nexeon.errors import MappingError, Problem
from nexeon.wire.yamlfile import core_scalar

Value = None | bool | int | float | str


@dataclass(slots=True)
class Scalar:
    """A leaf; `quoted` text is never a control word's keyword or number."""

    value: Value
    line: int
    quoted: bool = False


@dataclass(slots=True)
class Entry:
    """One key of a map. `key` is text, or the scalar a `$match` label is."""

    key: Scalar
    node: Node

    @property
    def name(self) -> str:
        return self.key.value if isinstance(self.key.value, str) else str(self.key.value)


@dataclass(slots=True)
class Map:
    """A map in file order."""

    entries: list[Entry]
    line: int

    def get(self, name: str) -> Node | None:
        for entry in self.entries:
            if entry.key.value == name:
                return entry.node
        return None

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)


@dataclass(slots=True)
class Seq:
    """A list."""

    items: list[Node]
    line: int


Node = Scalar | Map | Seq


@dataclass(slots=True)
class Source:
    """A parsed file: `name` is how problems and tracebacks call it."""

    name: str
    root: Node
    path: Path | None = None
    problems: list[Problem] = field(default_factory=list)
    text: str = ""


def parse(text: str, name: str, path: Path | None = None) -> Source:
    """The file's tree; raises MappingError where it is no YAML."""
    try:
        composed = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise MappingError([Problem(f"not YAML: {error.problem or error.context}", name, line)]) from None
    except yaml.YAMLError as error:
        raise MappingError([Problem(f"not YAML: {error}", name)]) from None
    problems: list[Problem] = []
    root = _convert(composed, name, problems) if composed is not None else Map([], 1)
    return Source(name, root, path, problems, text)


def read(path: Path, name: str, known: Source | None = None) -> Source:
    """`parse` of a file's text; raises MappingError where it cannot be read. `known` itself where it has this text."""
    try:
        text = path.read_text(encoding="utf-8")
        return known if known is not None and known.text == text and known.name == name else parse(text, name, path)
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError([Problem(f"cannot be read: {error}", name)]) from None


def _convert(node: yaml.Node, name: str, problems: list[Problem]) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        quoted = bool(node.style)
        return Scalar(node.value if quoted else core_scalar(node.value), line, quoted)
    if isinstance(node, yaml.SequenceNode):
        return Seq([_convert(item, name, problems) for item in node.value], line)
    assert isinstance(node, yaml.MappingNode)
    entries: list[Entry] = []
    seen: set[Value] = set()
    for key_node, value_node in node.value:
        key = _convert(key_node, name, problems)
        if not isinstance(key, Scalar):
            problems.append(Problem('an expression must be quoted: "{{ … }}"', name, line))
            return Scalar(None, line)
        if key.value in seen and type(key.value) is str:
            problems.append(Problem(f"the key `{key.value}` stands twice in one map", name, key.line))
        seen.add(key.value)
        entries.append(Entry(key, _convert(value_node, name, problems)))
    return Map(entries, line)


def plain(node: Node) -> Any:
    """The node as plain data, templates and all."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Seq):
        return [plain(item) for item in node.items]
    return {entry.key.value: plain(entry.node) for entry in node}
