"""What compiled functions take for granted while they are fast: that what stands in a list to be read as a map is one.

A value of another kind makes them fail at once, before anything is made of it, and then the plain function is asked,
which takes it for a map without fields. Whether an item is to be a map shows in what is first done with it.
"""

from __future__ import annotations

import ast

from nexeon.mapping.pytree import (
    RUNS,
    Block,
    at_line,
    blocks_of,
    called,
    clone,
    compared,
    got,
    is_missing,
    is_name,
    looked_at,
    mentions,
    named,
    reads,
    type_is,
    walk_all,
)
from nexeon.mapping.statements import guarded_by
from nexeon.mapping.sure import look_at


def trust(functions: dict[str, ast.FunctionDef]) -> None:
    """Rewrites the functions as the compiler wrote them: whoever goes over maps begins with a look at each."""
    reading = _Reading(functions)
    for function in functions.values():
        for loop in walk_all(function.body):
            if not isinstance(loop, ast.For):
                continue
            _apart(loop)
            targets = [one for one in walk_all([loop.target]) if isinstance(one, ast.Name)]
            looks: Block = [look_at(one.id, loop) for one in targets if reading.as_map(loop.body, one.id)]
            loop.body = [*looks, *loop.body]


def without_needless(block: Block) -> None:
    """Leaves out looks that what comes next does as well, and those at what is only handed on."""
    for position in range(len(block) - 1, -1, -1):
        statement = block[position]
        for inner in blocks_of(statement):
            without_needless(inner)
        name = looked_at(statement)
        if name is not None and (_fails_first(block[position + 1 :], name) or _handed_on(block[position + 1 :], name)):
            del block[position]


def _fails_first(block: Block, name: str) -> bool:
    """Whether the first statement begins with reading a field of it."""
    node: ast.AST | None = block[0] if block else None
    while node is not None:
        found = got(node)
        if found is not None and found[0] == name:
            return True
        if isinstance(node, ast.Subscript) and is_name(node.value, name):
            return isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)
        if isinstance(node, (ast.If, ast.IfExp)):
            node = node.test
        elif isinstance(node, (ast.Assign, ast.NamedExpr)):
            node = node.value
        elif isinstance(node, ast.BoolOp) or (isinstance(node, ast.Dict) and node.values):
            node = node.values[0]
        elif isinstance(node, ast.Compare):
            node = node.left
        else:
            node = called(node, "type").args[0] if called(node, "type") else None  # type: ignore[union-attr]
    return False


def _handed_on(block: Block, name: str) -> bool:
    """Whether it is only an argument of functions of the mapping, which look at it themselves."""
    calls = [one for one in walk_all(block) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)]
    given = sum(is_name(value, name) for one in calls if one.func.id.startswith("f_") for value in one.args)  # type: ignore[attr-defined]
    return given == reads(block, name)


