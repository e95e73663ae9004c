"""Mapping files compiled a second way: as the first, and every value that is placed or read is told to a `Recorder`.

The compiler makes the same functions; their Python tree is rewritten before it is run, so that nothing of this is in
the functions that requests go through. A rewritten function gives exactly what the plain one gives.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nexeon.errors import MappingError
from nexeon.mapping import operators, runtime
from nexeon.mapping.destinations import located
from nexeon.mapping.dialect import Dialect, ModelDialect
from nexeon.mapping.format import Format
from nexeon.mapping.library import Library, read_sources
from nexeon.mapping.missing import MISSING
from nexeon.mapping.module import Module
from nexeon.mapping.provenance import Key, Loss, Read, Recorder
from nexeon.mapping.source import Source, plain

_HELPERS: Final = ("filter_", "builtin_", "present_", "concat", "cut", "add")


class TracedLibrary(Library):
    """Formats and dialects whose mappings tell the recorder, each compiled when it is first asked for.

    Raises MappingError where a file cannot be read or compiled.
    """

    def __init__(self, folders: Sequence[Path], recorder: Recorder) -> None:
        super().__init__(folders=tuple(folders))
        self._recorder = recorder
        self._sources, problems = read_sources(folders)
        if problems:
            raise MappingError(problems)
        self._facts = {name: plain(source.root) for name, source in self._sources["formats"].items()}

    @property
    def names(self) -> list[str]:
        """Of all formats."""
        return list(self._facts)

    @property
    def dialect_names(self) -> list[str]:
        return list(self._sources["dialects"])

    def format(self, name: str) -> Format:
        source = self._sources["formats"].get(name)
        if name not in self.formats and source is not None:
            self.formats[name] = TracedFormat(self._recorder, source)
        return super().format(name)

    def dialect(self, name: str | None, format_name: str, model: str) -> ModelDialect:
        source = self._sources["dialects"].get(name or "")
        if source is not None and name not in self.dialects:
            self.dialects[name or ""] = TracedDialect(self._recorder, source, self._facts)
        return super().dialect(name, format_name, model)


class TracedFormat(Format):
    """A format whose mappings are traced."""

    def __init__(self, recorder: Recorder, source: Source) -> None:
        self._recorder = recorder
        super().__init__(source)

    def compiled(self, source: Source) -> Module:
        return TracedModule(self._recorder, source)


class TracedDialect(Dialect):
    """A dialect whose templates are traced; its patches are not."""

    def __init__(self, recorder: Recorder, source: Source, formats: Mapping[str, Mapping[str, Any]]) -> None:
        self._recorder = recorder
        super().__init__(source, formats)

    def compiled(self, source: Source) -> Module:
        return TracedModule(self._recorder, source)


class TracedModule(Module):
    """One file's functions, rewritten."""

    optimises = False

    def __init__(self, recorder: Recorder, source: Source) -> None:
        self._recorder = recorder
        super().__init__(source)

    def run(self, tree: ast.Module, names: dict[str, Any]) -> None:
        rewritten = _Rewriter().visit(tree)
        names |= _Probes(self._recorder, self.unit.file).names()
        super().run(rewritten, names)
        for name in [name for name in names if name.startswith(("t_", "f_"))]:
            names["outer_" + name] = self._outer(names[name])

    def exported(self, name: str) -> str:
        return "outer_" + name

    def _outer(self, function: Callable[..., Any]) -> Callable[..., Any]:
        recorder = self._recorder

        def call(value: Any, ctx: dict[str, Any]) -> Any:
            recorder.enter(value, ctx)
            result = function(value, ctx)
            if type(result) in (dict, list):
                recorder.output(result)
            return result

        return call


