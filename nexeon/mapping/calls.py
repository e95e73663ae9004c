"""Calls of helpers and filters made faster, by what is known of the kinds of what they are given."""

from __future__ import annotations

import ast

from nexeon.mapping.pytree import at_line, called, clone, compared, is_missing, is_name, named, replaced, type_is
from nexeon.mapping.sizes import Sizes


class Calls(Sizes):
    """What the peephole makes of them; None where a call stays as it is."""

    def _fields(self, node: ast.Call) -> ast.expr | None:
        """A map of one field that may be missing."""
        display = node.args[0]
        if not isinstance(display, ast.Dict) or len(display.values) != 1:
            return None
        first, again = self._named(self.visit(display.values[0]))
        there = ast.Compare(first, [ast.IsNot()], [ast.Name("MISSING", ast.Load())])
        return at_line(ast.IfExp(there, ast.Dict(display.keys, [again]), ast.Dict([], [])), node)

    def _omitted(self, node: ast.Call) -> ast.expr | None:
        """`x | omit(…)`: mostly nothing else is there."""
        names = [one.value for one in node.args[1:] if isinstance(one, ast.Constant)]
        value = node.args[0]
        if len(names) != len(node.args) - 1 or not isinstance(value, ast.Name):
            return None
        known = ast.Constant(frozenset(names))  # type: ignore[arg-type]
        inside = ast.Call(ast.Attribute(known, "issuperset", ast.Load()), [clone(value)], [])
        test: ast.expr = inside
        if self.names.kinds(value) != {"dict"}:
            test = ast.BoolOp(ast.And(), [type_is(clone(value), "dict"), inside])
        return at_line(ast.IfExp(test, ast.Dict([], []), ast.Call(named("without", node), node.args, [])), node)

    def _sealed(self, node: ast.Call) -> ast.expr | None:
        """`(x if t else MISSING) | seal(…)`: of nothing there is no seal."""
        value = node.args[0]
        if not isinstance(value, ast.IfExp) or not is_missing(value.orelse):
            return None
        node.args[0] = value.body
        made: ast.expr = self.visit(at_line(ast.IfExp(value.test, node, value.orelse), node))
        return made

    def _item(self, node: ast.Call) -> ast.expr | None:
        index = node.args[1]
        if not isinstance(index, ast.Constant) or index.value != 0 or type(index.value) is not int:
            return None
        first, again = self._named(self.visit(node.args[0]))
        read = ast.Subscript(clone(again), index, ast.Load())
        nothing = ast.Name("MISSING", ast.Load())
        if self.names.kinds(node.args[0]) == {"list"}:
            return at_line(ast.IfExp(first, read, nothing), node)
        test = ast.BoolOp(ast.And(), [type_is(first, "list"), clone(again)])
        return at_line(ast.IfExp(test, read, nothing), node)

    def _lookup(self, node: ast.Call) -> ast.expr:
        first, again = self._named(self.visit(node.args[1]))
        read = ast.Call(ast.Attribute(node.args[0], "get", ast.Load()), [clone(again), named("MISSING", node)], [])
        plain: ast.expr = ast.Call(named("lookup_other", node), [node.args[0], clone(again)], [])
        if "missing" in self.names.kinds(node.args[1]):
            absent = ast.Compare(clone(again), [ast.Is()], [named("MISSING", node)])
            plain = ast.IfExp(absent, named("MISSING", node), plain)
        return at_line(ast.IfExp(type_is(first, "str"), read, plain), node)

    def _equal(self, node: ast.Call) -> ast.expr | None:
        right = node.args[1]
        number = isinstance(right, ast.Constant) and type(right.value) in (int, float)
        if not number or "bool" in self.names.kinds(node.args[0]):
            return None
        return at_line(ast.Compare(self.visit(node.args[0]), [ast.Eq()], [right]), node)

    def _surely_list(self, node: ast.AST) -> ast.AST | None:
        """`x if type(l) is list else y` and `type(l) is list and …` of what is one."""
        if isinstance(node, ast.IfExp) and self._is_list(node.test):
            return replaced(node.body, self._surely_list)
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And) and self._is_list(node.values[0]):
            rest = node.values[1:]
            return rest[0] if len(rest) == 1 else at_line(ast.BoolOp(node.op, rest), node)
        return None

    def _is_list(self, test: ast.expr) -> bool:
        pair = compared(test, ast.Is)
        call = called(pair[0], "type") if pair is not None and is_name(pair[1], "list") else None
        return call is not None and isinstance(call.args[0], ast.Name) and self.names.kinds(call.args[0]) == {"list"}