class _Reading:
    """What functions do first with what they are given."""

    def __init__(self, functions: dict[str, ast.FunctionDef]) -> None:
        self._functions = functions
        self._known: dict[str, list[bool]] = {}

    def as_map(self, block: Block, name: str) -> bool:
        """Whether the block first reads a field of it, whatever else there is."""
        return self._first(block, {name}, set()) is True

    def _takes(self, name: str) -> list[bool]:
        """Which arguments a function reads as maps."""
        if name not in self._known:
            function = self._functions[name]
            self._known[name] = [False for _ in function.args.args]  # until it is known: of what calls itself
            self._known[name] = [self.as_map(function.body, one.arg) for one in function.args.args]
        return self._known[name]

    def _first(self, block: Block, names: set[str], maps: set[str]) -> bool | None:
        """True for a field, False for anything that depends, None where nothing is read. `maps` are names of the
        value where it is a map, and of an empty map where it is not."""
        for statement in block:
            if isinstance(statement, ast.Assign) and isinstance(target := statement.targets[0], ast.Name):
                if guarded_by(statement.value) in names:
                    maps = maps | {target.id}
                    continue
                if isinstance(statement.value, ast.Name) and statement.value.id in names:
                    names = names | {target.id}
                    continue
            head = statement.test if isinstance(statement, ast.If) else statement
            head = head.iter if isinstance(head, ast.For) else head
            found = self._read(head, names, maps)
            if found is not None:
                return found
            if head is not statement and any(mentions([statement], one) for one in names | maps):
                return False
        return None

    def _read(self, node: ast.AST, names: set[str], maps: set[str]) -> bool | None:
        read = got(node)
        if read is not None and read[0] in maps:
            return True
        pair = compared(node, ast.In)
        if pair is not None and isinstance(pair[1], ast.Name) and pair[1].id in maps:
            return True
        call = called(node, "type")
        if call is not None and isinstance(call.args[0], ast.Name) and call.args[0].id in names:
            return False
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self._functions:
            for value, is_map in zip(node.args, self._takes(node.func.id), strict=True):
                if isinstance(value, ast.Name) and value.id in names and is_map:
                    return True
        parts = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.IfExp):
            parts = [node.test, node.body, node.orelse]
        sure = 1 if isinstance(node, (ast.IfExp, ast.BoolOp)) else len(parts)
        if isinstance(node, ast.BoolOp):
            parts = list(node.values)
        for number, part in enumerate(parts):
            found = self._read(part, names, maps)
            if found is not None:
                return found if number < sure else False
        return None


def _apart(loop: ast.For) -> None:
    """`for run in chunk(l, 'k', 'v')`, `if run[0].k == 'v'`: only the runs need be lists, where everything else that is
    done is done with the first of them."""
    chunks = [call for one in walk_all([loop.iter]) if (call := called(one, "filter_chunk")) is not None]
    question = loop.body[0]
    if len(chunks) != 1 or len(loop.body) != 1 or not isinstance(question, ast.If) or not is_name(loop.target):
        return
    assert isinstance(loop.target, ast.Name)
    run, chunk = loop.target.id, chunks[0]
    asked = compared(question.test, ast.Eq)
    if asked is None or len(chunk.args) != 3 or not _same(asked[1], chunk.args[2]):
        return
    if not _first_of(asked[0], run, chunk.args[1]):
        return
    others = [_Only(run).visit(clone(one)) for one in question.orelse]
    whole = [one for one in walk_all(others) if is_name(one, run)]
    if len(whole) != sum("only" in one.__dict__ for one in whole):
        return
    chunk.func = named(RUNS, chunk)
    is_list = type_is(ast.Name(run, ast.Load()), "list")
    loop.body = [at_line(ast.If(at_line(is_list, question), question.body, others), question)]


def _same(one: ast.expr, other: ast.expr) -> bool:
    return isinstance(one, ast.Constant) and isinstance(other, ast.Constant) and one.value == other.value


def _first_of(value: ast.expr, run: str, key: ast.expr) -> bool:
    """Whether it is `run[0].key`."""
    if not isinstance(value, ast.IfExp) or not is_missing(value.orelse):
        return False
    found = got(value.body)
    pair = compared(value.test, ast.Is)
    call = called(pair[0], "type") if pair is not None and is_name(pair[1], "dict") else None
    kept = call.args[0] if call is not None else None
    if found is None or not isinstance(kept, ast.NamedExpr) or kept.target.id != found[0]:
        return False
    item = called(kept.value, "item")
    return item is not None and is_name(item.args[0], run) and _zero(item) and _same(ast.Constant(found[1]), key)


def _zero(item: ast.Call) -> bool:
    return isinstance(item.args[1], ast.Constant) and item.args[1].value == 0


class _Only(ast.NodeTransformer):
    """`item(run, 0)` becomes `run`."""

    def __init__(self, run: str) -> None:
        self._run = run

    def visit_Call(self, node: ast.Call) -> ast.AST:
        item = called(node, "item")
        if item is not None and is_name(item.args[0], self._run) and _zero(item):
            only = named(self._run, node)
            only.__dict__["only"] = True
            return only
        return self.generic_visit(node)