class _Probes:
    """What rewritten functions of one file call."""

    def __init__(self, recorder: Recorder, file: str) -> None:
        self._recorder = recorder
        self._file = file
        self._held: tuple[Read, ...] = ()

    def names(self) -> dict[str, Any]:
        return {"trace_" + name: getattr(self, name) for name in _PROBES}

    def _line(self, line: int) -> str:
        return f"{self._file}:{line}"

    # reading

    def get(self, owner: Any, key: Key, otherwise: Any = None) -> Any:
        if key in owner:
            self._recorder.read(owner, key)
            return owner[key]
        return otherwise

    def item(self, owner: Any, key: Any) -> Any:
        value = operators.item(owner, key)
        if value is not MISSING:
            number = key + len(owner) if type(owner) is list and key < 0 else key
            self._recorder.read(owner, number)
        return value

    def use(self, value: Any, reads: tuple[Read, ...]) -> Any:
        """A local variable is read: so is what it was read from."""
        self._recorder.log.extend(reads)
        return value

    def each(self, items: Any) -> Iterator[tuple[Any, tuple[Read, ...]]]:
        for number, item in enumerate(operators.each(items)):
            yield item, ((items, number),)

    def pairs(self, items: Any) -> Iterator[tuple[Any, tuple[Read, ...]]]:
        for key, item in operators.pairs(items):
            yield (key, item), ((items, key),)

    # what was read since

    def push(self) -> None:
        self._recorder.marks.append(len(self._recorder.log))

    def pop(self) -> tuple[Read, ...]:
        return tuple(self._recorder.log[self._recorder.marks.pop() :])

    def level(self) -> int:
        return len(self._recorder.log)

    def second(self, first: Any, value: Any, third: Any) -> Any:
        return value

    def hold(self, pushed: None, value: Any) -> Any:
        self._held = self.pop()
        return value

    def held(self) -> tuple[Read, ...]:
        return self._held

    def take(self, pushed: None, value: Any) -> Any:
        self._recorder.taken.append(self.pop())
        return value

    # calls

    def argument(self, pushed: None, value: Any) -> Any:
        self._recorder.pending.append(self.pop())
        return value

    def parameters(self, count: int) -> list[tuple[Read, ...]]:
        pending = self._recorder.pending
        if len(pending) < count:  # called from outside
            return [()] * count
        found = pending[len(pending) - count :]
        del pending[len(pending) - count :]
        return found

    def result(self, level: int, pushed: None, value: Any) -> Any:
        """A function returns: of what it read, what its value was made of counts for its caller."""
        recorder = self._recorder
        reads = self.pop()
        recorder.log[level:] = reads
        recorder.returned = reads
        return value

    def apply(self, function: Callable[..., Any], line: int, /, *given: Any, **more: Any) -> Any:
        value = function(*given, **more)
        if type(value) in (dict, list):
            self._recorder.adopt(value, given, self._line(line))
        return value

    # placing

    def fields(self, value: dict[Any, Any], lines: tuple[int, ...]) -> dict[Any, Any]:
        self._noted(value, list(value), lines)
        return value

    def items(self, value: list[Any], lines: tuple[int, ...]) -> list[Any]:
        self._noted(value, range(len(value)), lines)
        return value

    def _noted(self, value: Any, keys: Any, lines: tuple[int, ...]) -> None:
        taken = self._recorder.taken
        reads = taken[len(taken) - len(lines) :] if lines else []
        del taken[len(taken) - len(lines) :]
        for key, line, own in zip(keys, lines, reads, strict=True):
            self._recorder.note(value, key, self._line(line), own)

    def put(self, target: Any, key: Any, pushed: None, value: Any, line: int) -> None:
        reads = self.pop()
        target[key] = value
        self._recorder.note(target, key, self._line(line), reads)

    def append(self, target: Any, pushed: None, value: Any, line: int) -> None:
        reads = self.pop()
        target.append(value)
        self._recorder.note(target, len(target) - 1, self._line(line), reads)

    def extend(self, target: Any, pushed: None, values: Any, line: int) -> None:
        reads = self.pop()
        for number, value in enumerate(list(values)):
            target.append(value)
            if type(values) is list and self._recorder.knows(values, number):
                self._recorder.carry(target, len(target) - 1, values, number, self._line(line))
            else:
                self._recorder.note(target, len(target) - 1, self._line(line), reads)

    def merge(self, target: Any, part: Any, line: int) -> None:
        runtime.merge_into(target, part)
        for key in part if type(part) is dict else ():
            if self._recorder.path(part) is not None:
                self._recorder.carry(target, key, part, key, self._line(line))
            elif self._recorder.knows(part, key):
                self._recorder.carry(target, key, part, key)
            else:
                self._recorder.note(target, key, self._line(line), ())

    def lose(self, ctx: dict[str, Any], reason: str, data: tuple[Any, ...], line: int) -> None:
        runtime.lose(ctx, reason, data)
        self._recorder.losses.append(Loss(self._line(line), reason, data))


_PROBES: Final = (
    *("get", "item", "use", "each", "pairs", "push", "pop", "level", "second", "hold", "held", "take", "argument"),
    *("parameters", "result", "apply", "fields", "items", "put", "append", "extend", "merge", "lose"),
)


def _probe(name: str, *given: ast.expr) -> ast.Call:
    return ast.Call(ast.Name("trace_" + name, ast.Load()), list(given), [])


def _reads_of(variable: str) -> str:
    return variable + "__reads"


def _constants(values: list[int]) -> ast.expr:
    return ast.Tuple([ast.Constant(value) for value in values], ast.Load())


def _assign(variable: str, value: ast.expr) -> ast.Assign:
    return ast.Assign([ast.Name(variable, ast.Store())], value)


