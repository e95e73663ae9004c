"""Files → one merged tree whose every value knows the file and line it came from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nexeon.errors import Problem
from nexeon.wire.yamlfile import Document, Positions, YamlPath, read_yaml

_REFERENCE: Final = re.compile(r"\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|(\$\{)")
_PLAIN_KEY: Final = re.compile(r"[^\s\[\]\"'`]+\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written."""

    file: Path
    shown: str
    line: int


@dataclass(slots=True)
class Tree:
    """The merged value with the file that every path was written in last.

    `variables` are the environment variables that texts were made of, the first one of each; `from_environment` are
    the paths whose text was substituted, `unresolved` those where that failed.
    """

    value: dict[str, Any] = field(default_factory=dict)
    layers: dict[YamlPath, _Layer] = field(default_factory=dict)
    from_environment: set[YamlPath] = field(default_factory=set)
    variables: dict[YamlPath, str] = field(default_factory=dict)
    unresolved: set[YamlPath] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: YamlPath) -> Place | None:
        """The place of `path`, or of the nearest ancestor that was written."""
        while path and path not in self.layers:
            path = path[:-1]
        layer = self.layers.get(path)
        return layer.place(path) if layer is not None else None

    def report(self, path: YamlPath, message: str, *, within: YamlPath | None = None) -> None:
        """Add a problem at the line of `path`; `within` is the part that the message speaks of, where it is another.

        What depends on a variable that is not set has been told once already.
        """
        if path in self.unresolved:
            return
        place = self.place(path)
        file, line = (place.shown, place.line) if place else ("", 0)
        self.problems.append(Problem(message, file, line, show(path if within is None else within)))


def show(path: YamlPath) -> str:
    """`models.x.targets[0]`; keys with spaces, quotes or brackets stand in `["…"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.match(step):
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]'
    return text


def read_files(files: Sequence[Path], environ: Mapping[str, str]) -> tuple[Tree, bool]:
    """The merged tree, `${VAR}` replaced; False where a file could not be read, so that there is nothing to check."""
    tree = Tree()
    readable = True
    for file in files:
        document = read_yaml(file)
        tree.problems += document.problems
        readable = readable and not document.broken
        if document.broken or document.value is None:
            continue
        if not isinstance(document.value, dict):
            tree.problems.append(Problem("a configuration file must be a map", document.name, 1))
            readable = False
            continue
        _merge(tree, file, document)
    _substitute(tree, environ)
    return tree, readable


def _merge(tree: Tree, file: Path, document: Document) -> None:
    layer = _Layer(tree.layers, file.absolute(), document)
    tree.layers[()] = layer
    layer.merge(tree.value, document.value, ())


class _Layer:
    """One file, laid over those before it. No closures: they would hold each other, and all that was read, for ever."""

    def __init__(self, layers: dict[YamlPath, _Layer], file: Path, document: Document) -> None:
        self._layers = layers
        self._file = file
        self._name = document.name
        self._positions: Positions = document.positions

    def place(self, path: YamlPath) -> Place:
        """Where this file has `path`."""
        return Place(self._file, self._name, self._positions.line(path) if path else 1)

    def merge(self, base: dict[str, Any], over: dict[str, Any], path: YamlPath) -> None:
        for key, value in over.items():
            below = (*path, key)
            old = base.get(key)
            if isinstance(old, dict) and isinstance(value, dict):
                self._layers[below] = self
                self.merge(old, value, below)
                continue
            if key in base:
                del base[key]
                self._forget(below)
            if value is not None:
                base[key] = self._lay(value, below)

    def _forget(self, path: YamlPath) -> None:
        depth = len(path)
        for known in [known for known in self._layers if known[:depth] == path]:
            del self._layers[known]

    def _lay(self, value: Any, path: YamlPath) -> Any:
        self._layers[path] = self
        if isinstance(value, dict):
            return {key: self._lay(item, (*path, key)) for key, item in value.items() if item is not None}
        if isinstance(value, list):
            return [self._lay(item, (*path, index)) for index, item in enumerate(value)]
        return value


def _substitute(tree: Tree, environ: Mapping[str, str]) -> None:
    _substituted(tree.value, (), tree, environ)


def _substituted(value: Any, path: YamlPath, tree: Tree, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        for key in value:
            value[key] = _substituted(value[key], (*path, key), tree, environ)
    elif isinstance(value, list):
        value[:] = [_substituted(item, (*path, index), tree, environ) for index, item in enumerate(value)]
    elif isinstance(value, str) and "${" in value:
        tree.from_environment.add(path)
        return _expanded(value, path, tree, environ)
    elif isinstance(value, float) and not math.isfinite(value):
        tree.report(path, f"{show(path)} must be a finite number")
        return 0
    return value


def _expanded(text: str, path: YamlPath, tree: Tree, environ: Mapping[str, str]) -> str:
    failures: list[str] = []

    def replace(match: re.Match[str]) -> str:
        escaped, name, default, stray = match.groups()
        if escaped:
            return "${"
        if name:
            tree.variables.setdefault(path, name)
        if stray:
            failures.append(f"`${{` in {show(path)} must be `${{NAME}}` or `${{NAME:-default}}`; `$${{` is text")
            return ""
        value = environ.get(name)
        if default is not None:
            return value or default
        if value is None:
            failures.append(
                f"environment variable `{name}` in {show(path)} is not set: "
                f"set it, or write a default: `${{{name}:-…}}`"
            )
            return ""
        return value

    expanded = _REFERENCE.sub(replace, text)
    for failure in failures:
        tree.report(path, failure)
    if failures:
        tree.unresolved.add(path)
    return expanded
