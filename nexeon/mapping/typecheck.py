"""Paths checked against schemas: every field a mapping reads must exist at its source, every field it writes at its
target.

Templates and functions are interpreted over shapes instead of values. A function is interpreted once for every
combination of argument shapes and wanted shape, so recursion comes to an end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from jinja2 import nodes

from nexeon.errors import Problem
from nexeon.mapping.expressions import ExpressionError, parse_expression, parse_text
from nexeon.mapping.module import SIGNATURE
from nexeon.mapping.scope import did_you_mean
from nexeon.mapping.shapes import ANYTHING, Shape, type_name
from nexeon.mapping.source import Entry, Map, Node, Scalar, Seq, Source

Environment = dict[str, Shape]
_FOR: Final = re.compile(r"\s*([A-Za-z_]\w*)(?:\s*,\s*([A-Za-z_]\w*))?\s+in\s+(.+)", re.DOTALL)
_SAME: Final = frozenset(
    {
        "default",
        "where",
        "reject",
        "compact",
        "unique",
        "sort",
        "reverse",
        "omit",
        "pick",
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
_STRING: Final = Shape(({"type": "string"},))
_NUMBER: Final = Shape(({"type": "number"},))
_BOOLEAN: Final = Shape(({"type": "boolean"},))


class TypeChecker:
    """Checks one file's templates; findings are collected in `problems`."""

    def __init__(self, source: Source, ctx: Shape) -> None:
        self.file = source.name
        self.ctx = ctx
        self._problems: dict[tuple[int, str], Problem] = {}
        self._doubts: dict[tuple[int, str], Problem] = {}
        self._proved: set[tuple[int, str]] = set()
        self.profile: dict[str, int] = {}
        """Facts of `ctx.profile` that are read, with a line."""
        self.called: set[str] = set()
        self.reads: set[tuple[int, str]] = set()
        """(identity of an object schema, field) of everything that is read."""
        self._functions: dict[str, tuple[list[str], Node]] = {}
        self._seen: set[tuple[Any, ...]] = set()
        define = source.root.get("define") if isinstance(source.root, Map) else None
        for entry in define if isinstance(define, Map) else ():
            found = SIGNATURE.fullmatch(entry.name.strip())
            if found is not None:
                parameters = [part.strip() for part in found.group(2).split(",") if part.strip()]
                self._functions[found.group(1)] = (parameters, entry.node)

    def template(self, node: Node, root: str, source: Shape, target: Shape) -> None:
        """Checks a template whose input has one shape and whose output must fit another."""
        self._node(node, {root: source, "ctx": self.ctx}, target)

    def condition(self, node: Node, root: str, source: Shape) -> None:
        """Checks a bare expression."""
        self._eval_node(node, {root: source, "ctx": self.ctx})

    def function(self, name: str, argument: Shape, target: Shape) -> None:
        """Checks a function of one parameter."""
        if name in self._functions:
            self._call(name, [argument], target)

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

    # templates

    def _node(self, node: Node, env: Environment, target: Shape) -> None:
        if isinstance(node, Scalar):
            self._scalar(node, env, target)
        elif isinstance(node, Seq):
            items = target.items()
            expected = f"a list where {_described(target)} is expected"
            self._doubt("a list", expected if items is None else None, node.line)
            items = items or ANYTHING
            for item in node.items:
                self._item(item, env, items)
        else:
            self._map(node, env, target)

    def _item(self, node: Node, env: Environment, items: Shape) -> None:
        """A list's item, whose own list would be spliced."""
        if isinstance(node, Seq):
            for inner in node.items:
                self._item(inner, env, items)
        else:
            self._node(node, env, items | _listing(items))

    def _scalar(self, node: Scalar, env: Environment, target: Shape) -> None:
        if not isinstance(node.value, str) or "{{" not in node.value:
            known = target.constants()
            mend = did_you_mean(str(node.value), [str(one) for one in known]) if known else ""
            expected = f"`{node.value}` where {_described(target)} is expected{mend}"
            self._doubt(f"the constant {node.value}", None if target.accepts(node.value) else expected, node.line)
            return
        try:
            parts = parse_text(node.value)
        except ExpressionError:
            return  # the compiler has said so
        if len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData):
            self._leaf(parts[0], env, target, node.line)
            return
        for part in parts:
            if not isinstance(part, nodes.TemplateData):
                self._eval(part, env, node.line)
        self._fits(_STRING, target, node.line)

    def _leaf(self, node: nodes.Node, env: Environment, target: Shape, line: int) -> None:
        """An expression towards a target: calls are followed into the function with that target."""
        if isinstance(node, nodes.CondExpr):
            self._eval(node.test, env, line)
            self._leaf(node.expr1, self._assumed(node.test, env, True, line), target, line)
            if node.expr2 is not None:
                self._leaf(node.expr2, self._assumed(node.test, env, False, line), target, line)
        elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in self._functions:
            self._call(node.node.name, [self._eval(argument, env, line) for argument in node.args], target)
        elif isinstance(node, nodes.Filter) and node.name in ("omit", "pick") and node.node is not None:
            whole = self._eval(node, env, line)
            names = {argument.value for argument in node.args if isinstance(argument, nodes.Const)}
            self._carried(whole, lambda field: (field in names) == (node.name == "pick"))
            self._fits(whole, target, line)
        elif isinstance(node, nodes.Filter) and node.name in _SAME and node.node is not None:
            self._leaf(node.node, env, target, line)
            if node.name == "default":
                self._leaf(node.args[0], env, target, line)
        elif isinstance(node, nodes.Const):
            self._scalar(Scalar(node.value, line), env, target)
        else:
            whole = self._eval(node, env, line)
            if isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem):
                self._carried(whole, lambda _: True)
            self._fits(whole, target, line)

    def _carried(self, whole: Shape, wanted: Callable[[str], bool]) -> None:
        """Fields of a map that goes into the output as it is."""
        self.reads |= {
            (id(one), field) for one in whole.alternatives or () for field in one.get("properties", {}) if wanted(field)
        }

    def _fits(self, found: Shape, target: Shape, line: int) -> None:
        """Types that can never meet."""
        given, wanted = found.types, target.types
        fits = given is None or wanted is None or bool(given & wanted)
        expected = f"{_described(found)} where {_described(target)} is expected"
        self._doubt("the type", None if fits else expected, line)

    def _call(self, name: str, arguments: list[Shape], target: Shape) -> None:
        self.called.add(name)
        key = (name, target.key, *(argument.key for argument in arguments))
        if key in self._seen:
            return
        self._seen.add(key)
        parameters, body = self._functions[name]
        env = dict(zip(parameters, [*arguments, *[ANYTHING] * len(parameters)], strict=False))
        self._node(body, {**env, "ctx": self.ctx}, target)

    # maps and control words

    def _map(self, node: Map, env: Environment, target: Shape) -> None:
        for position, entry in enumerate(node.entries):
            if entry.name.startswith("$") and not entry.name.startswith("$$"):
                rest = Map([*node.entries[:position], *node.entries[position + 1 :]], node.line)
                self._control(entry, rest, env, target)
                return
        self._fields(node, env, self._narrowed([node], target))

    def _narrowed(self, maps: Iterable[Map], target: Shape) -> Shape:
        """The target's alternatives that the constant fields leave."""
        for one in maps:
            for entry in one:
                constant = entry.node
                if isinstance(constant, Scalar) and not _is_expression(constant) and not entry.name.startswith("$"):
                    kept = target.where(_key(entry), constant.value)
                    if kept.alternatives != ():  # else the field's own check says so
                        target = kept
        return target

    def _fields(self, node: Map, env: Environment, target: Shape) -> None:
        types = target.types
        wrong = types is not None and "object" not in types
        self._doubt("a map", f"a map where {_described(target)} is expected" if wrong else None, node.line)
        if wrong:
            target = ANYTHING
        for entry in node:
            name = _key(entry)
            if "{{" in name:
                self._eval_text(name, env, entry.key.line)
                self._node(entry.node, env, target.values() or ANYTHING)
                continue
            field = target.field(name)
            unknown = f"the target has no field `{name}`{did_you_mean(name, target.fields())}"
            self._doubt(f"target {name}", unknown if field is None else None, entry.key.line)
            self._node(entry.node, env, field or ANYTHING)

    def _control(self, entry: Entry, rest: Map, env: Environment, target: Shape) -> None:
        word = entry.name
        if word == "$if":
            self._eval_node(entry.node, env)
            self._branches(entry.node, rest, env, target)
        elif word == "$for":
            self._for(entry, rest, env, target)
        elif word == "$match":
            self._match(entry, rest, env, target)
        elif word == "$let" and isinstance(entry.node, Map):
            inner = dict(env)
            for binding in entry.node:
                inner[binding.name] = self._value(binding.node, inner)
            self._node(rest, inner, target)
        elif word == "$first" and isinstance(entry.node, Seq):
            for option in entry.node.items:
                self._node(option, env, target)
        elif word == "$merge" and isinstance(entry.node, Seq):
            literal = [part for part in entry.node.items if isinstance(part, Map)]
            narrowed = self._narrowed(literal, target)
            for part in entry.node.items:
                self._node(part, env, narrowed)
        elif word == "$call" and isinstance(entry.node, Scalar) and str(entry.node.value) in self._functions:
            name = str(entry.node.value)
            given = {argument.name: self._value(argument.node, env) for argument in rest}
            self._call(name, [given.get(parameter, ANYTHING) for parameter in self._functions[name][0]], target)
        elif word in ("$drop", "$fail"):
            self._node(entry.node, env, _STRING)
        elif word == "$item":
            self._node(entry.node, env, target.items() or target)
        else:
            self._node(entry.node, env, target)

    def _branches(self, test: Node, rest: Map, env: Environment, target: Shape) -> None:
        """The body of an `$if`, and its `$else`."""
        condition: nodes.Node | None = None
        if isinstance(test, Scalar) and isinstance(test.value, str):
            try:
                condition = parse_expression(test.value)
            except ExpressionError:
                condition = None
        for entry in rest:
            if entry.key.value == "$else":
                self._node(entry.node, self._assumed(condition, env, False, entry.key.line), target)
        body = Map([entry for entry in rest if entry.key.value != "$else"], rest.line)
        if body.entries:
            self._node(body, self._assumed(condition, env, True, test.line), target)

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
            return {**env, _text(test.node): found.only(_TEST_TYPES[test.name], but=not holds)}
        return env

    def _for(self, entry: Entry, rest: Map, env: Environment, target: Shape) -> None:
        header = _FOR.fullmatch(str(entry.node.value)) if isinstance(entry.node, Scalar) else None
        if header is None:
            return
        first, second, over = header.groups()
        looped = self._eval_text(over, env, entry.node.line, bare=True)
        inner = dict(env)
        if second is None:
            items = looped.items()
            if items is None:
                self.report(f"`$for` over {_described(looped)}", entry.key.line)
            inner[first] = items or ANYTHING
        else:
            inner[first], inner[second] = ANYTHING, looped.values() or ANYTHING
        where = rest.get("$where")
        if where is not None:
            self._eval_node(where, inner)
        # standing as a list item it is spliced: then the target is the item's already
        wanted = target.items() or target
        self._item(Map([one for one in rest if one.key.value != "$where"], rest.line), inner, wanted)

    def _match(self, entry: Entry, rest: Map, env: Environment, target: Shape) -> None:
        subject = self._eval_node(entry.node, env)
        known = subject.constants()
        for label in rest:
            if isinstance(label.key.value, str) and not label.name.startswith("$"):
                for option in label.name.split("|"):
                    mend = did_you_mean(option.strip(), [str(one) for one in known or ()])
                    impossible = f"the label `{option.strip()}` can never match{mend}"
                    self._doubt(
                        option, None if known is None or option.strip() in known else impossible, label.key.line
                    )
            inner = self._matched(entry.node, label, env)
            self._node(label.node, inner, target)

    def _matched(self, subject: Node, label: Entry, env: Environment) -> Environment:
        """`$match: b.type` tells which alternatives `b` has left under a label."""
        found = re.fullmatch(r"\s*([a-z_]\w*)\.(\w+)\s*", str(subject.value)) if isinstance(subject, Scalar) else None
        if (
            found is None
            or found.group(1) not in env
            or not isinstance(label.key.value, str)
            or label.name.startswith("$")
        ):
            return env
        whole = env[found.group(1)]
        kept: Shape | None = None
        for option in label.name.split("|"):
            part = whole.where(found.group(2), option.strip())
            kept = part if kept is None else kept | part
        return {**env, found.group(1): kept} if kept is not None and kept.alternatives != () else env

    # values

    def _value(self, node: Node, env: Environment) -> Shape:
        """What a template gives, where that is one expression."""
        if isinstance(node, Scalar):
            if isinstance(node.value, str) and "{{" in node.value:
                return self._eval_text(node.value, env, node.line)
            return _constant(node.value)
        self._node(node, env, ANYTHING)
        return ANYTHING

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
        return shapes[0] if len(parts) == 1 and shapes else _STRING

    def _eval(self, node: nodes.Node, env: Environment, line: int) -> Shape:
        if isinstance(node, nodes.Name):
            return env.get(node.name, ANYTHING)
        if isinstance(node, nodes.Getattr):
            assumed = env.get(_text(node))
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
            return ANYTHING
        if isinstance(node, nodes.Const):
            return _constant(node.value)
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
            if isinstance(node.node, nodes.Name) and node.node.name in self._functions:
                self._call(node.node.name, arguments, ANYTHING)
            return ANYTHING
        for child in node.iter_child_nodes():
            self._eval(child, env, line)
        if isinstance(node, nodes.Compare):
            self._comparison(node, env, line)
        if isinstance(node, nodes.Compare | nodes.And | nodes.Or | nodes.Not | nodes.Test):
            return _BOOLEAN
        if isinstance(node, nodes.Concat):
            return _STRING
        return ANYTHING

    def _comparison(self, node: nodes.Compare, env: Environment, line: int) -> None:
        """A constant that the compared field can never have."""
        known = self._eval(node.expr, env, line).constants()
        if known is None or len(known) < 2:
            return
        for operand in node.ops:
            compared = operand.expr.items if isinstance(operand.expr, nodes.List) else [operand.expr]
            for constant in compared:
                if (
                    isinstance(constant, nodes.Const)
                    and isinstance(constant.value, str)
                    and constant.value not in known
                ):
                    mend = did_you_mean(constant.value, [str(one) for one in known])
                    self.report(f"`{constant.value}` is never equal{mend}", line)

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
        what = f"{_text(owner)}.{name}"
        self.reads |= {(id(one), name) for one in whole.alternatives or ()}
        if found is None:
            self._doubt(what, f"`{_text(owner)}` has no field `{name}`{did_you_mean(name, whole.fields())}", line)
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
        if node.name in _SAME:
            return value
        if node.name in _TEXT:
            return _STRING
        if node.name in ("first", "last"):
            return value.items() or ANYTHING
        if node.name == "length":
            return _NUMBER
        return ANYTHING

    def _rows(self, name: str, value: Shape, constants: list[Any], line: int) -> Shape:
        """Filters that look into each item of a list."""
        item = value.items()
        if item is None:
            self.report(f"`{name}` of {_described(value)}", line)
            return ANYTHING
        shapes = {}
        for field in constants[: 2 if name in ("index", "merge_adjacent") else 1]:
            found = item.field(str(field))
            self.reads |= {(id(one), str(field)) for one in item.alternatives or ()}
            if found is None:
                self.report(f"`{name}`: no item has a field `{field}`{did_you_mean(str(field), item.fields())}", line)
            shapes[str(field)] = found or ANYTHING
        if name == "pluck":
            return _listing(shapes.get(str(constants[0]), ANYTHING)) if constants else ANYTHING
        if name == "index":
            return ANYTHING
        return _listing(value) if name == "chunk" else value