class _Rewriter(ast.NodeTransformer):
    """Puts probes around what is read and placed. What it does not know stays as it is, and untold."""

    def __init__(self) -> None:
        self._locals: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        parameters = [one.arg for one in node.args.args if one.arg != "ctx"]
        stored = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
        self._locals = stored | set(parameters)
        body: list[ast.stmt] = []
        for statement in node.body:
            made = self.visit(statement)
            body += made if isinstance(made, list) else [made]
        head: list[ast.stmt] = [_assign("trace_start", _probe("level"))]
        head += [_assign(_reads_of(name), ast.Tuple([], ast.Load())) for name in sorted(stored - set(parameters))]
        if parameters:
            names: list[ast.expr] = [ast.Name(_reads_of(name), ast.Store()) for name in parameters]
            head.append(ast.Assign([ast.List(names, ast.Store())], _probe("parameters", ast.Constant(len(parameters)))))
        node.body = [*(located(statement, node.lineno) for statement in head), *body]
        return node

    # statements

    def visit_Return(self, node: ast.Return) -> ast.AST:
        value = self.visit(node.value) if node.value is not None else ast.Constant(None)
        result = _probe("result", ast.Name("trace_start", ast.Load()), _probe("push"), value)
        return located(ast.Return(result), node.lineno)

    def visit_Assign(self, node: ast.Assign) -> Any:
        target = node.targets[0]
        value = self.visit(node.value)
        if isinstance(target, ast.Subscript):
            key, line = self.visit(target.slice), ast.Constant(node.value.lineno)
            placed = _probe("put", target.value, key, _probe("push"), value, line)
            return located(ast.Expr(placed), node.lineno)
        if isinstance(target, ast.Name):
            held = _assign(target.id, _probe("hold", _probe("push"), value))
            reads = _assign(_reads_of(target.id), _probe("held"))
            return [located(held, node.lineno), located(reads, node.lineno)]
        node.value = value
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        found = node.iter
        names = [one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)]
        self.generic_visit(node)
        if isinstance(found, ast.Call) and isinstance(found.func, ast.Name) and found.func.id in ("each", "pairs"):
            node.iter = located(_probe(found.func.id, *found.args), node.lineno)
            pair = ast.Tuple([node.target, ast.Name("trace_reads", ast.Store())], ast.Store())
            node.target = located(pair, node.lineno)
            reads = [_assign(_reads_of(name), ast.Name("trace_reads", ast.Load())) for name in names]
            node.body = [*(located(one, node.lineno) for one in reads), *node.body]
        return node

    # expressions

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        node.value = self.visit(node.value)
        reads = ast.NamedExpr(ast.Name(_reads_of(node.target.id), ast.Store()), _probe("pop"))
        return located(_probe("second", _probe("push"), node, reads), node.lineno)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if not isinstance(node.ctx, ast.Load) or node.id not in self._locals:
            return node
        return located(_probe("use", node, ast.Name(_reads_of(node.id), ast.Load())), node.lineno)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name):
            return located(_probe("get", node.value, self.visit(node.slice)), node.lineno)
        return self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
        if len(set(keys)) < len(node.values):  # what is told later goes by the keys that are there
            return self.generic_visit(node)
        lines = [value.lineno for value in node.values]
        node.values = [self._taken(value) for value in node.values]
        return located(_probe("fields", node, _constants(lines)), node.lineno)

    def visit_List(self, node: ast.List) -> ast.AST:
        if not isinstance(node.ctx, ast.Load):
            return node
        lines = [value.lineno for value in node.elts]
        node.elts = [self._taken(value) for value in node.elts]
        return located(_probe("items", node, _constants(lines)), node.lineno)

    def _taken(self, value: ast.expr) -> ast.expr:
        return located(_probe("take", _probe("push"), self.visit(value)), value.lineno)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        function = node.func
        made: ast.expr | None = None
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            made = self._method(function.attr, function.value, node)
        elif isinstance(function, ast.Name):
            made = self._function(function.id, node)
        if made is not None:
            return located(made, node.lineno)
        node.args = [self.visit(argument) for argument in node.args]
        return node

    def _method(self, name: str, owner: ast.Name, node: ast.Call) -> ast.expr | None:
        if name == "get":
            return _probe("get", owner, *map(self.visit, node.args))
        if name in ("append", "extend") and len(node.args) == 1:
            line = ast.Constant(node.args[0].lineno)
            return _probe(name, owner, _probe("push"), self.visit(node.args[0]), line)
        return None

    def _function(self, name: str, node: ast.Call) -> ast.expr | None:
        line = ast.Constant(node.lineno)
        if name.startswith("f_"):
            *own, context = node.args
            given = [_probe("argument", _probe("push"), self.visit(one)) for one in own]
            return ast.Call(node.func, [*given, context], [])
        if name == "lose":
            return _probe("lose", node.args[0], self.visit(node.args[1]), node.args[2], line)
        if name == "merge_into":
            return _probe("merge", *node.args, line)
        if name == "item":
            return _probe("item", *map(self.visit, node.args))
        if name.startswith(_HELPERS):
            call = _probe("apply", node.func, line, *map(self.visit, node.args))
            call.keywords = node.keywords
            return call
        return None
