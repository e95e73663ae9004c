"""What an expression reads, and the shape of what it gives: shapes take the place of values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from jinja2 import nodes

from nexeon.errors import Problem
from nexeon.mapping.expressions import ExpressionError, parse_expression, parse_text
from nexeon.mapping.scope import did_you_mean
from nexeon.mapping.shapes import ANYTHING, Shape, identity, joined, listing, mapping_of
from nexeon.mapping.source import Node, Scalar

Environment = dict[str, Shape]
SAME: Final = frozenset(
    {
        "default",
        "where",
        "reject",
        "compact",
        "unique",
        "sort",
        "reverse",
        "merge_adjacent",
        "merge_until",
        "trim",
        "camel_keys",
    }
)
"""Filters whose result has the shape of their input."""
_TEXT: Final = frozenset(
    {
        "json",
        "string",
        "join",
        "lower",
        "upper",
        "replace",
        "to_data_url",
        "base64",
        "urlencode",
        "gateway_id",
        "provider_id",
        "fit_id",
        "envelope",
    }
)
_TEST_TYPES: Final = {
    "string": ("string",),
    "number": ("number",),
    "boolean": ("boolean",),
    "list": ("array",),
    "map": ("object",),
    "null": ("null",),
}
STRING: Final = Shape(({"type": "string"},))
NUMBER: Final = Shape(({"type": "number"},))
BOOLEAN: Final = Shape(({"type": "boolean"},))


class Reader:
    """Reads expressions over shapes; findings are collected in `problems`."""

    def __init__(self, file: str, ctx: Shape) -> None:
        self.file = file
        self.ctx = ctx
        self._problems: dict[tuple[int, str], Problem] = {}
        self._doubts: dict[tuple[int, str], Problem] = {}
        self._proved: set[tuple[int, str]] = set()
        self.profile: dict[str, int] = {}
        """Facts of `ctx.profile` that are read, with a line."""
        self.reads: set[tuple[int, str]] = set()
        """(identity of an object schema, field) of everything that is read."""

    @property
    def problems(self) -> list[Problem]:
        """What was found, in file order. A doubt that another call of the function dispels is none."""
        doubts = [problem for key, problem in self._doubts.items() if key not in self._proved]
        return sorted([*self._problems.values(), *doubts], key=lambda problem: problem.line)

    def report(self, message: str, line: int) -> None:
        self._problems.setdefault((line, message), Problem(message, self.file, line))

    def _doubt(self, what: str, message: str | None, line: int) -> None:
        """`message` is a problem unless `what` holds elsewhere: a function serves several kinds of arguments."""
        if message is None:
            self._proved.add((line, what))
        else:
            self._doubts.setdefault((line, what), Problem(message, self.file, line))

    def _result(self, name: str, arguments: Sequence[Shape]) -> Shape:
        """What a function of the file gives; ANYTHING where there is no such function."""
        raise NotImplementedError

    def _assumed(self, test: nodes.Node | None, env: Environment, holds: bool, line: int) -> Environment:
        """What a type test (`x.y is string`) tells of a path, where it holds or where it does not."""
        if isinstance(test, nodes.Not):
            return self._assumed(test.node, env, not holds, line)
        if (isinstance(test, nodes.And) and holds) or (isinstance(test, nodes.Or) and not holds):
            return self._assumed(test.right, self._assumed(test.left, env, holds, line), holds, line)
        if (
            isinstance(test, nodes.Test)
            and test.name in _TEST_TYPES
            and isinstance(test.node, nodes.Name | nodes.Getattr)
        ):
            found = self._eval(test.node, env, line)
            return {**env, written(test.node): found.only(_TEST_TYPES[test.name], but=not holds)}
        if isinstance(test, nodes.Compare) and len(test.ops) == 1:
            return self._compared(test, env, holds, line)
        return env

    def _compared(self, test: nodes.Compare, env: Environment, holds: bool, line: int) -> Environment:
        """What `b.type == 'x'` and `b.type in ['x', 'y']` tell of `b`."""
        operand, field = test.ops[0], test.expr
        options = operand.expr.items if isinstance(operand.expr, nodes.List) else [operand.expr]
        values = [option.value for option in options if isinstance(option, nodes.Const)]
        if (
            not isinstance(field, nodes.Getattr)
            or not isinstance(field.node, nodes.Name | nodes.Getattr)
            or operand.op not in ("eq", "ne", "in", "notin")
            or len(values) != len(options)
        ):
            return env
        whole = self._eval(field.node, env, line)
        kept = _having(whole, field.attr, values, holds == (operand.op in ("eq", "in")))
        return {**env, written(field.node): kept}

    # values

    def _eval_node(self, node: Node, env: Environment) -> Shape:
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return self._eval_text(node.value, env, node.line, bare="{{" not in node.value)
        return ANYTHING

    def _eval_text(self, text: str, env: Environment, line: int, *, bare: bool = False) -> Shape:
        try:
            parts = [parse_expression(text)] if bare else parse_text(text)
        except ExpressionError:
            return ANYTHING
        shapes = [self._eval(part, env, line) for part in parts if not isinstance(part, nodes.TemplateData)]
        return shapes[0] if len(parts) == 1 and shapes else STRING

    def _eval(self, node: nodes.Node, env: Environment, line: int) -> Shape:
        if isinstance(node, nodes.Name):
            return env.get(node.name, ANYTHING)
        if isinstance(node, nodes.Getattr):
            assumed = env.get(written(node))
            if assumed is not None:
                return assumed
            return self._field(node.node, node.attr, env, line)
        if isinstance(node, nodes.Getitem):
            if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
                return self._field(node.node, node.arg.value, env, line)
            owner = self._eval(node.node, env, line)
            if isinstance(node.arg, nodes.Slice):
                return owner
            self._eval(node.arg, env, line)
            if isinstance(node.arg, nodes.Const | nodes.Neg):
                return owner.items() or ANYTHING
            return owner.looked_up()
        if isinstance(node, nodes.Const):
            return constant(node.value)
        if isinstance(node, nodes.CondExpr):
            self._eval(node.test, env, line)
            first = self._eval(node.expr1, self._assumed(node.test, env, True, line), line)
            if node.expr2 is None:
                return first
            return first | self._eval(node.expr2, self._assumed(node.test, env, False, line), line)
        if isinstance(node, nodes.Filter):
            return self._filter(node, env, line)
        if isinstance(node, nodes.Call):
            arguments = [self._eval(argument, env, line) for argument in node.args]
            return self._result(node.node.name, arguments) if isinstance(node.node, nodes.Name) else ANYTHING
        for child in node.iter_child_nodes():
            self._eval(child, env, line)
        if isinstance(node, nodes.Compare):
            self._comparison(node, env, line)
        if isinstance(node, nodes.Compare | nodes.And | nodes.Or | nodes.Not | nodes.Test):
            return BOOLEAN
        if isinstance(node, nodes.Concat):
            return STRING
        return ANYTHING

    def _comparison(self, node: nodes.Compare, env: Environment, line: int) -> None:
        """A constant that the compared field can never have."""
        known = self._eval(node.expr, env, line).constants()
        if known is None or len(known) < 2:
            return
        for operand in node.ops:
            compared = operand.expr.items if isinstance(operand.expr, nodes.List) else [operand.expr]
            for constant in compared:
                if isinstance(constant, nodes.Const) and isinstance(constant.value, str):
                    mend = did_you_mean(constant.value, [str(one) for one in known])
                    never = f"`{constant.value}` is never equal{mend}"
                    self._doubt(f"equal {constant.value}", None if constant.value in known else never, line)

    def _field(self, owner: nodes.Node, name: str, env: Environment, line: int) -> Shape:
        if isinstance(owner, nodes.Name) and owner.name == "tables":
            return ANYTHING
        if (
            isinstance(owner, nodes.Getattr)
            and isinstance(owner.node, nodes.Name)
            and owner.node.name == "ctx"
            and owner.attr == "profile"
        ):
            self.profile.setdefault(name, line)
            return ANYTHING
        whole = self._eval(owner, env, line)
        found = whole.field(name)
        what = f"{written(owner)}.{name}"
        self.reads |= {(identity(one), name) for one in whole.alternatives or ()}
        if found is None:
            self._doubt(what, f"`{written(owner)}` has no field `{name}`{did_you_mean(name, whole.fields())}", line)
            return ANYTHING
        self._doubt(what, None, line)
        return found

    def _filter(self, node: nodes.Filter, env: Environment, line: int) -> Shape:
        value = self._eval(node.node, env, line) if node.node is not None else ANYTHING
        arguments = [self._eval(argument, env, line) for argument in node.args]
        constants = [argument.value for argument in node.args if isinstance(argument, nodes.Const)]
        if node.name == "default":
            empty = isinstance(node.args[0], nodes.List | nodes.Dict) and not node.args[0].items
            return value if empty else value | arguments[0]
        if node.name in ("pluck", "index", "where", "reject", "chunk", "merge_adjacent"):
            return self._rows(node.name, value, constants, line)
        if node.name in ("omit", "pick"):
            return value.keeping([str(one) for one in constants], node.name == "pick")
        if node.name == "flatten":
            items = value.items() or ANYTHING
            return listing(joined([items.items() or ANYTHING, items.but_lists()]))
        if node.name == "merge":
            return joined([value, *arguments])
        if node.name in SAME:
            return value
        if node.name in _TEXT:
            return STRING
        if node.name in ("first", "last"):
            return value.items() or ANYTHING
        if node.name == "length":
            return NUMBER
        return ANYTHING

    def _rows(self, name: str, value: Shape, constants: list[Any], line: int) -> Shape:
        """Filters that look into each item of a list."""
        item = value.items()
        if item is None:
            self.report(f"`{name}` of {described(value)}", line)
            return ANYTHING
        shapes = {}
        for field in constants[: 2 if name in ("index", "merge_adjacent") else 1]:
            found = item.field(str(field))
            self.reads |= {(identity(one), str(field)) for one in item.alternatives or ()}
            if found is None:
                self.report(f"`{name}`: no item has a field `{field}`{did_you_mean(str(field), item.fields())}", line)
            shapes[str(field)] = found or ANYTHING
        if name == "pluck":
            return listing(shapes.get(str(constants[0]), ANYTHING)) if constants else ANYTHING
        if name == "index":
            return mapping_of(shapes[str(constants[1])] if len(constants) > 1 else item)
        if name in ("where", "reject") and len(constants) > 1:
            return listing(_having(item, str(constants[0]), constants[1:], name == "where"))
        return listing(value) if name == "chunk" else value


def _having(item: Shape, field: str, values: Sequence[Any], holds: bool) -> Shape:
    """The kinds of items whose field has one of the values, or none of them; all kinds where that leaves none."""
    if holds:
        kept = Shape(())
        for value in values:
            kept |= item.where(field, value)
    else:
        kept = item.without(field, values)
    return kept if kept.alternatives != () else item


@lru_cache(maxsize=4096)
def _typed_constant(value: Any, kind: str) -> Shape:
    return Shape(({"const": value},))


def constant(value: Any) -> Shape:
    """One shape for each constant: shapes are compared by identity."""
    return _typed_constant(value, type(value).__name__)


def described(shape: Shape) -> str:
    known = shape.constants()
    if known is not None:
        return " or ".join(f"`{one}`" for one in known[:6]) + (" …" if len(known) > 6 else "")
    types = shape.types
    return " or ".join(sorted(types)) if types else "nothing"


def written(node: nodes.Node) -> str:
    """An expression as it was written, near enough."""
    if isinstance(node, nodes.Name):
        return str(node.name)
    if isinstance(node, nodes.Getattr):
        return f"{written(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem):
        return f"{written(node.node)}[…]"
    return "…"
