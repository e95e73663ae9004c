"""Numbers compared, the smaller of two, parts of lists: without a call in the usual case."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Final

from nexeon.mapping.filtering import OTHERWISE
from nexeon.mapping.pytree import Names, at_line, called, clone, named, type_is

ORDERS: Final[dict[str, type[ast.cmpop]]] = {"less": ast.Lt, "at_most": ast.LtE, "more": ast.Gt, "at_least": ast.GtE}


class Sizes(ast.NodeTransformer):
    """What the peephole optimiser does about them. Each step gives the expression that comes instead, or None."""

    def __init__(self, names: Names, fresh: Callable[[], str]) -> None:
        self.names = names
        self.fresh = fresh
        self.before: ast.stmt | None = None
        """The statement before the one that is looked at."""

    def _ordered(self, node: ast.Call) -> ast.expr | None:
        """Numbers by size."""
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        operator = ORDERS[name]
        if all(self.names.kinds(one) == {"num"} for one in node.args):
            left, right = map(self.visit, node.args)
            return at_line(ast.Compare(left, [operator()], [right]), node)
        limit = node.args[1]
        if not isinstance(limit, ast.Constant) or type(limit.value) is not int:
            return None

        def compared_with(value: ast.expr) -> ast.expr:
            if called(value, "len"):
                return ast.Compare(value, [operator()], [clone(limit)])
            if isinstance(value, ast.IfExp) and called(value.body, "len"):
                return ast.IfExp(value.test, compared_with(value.body), compared_with(value.orelse))
            first, again = self._named(value)
            there = "missing" in self.names.kinds(value)  # as what is optional mostly is
            plain = ast.Call(ast.Name(OTHERWISE + name, ast.Load()), [clone(again), clone(limit)], [])
            number = type_is(clone(again) if there else first, "int")
            made = ast.IfExp(number, ast.Compare(again, [operator()], [clone(limit)]), plain)
            if not there:
                return made
            return ast.BoolOp(ast.And(), [ast.Compare(first, [ast.IsNot()], [named("MISSING", node)]), made])

        return at_line(compared_with(self.visit(node.args[0])), node)

    def _cut(self, node: ast.Call) -> ast.expr | None:
        """A part of a list."""
        bounds = [minus(one) or one for one in node.args[1:]]
        if not all(isinstance(one, (ast.Constant, ast.UnaryOp)) for one in bounds):
            return None
        first, again = self._named(self.visit(node.args[0]))
        lower, upper = (None if is_constant(one, None) else clone(one) for one in bounds)
        part = ast.Subscript(again, ast.Slice(lower, upper, None), ast.Load())
        plain = ast.Call(named("cut", node), [clone(again), *bounds], [])
        return at_line(ast.IfExp(type_is(first, "list"), part, plain), node)

    def _least(self, node: ast.Call) -> ast.expr | None:
        """The smaller (or greater) of two."""
        pair = called(node.args[0], "present_items") if len(node.args) == 1 else None
        row = pair.args[0] if pair is not None else None
        if not isinstance(row, ast.List) or len(row.elts) != 2:
            return None
        assert isinstance(node.func, ast.Name)
        call = ast.Call(
            named(node.func.id.replace("filter_", "of_two_"), node), [self.visit(one) for one in row.elts], []
        )
        return at_line(call, node)

    def _named(self, value: ast.expr) -> tuple[ast.expr, ast.expr]:
        """(what gives a value first, what gives it again)."""
        if isinstance(value, (ast.Name, ast.Constant)):
            return value, clone(value)
        own = self.fresh()
        return ast.NamedExpr(ast.Name(own, ast.Store()), value), ast.Name(own, ast.Load())


def is_constant(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def minus(node: ast.expr) -> ast.expr | None:
    """`-1` of `negate(1)`."""
    call = called(node, "negate")
    value = call.args[0] if call is not None else None
    if isinstance(value, ast.Constant) and type(value.value) is int and value.value > 0:
        return at_line(ast.UnaryOp(ast.USub(), value), node)
    return None
