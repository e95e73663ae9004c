"""Jinja's expression grammar, an allow-list of it, to Python expressions.

Jinja's own parser reads the text; each node kind that the language has becomes a Python `ast` node, everything else is
a load error. Nothing of Jinja runs at request time.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import jinja2
from jinja2 import nodes

from nexeon.mapping import functions
from nexeon.mapping.scope import Scope, Unit, did_you_mean

_JINJA: Final = jinja2.Environment(autoescape=False)  # only its parser is used

TESTS: Final = ("missing", "present", "null", "string", "number", "boolean", "list", "map", "empty")
_TEST_TYPES: Final = {
    "string": ("str",),
    "number": ("int", "float"),
    "boolean": ("bool",),
    "list": ("list",),
    "map": ("dict",),
}
_ORDERINGS: Final = {"lt": "less", "lteq": "at_most", "gt": "more", "gteq": "at_least"}
_ARITHMETIC: Final = {
    nodes.Add: "add",
    nodes.Sub: "subtract",
    nodes.Mul: "multiply",
    nodes.Div: "divide",
    nodes.FloorDiv: "floor_divide",
    nodes.Mod: "modulo",
}


@dataclass(slots=True)
class Expr:
    """A Python expression and what is known of its value."""

    code: ast.expr
    missing: bool = True
    """It may be MISSING."""
    type: str = ""
    """`bool`, `str`, `dict`, `list`, `scalar` (none of map and list) or unknown."""
    path: tuple[str, str] | None = None
    """(guard variable, key) where it is one key of a surely-a-map variable."""


class ExpressionError(Exception):
    """The text is no expression of the language."""


def name(identifier: str) -> ast.Name:
    return ast.Name(identifier, ast.Load())


def const(value: object) -> ast.Constant:
    return ast.Constant(value)  # type: ignore[arg-type]


def call(function: str, *args: ast.expr, **kwargs: ast.expr) -> ast.Call:
    return ast.Call(name(function), list(args), [ast.keyword(key, value) for key, value in kwargs.items()])


def walrus(variable: str, value: ast.expr) -> ast.NamedExpr:
    return ast.NamedExpr(ast.Name(variable, ast.Store()), value)


def compare(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> ast.Compare:
    return ast.Compare(left, [operator], [right])


MISSING_NAME: Final = "MISSING"


@lru_cache(maxsize=8192)
def parse_text(text: str) -> list[nodes.Expr]:
    """The parts of mixed text: TemplateData is an expression of its own kind in Jinja's tree."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Python's own word on an escape that is none
            template = _JINJA.parse(text)
    except jinja2.TemplateSyntaxError as error:
        message = error.message or "not an expression"
        if "invalid escape sequence" in message:
            message = "a backslash in a string is written twice (or as a class: `[.]` for a dot)"
        raise ExpressionError(message) from None
    parts: list[nodes.Expr] = []
    for statement in template.body:
        if not isinstance(statement, nodes.Output):
            raise ExpressionError("`{% … %}` is not part of the language; use the control words")
        parts.extend(statement.nodes)
    return parts


@lru_cache(maxsize=8192)
def parse_expression(text: str) -> nodes.Expr:
    """One bare expression, as control words take it."""
    inner = text.strip()
    if inner.startswith("{{") and inner.endswith("}}") and inner.count("{{") == 1:
        inner = inner[2:-2]
    parts = parse_text("{{ (" + inner + ") }}")
    if len(parts) != 1 or isinstance(parts[0], nodes.TemplateData):
        raise ExpressionError(f"`{text}` is not one expression")
    return parts[0]


