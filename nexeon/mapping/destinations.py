"""Where a template's value goes, and the statements that bring it there."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from nexeon.mapping.expressions import Expr, call, compare, const, name, walrus

_N = TypeVar("_N", bound=ast.AST)
_PLACED = (ast.expr, ast.stmt, ast.arg, ast.keyword)
_PLACELESS = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)


@dataclass(slots=True)
class Return:
    """The function's value."""


@dataclass(slots=True)
class Assign:
    """A local variable (which holds MISSING before)."""

    variable: str


@dataclass(slots=True)
class SetKey:
    """A key of a map that is being built."""

    target: str
    key: ast.expr
    drop_empty: bool


@dataclass(slots=True)
class Append:
    """A list that is being built; a list value is spliced unless `whole`."""

    target: str
    whole: bool = False


Destination = Return | Assign | SetKey | Append
Block = list[ast.stmt]


def store(value: Expr, to: Destination, out: Block, line: int, fresh: Callable[[], str]) -> None:
    """Appends the statements that bring the value to its destination; `fresh` makes names."""
    if isinstance(to, Return):
        out.append(located(ast.Return(value.code), line))
    elif isinstance(to, Assign):
        out.append(assign(to.variable, value.code, line))
    elif isinstance(to, SetKey):
        _store_key(value, to, out, line, fresh)
    else:
        _append(value, to, out, line, fresh)


def _store_key(value: Expr, to: SetKey, out: Block, line: int, fresh: Callable[[], str]) -> None:
    place = ast.Subscript(name(to.target), to.key, ast.Store())
    test: ast.expr
    if to.drop_empty:
        temporary = fresh()
        test = ast.UnaryOp(ast.Not(), call("nothing", walrus(temporary, value.code)))
        out.append(located(ast.If(test, [ast.Assign([place], name(temporary))], []), line))
    elif not value.missing:
        out.append(located(ast.Assign([place], value.code), line))
    elif value.path is not None:
        owner, key = value.path
        test = compare(const(key), ast.In(), name(owner))
        read = ast.Subscript(name(owner), const(key), ast.Load())
        out.append(located(ast.If(test, [ast.Assign([place], read)], []), line))
    else:
        temporary = fresh()
        test = compare(walrus(temporary, value.code), ast.IsNot(), name("MISSING"))
        out.append(located(ast.If(test, [ast.Assign([place], name(temporary))], []), line))


def _append(value: Expr, to: Append, out: Block, line: int, fresh: Callable[[], str]) -> None:
    def method(verb: str, argument: ast.expr) -> ast.stmt:
        return ast.Expr(ast.Call(ast.Attribute(name(to.target), verb, ast.Load()), [argument], []))

    if not value.missing and (value.type in ("str", "bool", "dict", "scalar") or to.whole):
        out.append(located(method("append", value.code), line))
        return
    if not value.missing and value.type == "list":
        out.append(located(method("extend", value.code), line))
        return
    temporary = fresh()
    append: ast.stmt = ast.If(
        compare(name(temporary), ast.IsNot(), name("MISSING")), [method("append", name(temporary))], []
    )
    if to.whole:
        out += [assign(temporary, value.code, line), located(append, line)]
        return
    is_list = compare(call("type", walrus(temporary, value.code)), ast.Is(), name("list"))
    out.append(located(ast.If(is_list, [method("extend", name(temporary))], [append]), line))


def assign(variable: str, value: ast.expr, line: int) -> ast.stmt:
    """`variable = value`, on that line."""
    return located(ast.Assign([ast.Name(variable, ast.Store())], value), line)


def located(node: _N, line: int) -> _N:
    """Sets the YAML line on the node and on everything in it that has none yet."""
    stack: list[ast.AST] = [node]
    while stack:
        one = stack.pop()
        fields = one.__dict__
        if isinstance(one, _PLACED):
            if "lineno" in fields:
                continue  # and so has everything below it
            children = list(fields.values())
            fields["lineno"] = fields["end_lineno"] = line
            fields["col_offset"] = fields["end_col_offset"] = 0
        else:
            children = list(fields.values())
        for child in children:
            if isinstance(child, list):
                stack.extend(item for item in child if isinstance(item, ast.AST))
            elif isinstance(child, ast.AST) and not isinstance(child, _PLACELESS):
                stack.append(child)
    return node
