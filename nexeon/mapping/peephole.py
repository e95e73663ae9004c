"""Single expressions and loops made faster, by what is known of the kinds of their parts."""

from __future__ import annotations

import ast
from typing import Final

from nexeon.mapping.calls import Calls
from nexeon.mapping.filtering import inlined, surely_text, usual_first
from nexeon.mapping.pytree import (
    Block,
    at_line,
    called,
    clone,
    compared,
    got,
    is_missing,
    is_name,
    named,
    replaced,
    type_is,
)
from nexeon.mapping.sizes import ORDERS, is_constant, minus

_OPPOSITE: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
_SIZED: Final = frozenset({"str", "dict", "list"})


def negated(test: ast.expr) -> ast.expr:
    """`not test`."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in _OPPOSITE:
        return at_line(ast.Compare(test.left, [_OPPOSITE[type(test.ops[0])]()], test.comparators), test)
    if isinstance(test, ast.BoolOp):
        operator = ast.And() if isinstance(test.op, ast.Or) else ast.Or()
        return at_line(ast.BoolOp(operator, [negated(one) for one in test.values]), test)
    return at_line(ast.UnaryOp(ast.Not(), test), test)


class Peephole(Calls):
    """Rewrites the statements of one function."""

    def block(self, block: Block) -> Block:
        made: Block = []
        for statement in block:
            self.before = made[-1] if made else None
            found = self.visit(statement)
            target = found.targets[0] if isinstance(found, ast.Assign) else None
            if isinstance(found, ast.Assign) and isinstance(target, ast.Name) and self.names.once(target.id):
                self.names.given(target.id, found.value)
            made += found if isinstance(found, list) else [found]
        return made

    # statements

    def visit_If(self, node: ast.If) -> ast.AST:
        before = self.before
        node.test = self._truth(node.test)
        surely_text(before, node.test, self.names)
        known = self.names.assumed
        self.names.assumed = {**known, **self.names.told(node.test)}
        node.body = self.block(node.body)
        self.names.assumed = known
        self.names.assumed = {**known, **self.names.told_not(node.test)}
        node.orelse = self.block(node.orelse)
        self.names.assumed = known
        return self._listed(node)

    def _listed(self, node: ast.If) -> ast.If:
        """`if type(x) is list: l.extend(x)`, `elif x is not MISSING: l.append(x)`: mostly it is a map."""
        pair = compared(node.test, ast.Is)
        call = called(pair[0], "type") if pair is not None and is_name(pair[1], "list") else None
        rest = node.orelse[0] if len(node.orelse) == 1 and len(node.body) == 1 else None
        if call is None or not isinstance(call.args[0], ast.Name) or not isinstance(rest, ast.If) or rest.orelse:
            return node
        different = compared(rest.test, ast.IsNot)
        same = different is not None and is_name(different[0], call.args[0].id) and is_missing(different[1])
        if not same or len(rest.body) != 1 or not isinstance(rest.body[0], ast.Expr):
            return node
        if "dict" not in self.names.of_name(call.args[0].id):
            return node
        return at_line(ast.If(type_is(clone(call.args[0]), "dict"), [clone(rest.body[0])], [node]), node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        call = called(node.value, "merge_into")
        if call is None or not isinstance(call.args[1], ast.Name):
            return self.generic_visit(node)
        kinds = self.names.kinds(call.args[1])
        if "dict" not in kinds:
            return node
        update = ast.Attribute(call.args[0], "update", ast.Load())
        plain = at_line(ast.Expr(ast.Call(update, [clone(call.args[1])], [])), node)
        if kinds == {"dict"}:
            return plain
        if kinds <= {"dict", "missing", "none"}:
            return at_line(ast.If(clone(call.args[1]), [plain], []), node)
        rest = ast.If(ast.Compare(clone(call.args[1]), [ast.IsNot()], [named("MISSING", node)]), [node], [])
        return at_line(ast.If(type_is(clone(call.args[1]), "dict"), [plain], [rest]), node)

    def visit_For(self, node: ast.For) -> ast.AST | list[ast.stmt]:
        node.body = self.block(node.body)
        looped = node.iter.body if isinstance(node.iter, ast.IfExp) and called(node.iter.orelse, "each") else None
        if isinstance(looped, ast.Name) and self._often_missing(looped.id):  # in what was put in place of a call
            there = ast.Compare(clone(looped), [ast.IsNot()], [named("MISSING", node)])
            return at_line(ast.If(there, [node], []), node)
        over = called(node.iter, "each")
        if over is None:
            node.iter = self.visit(node.iter)
            return node
        value = over.args[0]
        test: ast.expr | None = None
        found = got(value)
        if isinstance(value, ast.IfExp) and is_missing(value.body):  # nothing to go over
            test, value = negated(value.test), value.orelse
        elif found is not None and is_missing(found[2]):
            test = ast.Compare(ast.Constant(found[1]), [ast.In()], [ast.Name(found[0], ast.Load())])
            value = ast.Subscript(ast.Name(found[0], ast.Load()), ast.Constant(found[1]), ast.Load())
        at_line(value, node)
        kinds = self.names.kinds(value)
        value = self.visit(value)
        if kinds == {"list"}:
            node.iter = value
        elif isinstance(value, ast.Name):
            if self._often_missing(value.id):
                test = ast.Compare(clone(value), [ast.IsNot()], [named("MISSING", node)])
            node.iter = at_line(
                ast.IfExp(type_is(value, "list"), value, ast.Call(named("each", node), [clone(value)], [])), node
            )
        else:
            own = self.fresh()
            kept = ast.NamedExpr(ast.Name(own, ast.Store()), value)
            plain = ast.Call(named("each", node), [ast.Name(own, ast.Load())], [])
            node.iter = at_line(ast.IfExp(type_is(kept, "list"), ast.Name(own, ast.Load()), plain), node)
        if test is None:
            return node
        return at_line(ast.If(self._truth(at_line(test, node)), [node], []), node)

    def _often_missing(self, name: str) -> bool:
        """Whether it is what stands under a key, if anything does."""
        values = self.names.values.get(name) or [None]
        found = [got(value) for value in values]
        return "missing" in self.names.of_name(name) and all(one is not None and is_missing(one[2]) for one in found)

    # conditions

    def _truth(self, node: ast.expr) -> ast.expr:
        """An expression of which only the truth counts."""
        if isinstance(node, ast.BoolOp):
            return self._null(node) or self._several(node)
        if isinstance(node, ast.Compare):
            decided = self._decided(node)
            if decided is not None:
                return at_line(ast.Constant(decided), node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return negated(self._truth(node.operand))
        if isinstance(node, ast.IfExp):
            if is_constant(node.body, True) and is_constant(node.orelse, False):
                return self._truth(node.test)
            if is_missing(node.orelse):
                return self._truth(at_line(ast.BoolOp(ast.And(), [node.test, node.body]), node))
            if is_missing(node.body):
                listed = self._listed_first(node)
                if listed is not None:
                    return listed
                return self._truth(at_line(ast.BoolOp(ast.And(), [negated(node.test), node.orelse]), node))
        found = got(node)
        if found is not None and is_missing(found[2]):
            assert isinstance(node, ast.Call)
            return _bare(node)
        call = called(node, "nothing")
        if call is not None:
            return negated(self._something(call))
        call = called(node, "is_empty")
        if call is not None:
            return self._empty(call)
        return self._tested_if(node) or self._tested(node) or self.visit(node)

    def _tested_if(self, node: ast.expr) -> ast.expr | None:
        """`type((t := x if c else MISSING)) is T`: `c`, and that of `x`."""
        pair = compared(node, ast.Is, ast.In)
        call = called(pair[0], "type") if pair is not None else None
        kept = call.args[0] if call is not None else None
        value = kept.value if isinstance(kept, ast.NamedExpr) else kept
        if call is None or not isinstance(value, ast.IfExp) or not is_missing(value.orelse):
            return None
        if isinstance(kept, ast.NamedExpr):
            kept.value = value.body
        else:
            call.args[0] = value.body
        return self._truth(at_line(ast.BoolOp(ast.And(), [value.test, node]), node))

    def _listed_first(self, node: ast.IfExp) -> ast.expr | None:
        """`MISSING if x is MISSING or x is None else (l if type(x) is list else o)`: mostly it is a list."""
        asked = node.test.values[0] if isinstance(node.test, ast.BoolOp) else node.test
        pair = compared(asked, ast.Is)
        if pair is None or not isinstance(pair[0], ast.Name) or not isinstance(node.orelse, ast.Call):
            return None
        made = usual_first(at_line(ast.IfExp(clone(node.test), node.body, self.visit(clone(node.orelse))), node))
        general = made.orelse if isinstance(made, ast.IfExp) and not is_missing(made.body) else None
        if not isinstance(made, ast.IfExp) or not isinstance(general, ast.IfExp) or not is_missing(general.body):
            return None
        made.orelse = at_line(ast.BoolOp(ast.And(), [negated(general.test), general.orelse]), node)
        return made

    def _several(self, node: ast.BoolOp) -> ast.expr:
        """`and` and `or`, without what is sure."""
        neutral = isinstance(node.op, ast.And)
        values: list[ast.expr] = []
        for one in node.values:
            made = self._truth(one)
            if is_constant(made, neutral):
                continue
            same = isinstance(made, ast.BoolOp) and type(made.op) is type(node.op)
            values += made.values if same else [made]  # type: ignore[attr-defined]
            if is_constant(made, not neutral):
                break
        if not values or is_constant(values[0], not neutral):
            return at_line(ast.Constant(neutral if not values else not neutral), node)
        node.values = values
        return node if len(values) > 1 else values[0]

    def _decided(self, node: ast.Compare) -> bool | None:
        """Whether a name is missing, null or a list, where its kinds say so."""
        pair = compared(node, ast.Is, ast.IsNot)
        if pair is None:
            return None
        value, wanted = pair
        call = called(value, "type")
        if call is not None and is_name(wanted) and wanted.id in ("dict", "list", "str", "bool"):  # type: ignore[attr-defined]
            value, kind = call.args[0], wanted.id  # type: ignore[attr-defined]
        elif is_missing(wanted) or is_constant(wanted, None):
            kind = "missing" if is_missing(wanted) else "none"
        else:
            return None
        if not isinstance(value, (ast.Name, ast.Constant)):
            return None
        kinds = self.names.kinds(value)
        same = True if kinds == {kind} and kind != "str" else False if kind not in kinds else None
        return same if same is None or isinstance(node.ops[0], ast.Is) else not same

    def _null(self, node: ast.BoolOp) -> ast.expr | None:
        """Whether a value of a map is missing or null: `get` gives null for both."""
        found = self._kept(node)
        key = got(found[0].value) if found is not None else None
        if found is None or key is None or not is_missing(key[2]):
            return None
        kept, absent = found
        assert isinstance(kept.value, ast.Call)
        kept.value = _bare(kept.value)
        return at_line(ast.Compare(kept, [ast.Is() if absent else ast.IsNot()], [ast.Constant(None)]), node)

    def _tested(self, node: ast.expr) -> ast.expr | None:
        """`type(m.get('k')) is T`: mostly there is no such key."""
        pair = compared(node, ast.Is, ast.In)
        call = called(pair[0], "type") if pair is not None else None
        if pair is None or call is None:
            return None
        value = call.args[0]
        kept = value.target if isinstance(value, ast.NamedExpr) else None
        found = got(value.value if isinstance(value, ast.NamedExpr) else value)
        if found is None or not (found[2] is None or is_missing(found[2])):
            return None
        read: ast.expr = ast.Subscript(ast.Name(found[0], ast.Load()), ast.Constant(found[1]), ast.Load())
        if kept is not None:
            read = ast.NamedExpr(ast.Name(kept.id, ast.Store()), read)
        assert isinstance(node, ast.Compare)
        there = ast.Compare(ast.Constant(found[1]), [ast.In()], [ast.Name(found[0], ast.Load())])
        kind = ast.Call(named("type", node), [read], [])
        return at_line(ast.BoolOp(ast.And(), [there, ast.Compare(kind, node.ops, node.comparators)]), node)

    def _something(self, call: ast.Call) -> ast.expr:
        """`not nothing(x)`."""
        kinds = self.names.kinds(call.args[0])
        value: ast.expr = self.visit(call.args[0])
        if kinds <= {"dict", "list"}:
            return value
        if not isinstance(value, ast.Name):
            own = self.fresh()
            kept: ast.expr = ast.NamedExpr(ast.Name(own, ast.Store()), value)
            value = ast.Name(own, ast.Load())
        else:
            kept = value
        there: ast.expr = ast.Compare(kept, [ast.IsNot()], [ast.Name("MISSING", ast.Load())])
        if kinds <= {"dict", "list", "missing"}:
            return at_line(ast.BoolOp(ast.And(), [there, clone(value)]), call)
        options = ast.Name("HOLDERS", ast.Load())
        other = ast.Compare(ast.Call(ast.Name("type", ast.Load()), [clone(value)], []), [ast.NotIn()], [options])
        either = ast.BoolOp(ast.Or(), [clone(value), other])
        return at_line(ast.BoolOp(ast.And(), [there, either]), call)

    def _empty(self, call: ast.Call) -> ast.expr:
        """`is_empty(x)`."""
        value = call.args[0]
        kinds = self.names.kinds(value)
        found = got(value)
        value = self.visit(value)
        if kinds <= _SIZED:
            return negated(value)
        options = ast.Name("SIZED", ast.Load())

        def sized(one: ast.expr) -> ast.BoolOp:
            kind = ast.Compare(ast.Call(ast.Name("type", ast.Load()), [clone(one)], []), [ast.In()], [options])
            return ast.BoolOp(ast.And(), [kind, ast.UnaryOp(ast.Not(), clone(one))])

        if found is not None and is_missing(found[2]) and isinstance(value, ast.Call):
            own = self.fresh()
            kept = ast.NamedExpr(ast.Name(own, ast.Store()), _bare(value))
            absent = ast.Compare(ast.Name(own, ast.Load()), [ast.Is()], [ast.Constant(None)])
            nothing = ast.BoolOp(ast.Or(), [absent, sized(ast.Name(own, ast.Load())).values[0]])
            return at_line(ast.BoolOp(ast.And(), [ast.UnaryOp(ast.Not(), kept), nothing]), call)
        if not isinstance(value, ast.Name):
            call.args = [value]
            return call
        tests: list[ast.expr] = []
        for kind, one in (("missing", ast.Name("MISSING", ast.Load())), ("none", ast.Constant(None))):
            if kind in kinds:
                tests.append(ast.Compare(clone(value), [ast.Is()], [one]))
        if kinds & _SIZED:
            tests.append(sized(value))
        return at_line(ast.BoolOp(ast.Or(), tests), call) if len(tests) > 1 else at_line(tests[0], call)

    # values

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        node.test = self._truth(node.test)
        if isinstance(node.test, ast.Constant):
            chosen: ast.expr = self.visit(node.body if node.test.value else node.orelse)
            return chosen
        node.body = self.visit(node.body)
        node.orelse = self.visit(node.orelse)
        return usual_first(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        return self._truth(node)  # the compiler makes them for conditions only

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        return self._truth(node) if isinstance(node.op, ast.Not) else self.generic_visit(node)

    def _kept(self, test: ast.expr) -> tuple[ast.NamedExpr, bool] | None:
        """`(t := x)` of a test whether it is missing or null (True), or neither (False)."""
        if not isinstance(test, ast.BoolOp) or len(test.values) != 2:
            return None
        absent = isinstance(test.op, ast.Or)
        first = compared(test.values[0], ast.Is if absent else ast.IsNot)
        second = compared(test.values[1], ast.Is if absent else ast.IsNot)
        if first is None or second is None or not isinstance(first[0], ast.NamedExpr) or not is_missing(first[1]):
            return None
        if not is_name(second[0], first[0].target.id) or not is_constant(second[1], None):
            return None
        return first[0], absent

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if len(node.ops) == 1 and isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
            found = got(node.left)
            if found is not None and is_missing(found[2]) and isinstance(node.comparators[0], ast.Constant):
                assert isinstance(node.left, ast.Call)
                node.left = _bare(node.left)
        there = self._there(node)
        if there is not None:
            return there
        if isinstance(node.ops[0], (ast.In, ast.NotIn)) and isinstance(options := node.comparators[0], ast.Tuple):
            names = [one.id for one in options.elts if isinstance(one, ast.Name)]
            if names == ["int", "float"]:
                node.comparators = [named("NUMBERS", node)]
        tested = self._tested(node)
        if tested is not None:
            return tested
        return self.generic_visit(node)

    def _there(self, node: ast.Compare) -> ast.expr | None:
        """`m.get('k', MISSING) is MISSING`: there is no such key."""
        pair = compared(node, ast.Is, ast.IsNot)
        found = got(pair[0]) if pair is not None and is_missing(pair[1]) else None
        if found is None or not is_missing(found[2]):
            return None
        operator = ast.NotIn() if isinstance(node.ops[0], ast.Is) else ast.In()
        return at_line(ast.Compare(ast.Constant(found[1]), [operator], [ast.Name(found[0], ast.Load())]), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        made: ast.AST | None = None
        if called(node, "item"):
            made = self._item(node)
        elif called(node, "cut"):
            made = self._cut(node)
        elif called(node, "negate"):
            made = minus(node)
        elif called(node, "filter_min", "filter_max"):
            made = self._least(node)
        elif called(node, "lookup"):
            made = self._lookup(node)
        elif called(node, "equal"):
            made = self._equal(node)
        elif called(node, "present_fields"):
            made = self._fields(node)
        elif called(node, *ORDERS):
            made = self._ordered(node)
        elif called(node, "filter_omit"):
            made = self._omitted(node)
        elif called(node, "filter_seal"):
            made = self._sealed(node)
        elif called(node, "is_empty"):
            made = self._empty(node)
        elif called(node, "nothing"):
            made = negated(self._something(node))
        else:
            made = inlined(node, self.visit, self.fresh)
            made = replaced(made, self._surely_list) if made is not None else None
        return made if made is not None else self.generic_visit(node)


def _bare(node: ast.Call) -> ast.Call:
    """`m.get('k')` of `m.get('k', MISSING)`: null where there is nothing."""
    return at_line(ast.Call(node.func, node.args[:1], []), node)
