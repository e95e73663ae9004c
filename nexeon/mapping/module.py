"""One mapping file's functions and tables, compiled together."""

from __future__ import annotations

import ast
import marshal
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import nexeon.mapping.identifiers
import nexeon.mapping.reshape  # noqa: F401  (both register their filters)
from nexeon.errors import MappingError
from nexeon.mapping import cache, constants
from nexeon.mapping.compiler import TemplateCompiler
from nexeon.mapping.optimiser import optimised
from nexeon.mapping.runtime import PLAIN, Transform, namespace
from nexeon.mapping.scope import Scope, Unit
from nexeon.mapping.source import Map, Node, Source, plain

SIGNATURE: Final = re.compile(r"([a-z_][a-z0-9_]*)\(([^)]*)\)")

_plainly: Final = ContextVar("_plainly", default=False)


@contextmanager
def plainly() -> Iterator[None]:
    """Within it what has to be compiled is left as the compiler writes it, and not kept: for whoever asks it little,
    optimising takes longer than it saves."""
    token = _plainly.set(True)
    try:
        yield
    finally:
        _plainly.reset(token)


class Module:
    """Compiles a file's templates; all its problems are raised at once by `finish`."""

    optimises = True
    """Whether functions are made faster than the compiler writes them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.unit = Unit(source.name, problems=list(source.problems))
        self._pending: list[Callable[[], ast.stmt]] = []
        self._wanted: set[str] = set()
        self._names: dict[str, Any] | None = None
        root = source.root if isinstance(source.root, Map) else Map([], 1)
        self._tables(root.get("tables"))
        self._define(root.get("define"))

    def _tables(self, node: Node | None) -> None:
        if node is None:
            return
        if not isinstance(node, Map):
            self.unit.problem("`tables` is a map of maps", node.line)
            return
        for entry in node:
            table = plain(entry.node)
            if isinstance(table, dict):
                self.unit.tables[entry.name] = table
            else:
                self.unit.problem(f"the table `{entry.name}` is no map", entry.key.line)

    def _define(self, node: Node | None) -> None:
        if node is None:
            return
        if not isinstance(node, Map):
            self.unit.problem("`define` is a map of functions", node.line)
            return
        bodies: list[tuple[str, list[str], Node]] = []
        for entry in node:
            found = SIGNATURE.fullmatch(entry.name.strip())
            if found is None:
                self.unit.problem(f"`{entry.name}` is no function: write `name(a, b)`", entry.key.line)
                continue
            parameters = [part.strip() for part in found.group(2).split(",") if part.strip()]
            if found.group(1) in self.unit.functions:
                self.unit.problem(f"the function `{found.group(1)}` is defined twice", entry.key.line)
            self.unit.functions[found.group(1)] = tuple(parameters)
            bodies.append((found.group(1), parameters, entry.node))
        for name, parameters, body in bodies:  # after all signatures are known: functions may call each other
            self._later("f_" + name, parameters, body)

    def _later(self, identifier: str, parameters: list[str], node: Node) -> None:
        """What is compiled already need not be compiled again."""
        self._pending.append(lambda: TemplateCompiler(self.unit, Scope()).function(identifier, parameters, node))

    def add(self, node: Node, root: str, name: str) -> Callable[[], Transform]:
        """Compiles a template whose input is called `root`; the transform is there after `finish`."""
        identifier = "t_" + re.sub(r"\W", "_", name)
        self._later(identifier, [root], node)

        def transform() -> Transform:
            assert self._names is not None
            return Transform(self._names[self.exported(identifier)], self.unit.file, root)

        return transform

    def add_expression(self, text: str, line: int, root: str, name: str) -> Callable[[], Transform]:
        """The same for one bare expression."""
        from nexeon.mapping.source import Scalar

        inner = text.strip()
        if not inner.startswith("{{"):
            inner = "{{ " + inner + " }}"
        return self.add(Scalar(inner, line, True), root, name)

    def function(self, name: str) -> Callable[[], Transform]:
        """A `define:` function of one parameter, as a transform."""
        self._wanted.add("f_" + name)

        def transform() -> Transform:
            assert self._names is not None
            return Transform(self._names[self.exported("f_" + name)], self.unit.file, name)

        return transform

    def finish(self) -> None:
        """Makes the functions; raises MappingError with all problems."""
        names = namespace()
        names |= {"table_" + name: table for name, table in self.unit.tables.items()}
        known = cache.load(self.unit.file, self.source.text) if self._cached and not self.unit.problems else None
        if known is not None:
            exec(constants.placed(known, names), names)  # made by us from an allow-list of nodes
        else:
            tree = ast.Module([compiled() for compiled in self._pending], [])
            if self.unit.problems:
                raise MappingError(self.unit.problems)
            self.run(tree, names)
        self._pending.clear()
        self._names = names

    def exported(self, name: str) -> str:
        """What the function is called from outside."""
        return name

    def run(self, tree: ast.Module, names: dict[str, Any]) -> None:
        """Puts the functions beside the names that they use."""
        once = _plainly.get()
        code = constants.compiled(self._faster(tree) if self.optimises and not once else tree, self.unit.file)
        if self._cached and not once:
            cache.save(self.unit.file, self.source.text, code)
        exec(constants.placed(code, names), names)  # made by us from an allow-list of nodes

    def _faster(self, tree: ast.Module) -> ast.Module:
        """The optimised functions, which take the plain ones along for the day when they fail."""
        made = optimised(tree, self._wanted)
        constants.marked(made.body)
        plain = ast.Constant(marshal.dumps(compile(tree, self.unit.file, "exec")))
        made.body.insert(0, ast.Assign([ast.Name(PLAIN, ast.Store())], plain))
        return ast.fix_missing_locations(made)

    @property
    def _cached(self) -> bool:
        """Whether the code may be kept: not where a kind of module makes something else of its tree, nor that of what
        has no text of its own."""
        return type(self) is Module and bool(self.source.text)
