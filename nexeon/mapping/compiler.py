"""Templates to Python functions.

A template node is compiled *towards a destination* (return it, assign it, set a key, append it), so that the code that
comes out is what one would write by hand: `if 'k' in m: d['x'] = m['k']`, loops appending straight into the outer list.
YAML line numbers stand on every Python node, so that a traceback points into the YAML.
"""

from __future__ import annotations

import ast
import re
from typing import Final

from nexeon.mapping.destinations import Append, Assign, Block, Destination, Return, SetKey, assign, located, store
from nexeon.mapping.expressions import Expr, ExpressionError, Expressions, call, compare, const, name
from nexeon.mapping.scope import CONTROLS, Scope, Unit, Variable, did_you_mean
from nexeon.mapping.source import Entry, Map, Node, Scalar, Seq

_FOR: Final = re.compile(r"\s*([A-Za-z_]\w*)(?:\s*,\s*([A-Za-z_]\w*))?\s+in\s+(.+)", re.DOTALL)
_TERMINAL: Final = ("$first", "$merge", "$call", "$drop", "$fail", "$then", "$item")


class TemplateCompiler:
    """Compiles the body of one function."""

    def __init__(self, unit: Unit, scope: Scope) -> None:
        self.unit = unit
        self.scope = scope
        self.line = 0

    # entry

    def function(self, identifier: str, parameters: list[str], node: Node) -> ast.FunctionDef:
        """`def identifier(parameters…, ctx)`: the parameters are unguarded template names."""
        variables: list[Variable] = []
        for parameter in parameters:
            self.scope, variable = self.scope.bind(parameter)
            variables.append(variable)
        self.scope, context = self.scope.bind("ctx", is_map=True)
        context.python = "ctx"
        body: Block = []
        self.emit(node, Return(), body)
        head: Block = []
        for variable in variables:
            self._guard(variable, head, node.line)
        body = [*head, *body, located(ast.Return(name("MISSING")), node.line)]
        names = [variable.python for variable in variables] + ["ctx"]
        arguments = ast.arguments([], [ast.arg(argument) for argument in names], None, [], [], None, [])
        definition = ast.FunctionDef(identifier, arguments, body, [], None, None)
        if "type_params" in ast.FunctionDef._fields:  # Python 3.12 and later
            definition.type_params = []  # type: ignore[attr-defined,unused-ignore]
        return located(definition, node.line)

    # nodes

    def emit(self, node: Node, to: Destination, out: Block) -> None:
        """Statements that bring the node's value to the destination, or nothing there where it is missing."""
        self.line = node.line
        if isinstance(node, Map):
            self._map(node, to, out)
            return
        inline = self._inline(node)
        if inline is not None:
            self._store(inline, to, out, node.line)
        elif isinstance(node, Seq):
            self._list(node, to, out)

    def _inline(self, node: Node) -> Expr | None:
        """The node as one expression, where that needs no statement."""
        if isinstance(node, Scalar):
            return self._scalar(node)
        if isinstance(node, Seq):
            items = [self._inline(item) for item in node.items]
            if any(
                item is None or item.missing or item.type not in ("str", "bool", "dict", "scalar") for item in items
            ):
                return None
            return Expr(
                located(ast.List([item.code for item in items if item], ast.Load()), node.line),
                missing=False,
                type="list",
            )
        if any(self._is_control(entry) or entry.name.endswith("?") or "{{" in entry.name for entry in node):
            return None
        values = [self._inline(entry.node) for entry in node]
        if any(value is None or value.missing for value in values):
            return None
        keys: list[ast.expr | None] = [const(_key(entry)) for entry in node]
        return Expr(
            located(ast.Dict(keys, [value.code for value in values if value]), node.line), missing=False, type="dict"
        )

    def _scalar(self, node: Scalar) -> Expr:
        if isinstance(node.value, str) and "{{" in node.value:
            return self._expression(node.value, node.line)
        if isinstance(node.value, str) and "{%" in node.value:
            self.unit.problem("`{% … %}` is not part of the language; use the control words", node.line)
        kind = "str" if isinstance(node.value, str) else "bool" if isinstance(node.value, bool) else "scalar"
        return Expr(located(const(node.value), node.line), missing=False, type=kind)

    def _expression(self, text: str, line: int, *, bare: bool = False) -> Expr:
        compiler = Expressions(self.unit, self.scope)
        try:
            found = compiler.bare(text) if bare else compiler.scalar(text)
        except ExpressionError as error:
            self.unit.problem(f"{error} (in `{_short(text)}`)", line)
            return Expr(const(None), missing=False)
        return Expr(located(found.code, line), found.missing, found.type, found.path)

    def _condition(self, node: Node, word: str) -> ast.expr:
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return located(const(node.value), node.line)
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self.unit.problem(f"`{word}` takes an expression", node.line)
            return const(False)
        try:
            return located(Expressions(self.unit, self.scope).condition(node.value), node.line)
        except ExpressionError as error:
            self.unit.problem(f"{error} (in `{_short(node.value)}`)", node.line)
            return const(False)

    def _list(self, node: Seq, to: Destination, out: Block) -> None:
        target = self.scope.fresh("list")
        out.append(assign(target, ast.List([], ast.Load()), node.line))
        for item in node.items:
            self.emit(item, Append(target), out)
        self._store(Expr(name(target), missing=False, type="list"), to, out, node.line)

    # maps

    def _is_control(self, entry: Entry) -> bool:
        key = entry.key.value
        return isinstance(key, str) and key.startswith("$") and not key.startswith("$$")

    def _map(self, node: Map, to: Destination, out: Block) -> None:
        inline = self._inline(node)
        if inline is not None:
            self._store(inline, to, out, node.line)
            return
        for position, entry in enumerate(node.entries):
            if self._is_control(entry):
                rest = Map([*node.entries[:position], *node.entries[position + 1 :]], node.line)
                self._control(entry, rest, to, out)
                return
        self._plain_map(node, to, out)

    def _plain_map(self, node: Map, to: Destination, out: Block) -> None:
        target = self.scope.fresh("map")
        literal: list[tuple[ast.expr | None, ast.expr]] = []
        rest = list(node.entries)
        while rest:  # what is surely there, up to the first that may be missing, stands in the literal
            entry = rest[0]
            value = None if entry.name.endswith("?") or "{{" in entry.name else self._inline(entry.node)
            if value is None or value.missing:
                break
            literal.append((const(_key(entry)), value.code))
            rest.pop(0)
        out.append(assign(target, ast.Dict([key for key, _ in literal], [value for _, value in literal]), node.line))
        for entry in rest:
            drop_empty = entry.name.endswith("?")
            label = _key(entry)
            if "{{" in entry.name:
                key: ast.expr = call("text", self._expression(entry.name, entry.key.line).code)
            else:
                key = const(label.removesuffix("?") if isinstance(label, str) and drop_empty else label)
            self.emit(entry.node, SetKey(target, key, drop_empty), out)
        self._store(Expr(name(target), missing=False, type="dict"), to, out, node.line)

    # control words

    def _control(self, entry: Entry, rest: Map, to: Destination, out: Block) -> None:
        word = entry.name
        handler = {
            "$if": self._if,
            "$for": self._for,
            "$match": self._match,
            "$let": self._let,
            "$first": self._first,
            "$merge": self._merge,
            "$call": self._call,
            "$drop": self._drop,
            "$fail": self._fail,
            "$then": self._then,
            "$item": self._item,
        }.get(word)
        if handler is None:
            stray = {
                "$else": "`$else` needs an `$if` or a `$match` before it",
                "$where": "`$where` needs a `$for` before it",
                "$missing": "`$missing` is a label of `$match`",
            }
            self.unit.problem(
                stray.get(word) or f"unknown control word `{word}`{did_you_mean(word, CONTROLS)}", entry.key.line
            )
            return
        self.line = entry.key.line
        if word in _TERMINAL and word != "$call" and rest.entries:
            others = ", ".join(f"`{other.name}`" for other in rest)
            self.unit.problem(f"`{word}` stands alone, not beside {others}", entry.key.line)
            return
        handler(entry, rest, to, out)

    def _body(self, rest: Map, to: Destination, out: Block) -> None:
        """The rest of a control word's map."""
        self.emit(rest, to, out)

    def _take(self, rest: Map, word: str) -> tuple[Node | None, Map]:
        """A companion such as `$else`, and the map without it."""
        for position, entry in enumerate(rest.entries):
            if entry.key.value == word:
                return entry.node, Map([*rest.entries[:position], *rest.entries[position + 1 :]], rest.line)
        return None, rest

    def _if(self, entry: Entry, rest: Map, to: Destination, out: Block) -> None:
        otherwise, rest = self._take(rest, "$else")
        test = self._condition(entry.node, "$if")
        body: Block = []
        orelse: Block = []
        self._body(rest, to, body)
        if otherwise is not None:
            self.emit(otherwise, to, orelse)
        out.append(located(ast.If(test, body or [ast.Pass()], orelse), entry.key.line))

    def _for(self, entry: Entry, rest: Map, to: Destination, out: Block) -> None:
        text = entry.node.value if isinstance(entry.node, Scalar) else None
        header = _FOR.fullmatch(text) if isinstance(text, str) else None
        if header is None:
            self.unit.problem("`$for` takes `name in list` or `key, value in map`", entry.key.line)
            return
        first, second, over = header.groups()
        iterable = self._expression(over, entry.node.line, bare=True)
        where, rest = self._take(rest, "$where")
        outer = self.scope
        self.scope, one = self.scope.bind(first)
        bound = [one]
        target: ast.expr = ast.Name(one.python, ast.Store())
        if second is not None:
            self.scope, two = self.scope.bind(second)
            bound.append(two)
            target = ast.Tuple([target, ast.Name(two.python, ast.Store())], ast.Store())
        straight = isinstance(to, Append) and not to.whole
        into = to.target if isinstance(to, Append) and straight else self.scope.fresh("list")
        if not straight:
            out.append(assign(into, ast.List([], ast.Load()), entry.key.line))
        inner: Block = []
        test = self._condition(where, "$where") if where is not None else None
        self._body(rest, Append(into), inner)
        loop: Block = []
        for variable in bound:
            self._guard(variable, loop, entry.key.line)
        if test is not None:
            inner = [located(ast.If(test, inner or [ast.Pass()], []), where.line if where else entry.key.line)]
        loop += inner
        items = call("pairs" if second is not None else "each", iterable.code)
        out.append(located(ast.For(target, items, loop or [ast.Pass()], [], None), entry.key.line))
        self.scope = outer
        if not straight:
            self._store(Expr(name(into), missing=False, type="list"), to, out, entry.key.line)

    def _match(self, entry: Entry, rest: Map, to: Destination, out: Block) -> None:
        otherwise, rest = self._take(rest, "$else")
        absent, rest = self._take(rest, "$missing")
        text = entry.node.value if isinstance(entry.node, Scalar) else None
        if not isinstance(text, str):
            self.unit.problem("`$match` takes an expression", entry.key.line)
            return
        subject = self.scope.fresh("match")
        out.append(assign(subject, self._expression(text, entry.node.line, bare=True).code, entry.key.line))
        branches: list[tuple[ast.expr, Node, int]] = []
        labels: list[str] = []
        kinds: set[type] = set()
        if absent is not None:
            branches.append((compare(name(subject), ast.Is(), name("MISSING")), absent, absent.line))
        for label in rest:
            if self._is_control(label):
                self.unit.problem(f"`{label.name}` cannot stand beside the labels of `$match`", label.key.line)
                continue
            value = label.key.value
            test: ast.expr
            if value is None or isinstance(value, bool):
                test = compare(name(subject), ast.Is(), const(value))
            elif isinstance(value, str):
                options = [option.strip() for option in value.split("|")]
                labels += options
                one: ast.expr = const(options[0])
                several = ast.Tuple([const(option) for option in options], ast.Load())
                test = (
                    compare(name(subject), ast.Eq(), one)
                    if len(options) == 1
                    else compare(name(subject), ast.In(), several)
                )
            else:
                test = call("equal", name(subject), const(value))
            if value is not None:
                kinds.add(float if isinstance(value, int | float) and not isinstance(value, bool) else type(value))
                if len(kinds) > 1:
                    self.unit.problem(
                        f"the label `{value}` is of another type than the others: it can never match", label.key.line
                    )
            branches.append((test, label.node, label.key.line))
        chain: Block = []
        if otherwise is not None:
            self.emit(otherwise, to, chain)
        else:
            known = ", ".join(labels)
            failure = call(
                "unlisted",
                name(subject),
                const(_short(text.strip().removeprefix("{{").removesuffix("}}").strip())),
                const(known),
            )
            chain = [located(ast.Raise(failure, None), entry.key.line)]
        for test, node, line in reversed(branches):
            body: Block = []
            self.emit(node, to, body)
            chain = [located(ast.If(test, body or [ast.Pass()], chain), line)]
        out.extend(chain)

    def _let(self, entry: Entry, rest: Map, to: Destination, out: Block) -> None:
        if not isinstance(entry.node, Map):
            self.unit.problem("`$let` takes a map of names", entry.key.line)
            return
        outer = self.scope
        for binding in entry.node:
            if not re.fullmatch(r"[A-Za-z_]\w*", binding.name):
                self.unit.problem(f"`{binding.name}` is not a name", binding.key.line)
                continue
            inner, variable = self.scope.bind(binding.name)
            inline = self._inline(binding.node)
            if inline is not None:
                out.append(assign(variable.python, inline.code, binding.key.line))
            else:
                out.append(assign(variable.python, name("MISSING"), binding.key.line))
                self.emit(binding.node, Assign(variable.python), out)
            self.scope = inner
            # whether anything looks into it is known only after the body: the guard costs one test
            self._guard(variable, out, binding.key.line, always=True)
        self._body(rest, to, out)
        self.scope = outer

    def _first(self, entry: Entry, rest: Map, to: Destination, out: Block) -> None:
        if not isinstance(entry.node, Seq):
            self.unit.problem("`$first` takes a list", entry.key.line)
            return
        found = self.scope.fresh("first")
        out.append(assign(found, name("MISSING"), entry.key.line))
        block = out
        for option in entry.node.items:
            self.emit(option, Assign(found), block)
            following: Block = []
            still = compare(name(found), ast.Is(), name("MISSING"))
            block.append(located(ast.If(still, following, []), option.line))
            block = following
        block.append(located(ast.Pass(), entry.key.line))
        self._store(Expr(name(found)), to, out, entry.key.line)

    def _merge(self, entry: Entry, rest: Map, to: Destination, out: Block) -> None:
        if not isinstance(entry.node, Seq):
            self.unit.problem("`$merge` takes a list", entry.key.line)
            return
        target = self.scope.fresh("map")
        out.append(assign(target, ast.Dict([], []), entry.key.line))
        for part in entry.node.items:
            value = self.scope.fresh("part")
            out.append(assign(value, name("MISSING"), part.line))
            self.emit(part, Assign(value), out)
            out.append(located(ast.Expr(call("merge_into", name(target), name(value))), part.line))
        self._store(Expr(name(target), missing=False, type="dict"), to, out, entry.key.line)

    def _call(self, entry: Entry, rest: Map, to: Destination, out: Block) -> None:
        target = entry.node.value if isinstance(entry.node, Scalar) else None
        if not isinstance(target, str) or target not in self.unit.functions:
            self.unit.problem(
                f"unknown function `{target}`{did_you_mean(str(target), self.unit.functions)}", entry.key.line
            )
            return
        wanted = self.unit.functions[target]
        given = {argument.name: argument.node for argument in rest}
        for extra in given:
            if extra not in wanted:
                self.unit.problem(f"`{target}` has no parameter `{extra}`{did_you_mean(extra, wanted)}", entry.key.line)
        arguments: list[ast.expr] = []
        for parameter in wanted:
            if parameter not in given:
                arguments.append(name("MISSING"))
                continue
            variable = self.scope.fresh("arg")
            out.append(assign(variable, name("MISSING"), entry.key.line))
            self.emit(given[parameter], Assign(variable), out)
            arguments.append(name(variable))
        self._store(
            Expr(located(call("f_" + target, *arguments, name("ctx")), entry.key.line)), to, out, entry.key.line
        )

    def _drop(self, entry: Entry, rest: Map, to: Destination, out: Block) -> None:
        reason = self._inline(entry.node)
        if reason is None:
            self.unit.problem("`$drop` takes a reason", entry.key.line)
            return
        visible = ast.Tuple([name(variable.python) for variable in reversed(self._data())], ast.Load())
        out.append(located(ast.Expr(call("lose", name("ctx"), reason.code, visible)), entry.key.line))

    def _fail(self, entry: Entry, rest: Map, to: Destination, out: Block) -> None:
        reason = self._inline(entry.node)
        if reason is None:
            self.unit.problem("`$fail` takes a message", entry.key.line)
            return
        out.append(located(ast.Raise(call("Refusal", reason.code), None), entry.key.line))

    def _then(self, entry: Entry, rest: Map, to: Destination, out: Block) -> None:
        self.emit(entry.node, to, out)

    def _item(self, entry: Entry, rest: Map, to: Destination, out: Block) -> None:
        self.emit(entry.node, Append(to.target, whole=True) if isinstance(to, Append) else to, out)

    # storing

    def _data(self) -> list[Variable]:
        return [variable for key, variable in self.scope.variables.items() if key != "ctx"]

    def _store(self, value: Expr, to: Destination, out: Block, line: int) -> None:
        store(value, to, out, line, self.scope.fresh)

    def _guard(self, variable: Variable, out: Block, line: int, *, always: bool = False) -> None:
        if variable.guarded or always:
            test = compare(call("type", name(variable.python)), ast.Is(), name("dict"))
            out.append(assign(variable.guard, ast.IfExp(test, name(variable.python), name("EMPTY")), line))


def _key(entry: Entry) -> object:
    value = entry.key.value
    return value[1:] if isinstance(value, str) and value.startswith("$$") else value


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 80 else flat[:77] + "…"