@lru_cache(maxsize=4096)
def _typed_constant(value: Any, kind: str) -> Shape:
    return Shape(({"const": value},))


def _constant(value: Any) -> Shape:
    """One shape for each constant: shapes are compared by identity."""
    return _typed_constant(value, type(value).__name__)


_LISTINGS: dict[tuple[int, ...], Shape] = {}


def _listing(item: Shape) -> Shape:
    """A list of that."""
    if item.alternatives is None or item.book is None:
        return ANYTHING
    key = (id(item.book), *item.key)
    if key not in _LISTINGS:
        schema = {"type": "array", "items": {"anyOf": list(item.alternatives)}}
        _LISTINGS[key] = item.book.shape(schema)
    return _LISTINGS[key]


def _is_expression(node: Scalar) -> bool:
    return isinstance(node.value, str) and "{{" in node.value


def _key(entry: Entry) -> str:
    name = entry.name[1:] if entry.name.startswith("$$") else entry.name
    return name.removesuffix("?") if entry.name.endswith("?") else name


def _described(shape: Shape) -> str:
    known = shape.constants()
    if known is not None:
        return " or ".join(f"`{one}`" for one in known[:6]) + (" …" if len(known) > 6 else "")
    types = shape.types
    return " or ".join(sorted(types)) if types else "nothing"


def _text(node: nodes.Node) -> str:
    """An expression as it was written, near enough."""
    if isinstance(node, nodes.Name):
        return str(node.name)
    if isinstance(node, nodes.Getattr):
        return f"{_text(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem):
        return f"{_text(node.node)}[…]"
    return "…"


__all__ = ["TypeChecker", "type_name"]
