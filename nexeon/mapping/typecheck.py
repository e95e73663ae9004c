"""Paths checked against schemas: every field a mapping reads must exist at its source, every field it writes at its
target.

Templates and functions are interpreted over shapes instead of values. A function is interpreted once for every
combination of argument shapes and wanted shape, so recursion comes to an end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeGuard

from jinja2 import nodes

from nexeon.mapping.expressions import ExpressionError, parse_expression, parse_text
from nexeon.mapping.module import SIGNATURE
from nexeon.mapping.reading import SAME, STRING, Environment, Reader, constant, described
from nexeon.mapping.scope import did_you_mean
from nexeon.mapping.shapes import ANYTHING, Shape, identity, joined, listing, record
from nexeon.mapping.source import Entry, Map, Node, Scalar, Seq, Source

_FOR: Final = re.compile(r"\s*([A-Za-z_]\w*)(?:\s*,\s*([A-Za-z_]\w*))?\s+in\s+(.+)", re.DOTALL)


class TypeChecker(Reader):
    """Checks one file's templates; findings are collected in `problems`."""

    def __init__(self, source: Source, ctx: Shape) -> None:
        super().__init__(source.name, ctx)
        self.called: set[str] = set()
        self.carried: set[tuple[int, str]] = set()
        """(identity of an object schema, field) of everything that goes into the output inside a larger whole."""
        self._held = False  # inside a `$let`: what it gives is not output yet
        self._results: dict[tuple[Any, ...], Shape] = {}
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

    # templates

    def _node(self, node: Node, env: Environment, target: Shape) -> None:
        if isinstance(node, Scalar):
            self._scalar(node, env, target)
        elif isinstance(node, Seq):
            items = target.items()
            expected = f"a list where {described(target)} is expected"
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
            self._node(node, env, items | listing(items))

    def _scalar(self, node: Scalar, env: Environment, target: Shape) -> None:
        if not isinstance(node.value, str) or "{{" not in node.value:
            known = target.constants()
            mend = did_you_mean(str(node.value), [str(one) for one in known]) if known else ""
            expected = f"`{node.value}` where {described(target)} is expected{mend}"
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
        self._fits(STRING, target, node.line)

    def _leaf(self, node: nodes.Node, env: Environment, target: Shape, line: int) -> None:
        """An expression towards a target: calls are followed into the function with that target."""
        if isinstance(node, nodes.CondExpr):
            self._eval(node.test, env, line)
            self._leaf(node.expr1, self._assumed(node.test, env, True, line), target, line)
            if node.expr2 is not None:
                self._leaf(node.expr2, self._assumed(node.test, env, False, line), target, line)
        elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in self._functions:
            self._call(node.node.name, [self._eval(argument, env, line) for argument in node.args], target)
        elif isinstance(node, nodes.Filter) and node.name in SAME and node.node is not None:
            self._leaf(node.node, env, target, line)
            if node.name == "default":
                self._leaf(node.args[0], env, target, line)
        elif isinstance(node, nodes.Const):
            self._scalar(Scalar(node.value, line), env, target)
        else:
            whole = self._eval(node, env, line)
            if isinstance(node, nodes.Filter) and node.name == "json":
                self._carry(node.node, env, line)
            elif not self._held and (
                isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem)
                or (isinstance(node, nodes.Filter) and node.name in ("omit", "pick"))
            ):
                self._carry(node, env, line)
            self._fits(whole, target, line)

    def _carry(self, node: nodes.Node | None, env: Environment, line: int) -> None:
        """Every field of what goes into the output as it is."""
        shapes = [self._eval(node, env, line)] if node is not None else []
        seen: set[int] = set()
        while shapes:
            shape = shapes.pop()
            for one in shape.alternatives or ():
                properties = one.get("properties", {})
                self.carried |= {(identity(one), field) for field in properties}
                if id(one) not in seen and shape.book is not None:
                    seen.add(id(one))
                    inside = [
                        *properties.values(),
                        *(one[word] for word in ("items", "additionalProperties") if word in one),
                    ]
                    shapes += [shape.book.shape(inner) for inner in inside if isinstance(inner, dict)]

    def _fits(self, found: Shape, target: Shape, line: int) -> None:
        """Types that can never meet."""
        given, wanted = found.types, target.types
        fits = given is None or wanted is None or bool(given & wanted)
        expected = f"{described(found)} where {described(target)} is expected"
        self._doubt("the type", None if fits else expected, line)

    def _call(self, name: str, arguments: list[Shape], target: Shape) -> None:
        self.called.add(name)
        key = (name, self._held, target.key, *(argument.key for argument in arguments))
        if key in self._seen:
            return
        self._seen.add(key)
        self._node(self._functions[name][1], self._parameters(name, arguments), target)

    def _parameters(self, name: str, arguments: Sequence[Shape]) -> Environment:
        parameters = self._functions[name][0]
        env = dict(zip(parameters, [*arguments, *[ANYTHING] * len(parameters)], strict=False))
        return {**env, "ctx": self.ctx}

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
        self._doubt("a map", f"a map where {described(target)} is expected" if wrong else None, node.line)
        if wrong:
            target = ANYTHING
        for entry in node:
            name = _key(entry)
            if "{{" in name:
                self._eval_text(name, env, entry.key.line)
                self._node(entry.node, env, target.values() or ANYTHING)
                continue
            field = target.field(name)
            unknown = None
            if field is None:  # looking for what was meant takes longer than all the rest
                unknown = f"the target has no field `{name}`{did_you_mean(name, target.fields())}"
            self._doubt(f"target {name}", unknown, entry.key.line)
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
            self._node(entry.node, env, STRING)
        elif word == "$item":
            self._node(entry.node, env, target.items() or target)
        else:
            self._node(entry.node, env, target)

    def _branches(self, test: Node, rest: Map, env: Environment, target: Shape) -> None:
        """The body of an `$if`, and its `$else`."""
        condition = _condition(test)
        for entry in rest:
            if entry.key.value == "$else":
                self._node(entry.node, self._assumed(condition, env, False, entry.key.line), target)
        body = Map([entry for entry in rest if entry.key.value != "$else"], rest.line)
        if body.entries:
            self._node(body, self._assumed(condition, env, True, test.line), target)

    def _for(self, entry: Entry, rest: Map, env: Environment, target: Shape) -> None:
        header = _FOR.fullmatch(str(entry.node.value)) if isinstance(entry.node, Scalar) else None
        if header is None:
            return
        inner, body = self._loop(header, entry, rest, env)
        # standing as a list item it is spliced: then the target is the item's already
        self._item(body, inner, target.items() or target)

    def _loop(self, header: re.Match[str], entry: Entry, rest: Map, env: Environment) -> tuple[Environment, Map]:
        """What the loop's names stand for, and its body."""
        first, second, over = header.groups()
        looped = self._eval_text(over, env, entry.node.line, bare=True)
        inner = dict(env)
        if second is None:
            items = looped.items()
            if items is None:
                self.report(f"`$for` over {described(looped)}", entry.key.line)
            inner[first] = items or ANYTHING
        else:
            inner[first], inner[second] = ANYTHING, looped.values() or ANYTHING
            self.reads |= {
                (identity(one), name) for one in looped.alternatives or () for name in one.get("properties", {})
            }
        where = rest.get("$where")
        if where is not None:
            self._eval_node(where, inner)
            inner = self._assumed(_condition(where), inner, True, where.line)
        return inner, Map([one for one in rest if one.key.value != "$where"], rest.line)

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
            self._node(label.node, self._matched(entry.node, label, rest, env), target)

    def _matched(self, subject: Node, label: Entry, labels: Map, env: Environment) -> Environment:
        """`$match: b.type` tells which alternatives `b` has left under a label."""
        found = re.fullmatch(r"\s*([a-z_]\w*)\.(\w+)\s*", str(subject.value)) if isinstance(subject, Scalar) else None
        if found is None or found.group(1) not in env:
            return env
        whole = env[found.group(1)]
        if label.name == "$else":
            listed = [one.name for one in labels if isinstance(one.key.value, str) and not one.name.startswith("$")]
            kept = whole.without(found.group(2), [option.strip() for one in listed for option in one.split("|")])
        elif not isinstance(label.key.value, str) or label.name.startswith("$"):
            return env
        else:
            kept = Shape(())
            for option in label.name.split("|"):
                kept |= whole.where(found.group(2), option.strip())
        return {**env, found.group(1): kept} if kept.alternatives != () else env

    # values

    def _value(self, node: Node, env: Environment) -> Shape:
        """What a template gives that is no output yet."""
        if not isinstance(node, Scalar):
            outer, self._held = self._held, True
            self._node(node, env, ANYTHING)
            self._held = outer
        return self._given(node, env)

    def _result(self, name: str, arguments: Sequence[Shape]) -> Shape:
        if name not in self._functions:
            return ANYTHING
        key = (name, *(argument.key for argument in arguments))
        if key not in self._results:
            self._results[key] = ANYTHING  # of a function that calls itself, the other branches tell
            outer, self._held = self._held, True
            self._call(name, list(arguments), ANYTHING)
            self._held = outer
            self._results[key] = self._given(self._functions[name][1], self._parameters(name, arguments))
        return self._results[key]

    def _given(self, node: Node, env: Environment) -> Shape:
        """The shape of what a template gives."""
        if isinstance(node, Scalar):
            return self._eval_text(str(node.value), env, node.line) if _is_expression(node) else constant(node.value)
        if isinstance(node, Seq):
            given = [self._given(item, env) for item in node.items]
            # a list as an item is spliced
            return listing(joined([part for one in given for part in (one.but_lists(), one.items()) if _some(part)]))
        for position, entry in enumerate(node.entries):
            if entry.name.startswith("$") and not entry.name.startswith("$$"):
                rest = Map([*node.entries[:position], *node.entries[position + 1 :]], node.line)
                return self._chosen(entry, rest, env)
        return record({_key(entry): self._given(entry.node, env) for entry in node if "{{" not in entry.name})

    def _chosen(self, entry: Entry, rest: Map, env: Environment) -> Shape:
        """What a control word gives."""
        word = entry.name
        if word == "$if":
            condition = _condition(entry.node)
            body = Map([one for one in rest if one.key.value != "$else"], rest.line)
            options = [self._given(body, self._assumed(condition, env, True, entry.key.line))] if body.entries else []
            otherwise = rest.get("$else")
            if otherwise is not None:
                options.append(self._given(otherwise, self._assumed(condition, env, False, entry.key.line)))
            return joined(options)
        if word == "$for":
            header = _FOR.fullmatch(str(entry.node.value)) if isinstance(entry.node, Scalar) else None
            if header is None:
                return ANYTHING
            inner, body = self._loop(header, entry, rest, env)
            return self._given(Seq([body], body.line), inner)
        if word == "$match":
            return joined([self._given(one.node, self._matched(entry.node, one, rest, env)) for one in rest])
        if word == "$let" and isinstance(entry.node, Map):
            inner = dict(env)
            for binding in entry.node:
                inner[binding.name] = self._given(binding.node, inner)
            return self._given(rest, inner)
        if word in ("$first", "$merge") and isinstance(entry.node, Seq):
            return joined([self._given(option, env) for option in entry.node.items])
        if word == "$call" and isinstance(entry.node, Scalar) and str(entry.node.value) in self._functions:
            name = str(entry.node.value)
            given = {argument.name: self._given(argument.node, env) for argument in rest}
            return self._result(name, [given.get(one, ANYTHING) for one in self._functions[name][0]])
        if word in ("$drop", "$fail"):
            return Shape(())
        return self._given(entry.node, env) if word in ("$then", "$else") else ANYTHING


def _some(shape: Shape | None) -> TypeGuard[Shape]:
    return shape is not None and shape.alternatives != ()


def _condition(node: Node) -> nodes.Node | None:
    """An expression that stands bare; None where it is none, which the compiler has said."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return None
    try:
        return parse_expression(node.value)
    except ExpressionError:
        return None


def _is_expression(node: Scalar) -> bool:
    return isinstance(node.value, str) and "{{" in node.value


def _key(entry: Entry) -> str:
    name = entry.name[1:] if entry.name.startswith("$$") else entry.name
    return name.removesuffix("?") if entry.name.endswith("?") else name
