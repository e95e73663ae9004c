"""YAML 1.2 core with line numbers: `no` is text, a date is text, keys are unique, and every value knows its line.

PyYAML scans and composes (1.1 syntax, of which 1.2 differs only in corners); tags are resolved here by the core schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from nexeon.errors import LoadError, Problem

YamlPath = tuple[str | int, ...]

_TAG: Final = "tag:yaml.org,2002:"
_TEXT: Final = _TAG + "str"
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
}
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)


class _PureLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own protocol)


class _FastLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


for _loader in (_PureLoader, _FastLoader):
    _loader.add_implicit_resolver(_TAG + "null", _NULL, ["~", "n", "N", ""])
    _loader.add_implicit_resolver(_TAG + "bool", _BOOL, list("tTfF"))
    _loader.add_implicit_resolver(_TAG + "int", _INT, list("-+0123456789"))
    _loader.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+.0123456789"))


@dataclass(frozen=True, slots=True)
class Positions:
    """Lines (from 1) by path; a map entry's line is its key's."""

    lines: Mapping[YamlPath, int]

    def line(self, path: YamlPath) -> int:
        """The line of `path`, or of the nearest ancestor that has one; 0 for an empty document."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


@dataclass(slots=True)
class Document:
    """A file as read: `problems` holds duplicate keys and the like; with `broken` there is no value to speak of."""

    name: str
    value: Any = None
    positions: Positions = field(default_factory=lambda: Positions({}))
    problems: list[Problem] = field(default_factory=list)
    broken: bool = False


def load_yaml(source: Path | str, name: str | None = None) -> tuple[Any, Positions]:
    """The value and the positions of a file (`Path`) or a text (`str`). Raises LoadError with every problem found."""
    document = read_yaml(source, name)
    if document.problems:
        raise LoadError(document.problems)
    return document.value, document.positions


def read_yaml(source: Path | str, name: str | None = None) -> Document:
    """As `load_yaml`, but problems are returned, so that those of several files can be told at once.

    Map keys are text as written. An empty document is None.
    """
    document = Document(name if name is not None else str(source) if isinstance(source, Path) else "<text>")
    text = _read(source, document)
    if text is None:
        return document
    node = _compose(text, document)
    if node is not None:
        builder = _Builder(document)
        try:
            document.value = builder.build(node, ())
        except RecursionError:
            document.problems.append(Problem("nested too deeply", document.name))
            document.broken = True
        document.positions = Positions(builder.lines)
    return document


def core_scalar(text: str) -> Any:
    """What a plain scalar means in YAML 1.2 core: None, bool, int, float or the text itself."""
    if text and text[0] not in _LEADS:
        return text
    for pattern, convert in _CONVERSIONS:
        if pattern.match(text):
            return convert(text)
    return text


def _read(source: Path | str, document: Document) -> str | None:
    if isinstance(source, str):
        return source
    try:
        return source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start})"
    except FileNotFoundError:
        message = "no such file"
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    document.problems.append(Problem(message, document.name))
    document.broken = True
    return None


def _compose(text: str, document: Document) -> yaml.Node | None:
    try:
        try:
            return _compose_with(_FastLoader, text)
        except yaml.YAMLError:
            return _compose_with(_PureLoader, text)  # its messages are the same on every platform
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        document.problems.append(Problem(_explain(error, text, line), document.name, line))
    except yaml.YAMLError as error:
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 0
        document.problems.append(Problem("a control character stands here; YAML allows none", document.name, line))
    except RecursionError:
        document.problems.append(Problem("nested too deeply", document.name))
    document.broken = True
    return None


def _compose_with(loader_class: Callable[[str], Any], text: str) -> yaml.Node | None:
    loader = loader_class(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


def _explain(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    what = error.problem or "cannot be parsed"
    message = f"YAML syntax: {what}"
    if error.context and error.context_mark:
        message += f" ({error.context} from line {error.context_mark.line + 1})"
    written = text.splitlines()[line - 1] if 0 < line <= text.count("\n") + 1 and text else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        message += ": indent with spaces"
    elif "{{" in written or "${" in written:
        message += ": put text with `{` in quotes"
    return message


class _Builder:
    """Nodes → values, noting lines and problems."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.lines: dict[YamlPath, int] = {}
        self.open: set[int] = set()

    def build(self, node: yaml.Node, path: YamlPath) -> Any:
        line = node.start_mark.line + 1
        if path not in self.lines:  # as a key has it
            self.lines[path] = line
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line)
        if id(node) in self.open:
            self._problem("an alias stands inside what it names", line)
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._map(node, path)
        finally:
            self.open.discard(id(node))

    def _map(self, node: yaml.Node, path: YamlPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first: dict[str, int] = {}
        lines = self.lines
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                braces = isinstance(key_node, yaml.MappingNode)
                self._problem("a key must be text" + (": put text with `{{` in quotes" if braces else ""), line)
                continue
            key: str = key_node.value
            if key in first:
                self._problem(f"duplicate key `{key}`: first on line {first[key]}", line)
                continue
            first[key] = line
            below = (*path, key)
            lines[below] = line
            if value_node.tag == _TEXT and isinstance(value_node, yaml.ScalarNode):  # as most are
                result[key] = value_node.value
            else:
                result[key] = self.build(value_node, below)
        return result

    def _scalar(self, node: yaml.ScalarNode, line: int) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind in ("str", "!"):
            return node.value
        if kind in _KINDS:
            try:
                value = core_scalar(node.value)
            except ValueError:  # more digits than Python turns into an int
                value = math.inf
            if isinstance(value, float) and math.isinf(value) and "inf" not in node.value.lower():
                self._problem("a number too large", line)
            elif not isinstance(value, _KINDS[kind]):
                self._problem(f"this is no {kind}", line)
            return value
        self._problem(f"unknown tag `{node.tag}`", line)
        return node.value

    def _problem(self, message: str, line: int) -> None:
        self.document.problems.append(Problem(message, self.document.name, line))


def _integer(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _floating(text: str) -> float:
    return float(text.replace(".", "") if text[-1] in "fFnN" else text)  # .inf and .nan


_LEADS: Final = frozenset("~nNtTfF+-.0123456789")
"""What anything but text begins with."""

_CONVERSIONS: Final[tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...]] = (
    (_NULL, lambda _: None),
    (_BOOL, lambda text: text.lower() == "true"),
    (_INT, _integer),
    (_FLOAT, _floating),
)