class Expressions:
    """Compiles expressions within one function; marks the variables that need a map guard."""

    def __init__(self, unit: Unit, scope: Scope) -> None:
        self.unit = unit
        self.scope = scope

    def scalar(self, text: str) -> Expr:
        """A scalar with `{{`: one expression keeps its type, several parts are put together as text."""
        parts = parse_text(text)
        if len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData):
            return self.expr(parts[0])
        codes = [const(part.data) if isinstance(part, nodes.TemplateData) else self.expr(part).code for part in parts]
        return Expr(call("concat", *codes), type="str")

    def condition(self, text: str) -> ast.expr:
        return self.truth(parse_expression(text))

    def bare(self, text: str) -> Expr:
        return self.expr(parse_expression(text))

    def expr(self, node: nodes.Node) -> Expr:
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise ExpressionError(f"`{type(node).__name__.lower()}` is not part of the language")
        return handler(self, node)

    def truth(self, node: nodes.Node) -> ast.expr:
        """For a condition, where Python's own truthiness is right."""
        if isinstance(node, nodes.And | nodes.Or):
            operator = ast.And() if isinstance(node, nodes.And) else ast.Or()
            return ast.BoolOp(operator, [self.truth(node.left), self.truth(node.right)])
        if isinstance(node, nodes.Not):
            return ast.UnaryOp(ast.Not(), self.truth(node.node))
        return self.expr(node).code

    # leaves

    def _name(self, node: nodes.Name) -> Expr:
        variable = self.scope.variables.get(node.name)
        if variable is None:
            if node.name in self.unit.functions:
                raise ExpressionError(f"`{node.name}` is a function: `{node.name}(…)`")
            known = [*self.scope.variables, "tables"]
            raise ExpressionError(f"unknown name `{node.name}`{did_you_mean(node.name, known)}")
        return Expr(name(variable.python), missing=not variable.is_map, type="dict" if variable.is_map else "")

    def _const(self, node: nodes.Const) -> Expr:
        kind = {bool: "bool", str: "str"}.get(type(node.value), "scalar")
        return Expr(const(node.value), missing=False, type=kind)

    def _list(self, node: nodes.List) -> Expr:
        parts = [self.expr(item) for item in node.items]
        code = ast.List([part.code for part in parts], ast.Load())
        if any(part.missing for part in parts):
            return Expr(call("present_items", code), missing=False, type="list")
        return Expr(code, missing=False, type="list")

    def _dict(self, node: nodes.Dict) -> Expr:
        keys: list[ast.expr | None] = [self.expr(pair.key).code for pair in node.items]
        parts = [self.expr(pair.value) for pair in node.items]
        code = ast.Dict(keys, [part.code for part in parts])
        if any(part.missing for part in parts):
            return Expr(call("present_fields", code), missing=False, type="dict")
        return Expr(code, missing=False, type="dict")

    # paths

    def _attribute(self, node: nodes.Getattr) -> Expr:
        return self._key(node.node, node.attr)

    def _item(self, node: nodes.Getitem) -> Expr:
        table = self._table(node.node)
        if isinstance(node.arg, nodes.Slice):
            if node.arg.step is not None:
                raise ExpressionError("a slice has no step")
            bounds = [
                const(None) if bound is None else self.expr(bound).code for bound in (node.arg.start, node.arg.stop)
            ]
            return Expr(call("cut", self.expr(node.node).code, *bounds))
        if table is not None:
            return Expr(call("lookup", name(table), self.expr(node.arg).code))
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return self._key(node.node, node.arg.value)
        return Expr(call("item", self.expr(node.node).code, self.expr(node.arg).code))

    def _table(self, node: nodes.Node) -> str | None:
        """The Python name of `tables.x`."""
        if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name) and node.node.name == "tables":
            if node.attr not in self.unit.tables:
                raise ExpressionError(f"unknown table `{node.attr}`{did_you_mean(node.attr, self.unit.tables)}")
            return "table_" + node.attr
        return None

    def _key(self, owner: nodes.Expr, key: str) -> Expr:
        table = self._table(owner)
        if table is not None:
            return Expr(call("lookup", name(table), const(key)))
        if isinstance(owner, nodes.Name):
            if owner.name == "tables":
                whole = self._table(nodes.Getattr(owner, key, "load"))
                assert whole is not None
                return Expr(name(whole), missing=False, type="dict")
            self._name(owner)
            variable = self.scope.variables[owner.name]
            variable.guarded = True
            code = _get(name(variable.guard), key)
            return Expr(code, path=(variable.guard, key))
        inner = self.expr(owner)
        if inner.path is not None:
            # a miss two levels up is as good as None here: neither is a map
            inner_code: ast.expr = ast.Call(
                ast.Attribute(name(inner.path[0]), "get", ast.Load()), [const(inner.path[1])], []
            )
        else:
            inner_code = inner.code
        temporary = self.scope.fresh()
        test = compare(call("type", walrus(temporary, inner_code)), ast.Is(), name("dict"))
        return Expr(ast.IfExp(test, _get(name(temporary), key), name(MISSING_NAME)))

    # operators

    def _logic(self, node: nodes.And | nodes.Or | nodes.Not) -> Expr:
        return Expr(ast.IfExp(self.truth(node), const(True), const(False)), missing=False, type="bool")

    def _compare(self, node: nodes.Compare) -> Expr:
        left = node.expr
        tests: list[ast.expr] = []
        for operand in node.ops:
            tests.append(self._comparison(operand.op, left, operand.expr))
            left = operand.expr
        code = tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)
        return Expr(code, missing=False, type="bool")

    def _comparison(self, operator: str, left: nodes.Expr, right: nodes.Expr) -> ast.expr:
        a = self.expr(left).code
        if operator in ("eq", "ne"):
            if isinstance(right, nodes.Const) and not isinstance(left, nodes.Const):
                value = right.value
                if value is None or value is True or value is False:
                    return compare(a, ast.Is() if operator == "eq" else ast.IsNot(), const(value))
                if isinstance(value, str):
                    return compare(a, ast.Eq() if operator == "eq" else ast.NotEq(), const(value))
            same = call("equal", a, self.expr(right).code)
            return same if operator == "eq" else ast.UnaryOp(ast.Not(), same)
        if operator in ("in", "notin"):
            found = self._membership(a, right)
            return found if operator == "in" else ast.UnaryOp(ast.Not(), found)
        return call(_ORDERINGS[operator], a, self.expr(right).code)

    def _membership(self, value: ast.expr, container: nodes.Expr) -> ast.expr:
        if isinstance(container, nodes.List) and all(
            isinstance(item, nodes.Const) and isinstance(item.value, str) for item in container.items
        ):
            constants: list[ast.expr] = [self.expr(item).code for item in container.items]
            return compare(value, ast.In(), ast.Tuple(constants, ast.Load()))
        return call("contains", self.expr(container).code, value)

    def _conditional(self, node: nodes.CondExpr) -> Expr:
        yes = self.expr(node.expr1)
        no = self.expr(node.expr2) if node.expr2 is not None else Expr(name(MISSING_NAME))
        kind = yes.type if yes.type == no.type else ""
        return Expr(ast.IfExp(self.truth(node.test), yes.code, no.code), yes.missing or no.missing, kind)

    def _concat(self, node: nodes.Concat) -> Expr:
        return Expr(call("concat", *(self.expr(part).code for part in node.nodes)), type="str")

    def _arithmetic(self, node: nodes.BinExpr) -> Expr:
        left, right = self.expr(node.left), self.expr(node.right)
        return Expr(call(_ARITHMETIC[type(node)], left.code, right.code))

    def _negative(self, node: nodes.Neg) -> Expr:
        return Expr(call("negate", self.expr(node.node).code))

    # calls, filters, tests

    def _call(self, node: nodes.Call) -> Expr:
        if not isinstance(node.node, nodes.Name) or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise ExpressionError("only functions can be called, with plain arguments")
        target = node.node.name
        args = [self.expr(argument).code for argument in node.args]
        if target in self.unit.functions:
            wanted = self.unit.functions[target]
            if len(args) != len(wanted):
                raise ExpressionError(
                    f"`{target}` takes {len(wanted)} argument(s) ({', '.join(wanted)}), not {len(args)}"
                )
            return Expr(call("f_" + target, *args, name("ctx")))
        if target in functions.FUNCTIONS:
            context = {"ctx": name("ctx")} if functions.FUNCTIONS[target][1] else {}
            return Expr(call("builtin_" + target, *args, **context), missing=False)
        known = [*self.unit.functions, *functions.FUNCTIONS]
        raise ExpressionError(f"unknown function `{target}`{did_you_mean(target, known)}")

    def _filter(self, node: nodes.Filter) -> Expr:
        if node.node is None or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise ExpressionError(f"`{node.name}` takes plain arguments only")
        value = self.expr(node.node)
        if node.name == "default":
            return self._default(value, node)
        if node.name not in functions.FILTERS:
            known = [*functions.FILTERS, "default"]
            raise ExpressionError(f"unknown filter `{node.name}`{did_you_mean(node.name, known)}")
        args = [self.expr(argument).code for argument in node.args]
        context = {"ctx": name("ctx")} if node.name in functions.CONTEXT_FILTERS else {}
        filter_name = "filter_" + node.name
        if node.name in functions.PASS_MISSING or (not value.missing and value.type):
            return Expr(call(filter_name, value.code, *args, **context))
        temporary = self.scope.fresh()
        absent = ast.BoolOp(
            ast.Or(),
            [
                compare(walrus(temporary, value.code), ast.Is(), name(MISSING_NAME)),
                compare(name(temporary), ast.Is(), const(None)),
            ],
        )
        return Expr(ast.IfExp(absent, name(MISSING_NAME), call(filter_name, name(temporary), *args, **context)))

    def _default(self, value: Expr, node: nodes.Filter) -> Expr:
        if len(node.args) != 1:
            raise ExpressionError("`default` takes one argument")
        other = self.expr(node.args[0])
        temporary = self.scope.fresh()
        there = ast.BoolOp(
            ast.And(),
            [
                compare(walrus(temporary, value.code), ast.IsNot(), name(MISSING_NAME)),
                compare(name(temporary), ast.IsNot(), const(None)),
            ],
        )
        return Expr(ast.IfExp(there, name(temporary), other.code), missing=other.missing)

    def _test(self, node: nodes.Test) -> Expr:
        if node.name not in TESTS:
            raise ExpressionError(f"unknown test `{node.name}`{did_you_mean(node.name, TESTS)}")
        value = self.expr(node.node).code
        code: ast.expr
        if node.name == "missing":
            code = compare(value, ast.Is(), name(MISSING_NAME))
        elif node.name == "present":
            code = compare(value, ast.IsNot(), name(MISSING_NAME))
        elif node.name == "null":
            code = compare(value, ast.Is(), const(None))
        elif node.name == "empty":
            code = call("is_empty", value)
        else:
            wanted = _TEST_TYPES[node.name]
            kind = call("type", value)
            options: list[ast.expr] = [name(option) for option in wanted]
            code = (
                compare(kind, ast.Is(), options[0])
                if len(options) == 1
                else compare(kind, ast.In(), ast.Tuple(options, ast.Load()))
            )
        return Expr(code, missing=False, type="bool")


def _get(owner: ast.expr, key: str) -> ast.expr:
    return ast.Call(ast.Attribute(owner, "get", ast.Load()), [const(key), name(MISSING_NAME)], [])


_Handler = Callable[[Expressions, Any], Expr]
_HANDLERS: Final[dict[type[nodes.Node], _Handler]] = {
    nodes.Name: Expressions._name,
    nodes.Const: Expressions._const,
    nodes.List: Expressions._list,
    nodes.Dict: Expressions._dict,
    nodes.Getattr: Expressions._attribute,
    nodes.Getitem: Expressions._item,
    nodes.And: Expressions._logic,
    nodes.Or: Expressions._logic,
    nodes.Not: Expressions._logic,
    nodes.Compare: Expressions._compare,
    nodes.CondExpr: Expressions._conditional,
    nodes.Concat: Expressions._concat,
    nodes.Neg: Expressions._negative,
    nodes.Call: Expressions._call,
    nodes.Filter: Expressions._filter,
    nodes.Test: Expressions._test,
    **dict.fromkeys(_ARITHMETIC, Expressions._arithmetic),
}
