"""Filters of lists in place of their calls, for the usual case of a list; what is none goes to the filter itself."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Final

from nexeon.mapping.pytree import Names, at_line, called, clone, compared, got, is_missing, is_name, named, type_is
from nexeon.mapping.sure import ROLE

OTHERWISE: Final = "other_"
"""Before the name of a filter that is called where the usual case is not."""
KIND: Final = "kind_of_one"
"""The call that gives what stands under a key of a list's only item, or SEVERAL."""
LONE: Final = "lone_"
"""Before the name of a filter of a list of whose only item, where it is one, that is known."""
_GENERAL: Final = "general"
"""Marks a lone filter's expression."""
_TRUSTED: Final = "trusted"
"""Marks what fails of anything but text, so that nobody need ask before."""
INLINED: Final = ("where", "reject", "pluck", "first", "last", "length", "trim", "fit_id")


def inlined(node: ast.Call, visited: Callable[[ast.expr], ast.expr], fresh: Callable[[], str]) -> ast.expr | None:
    """The call of one of these filters as an expression; None where it stays a call."""
    if not isinstance(node.func, ast.Name):
        return None
    if node.func.id == KIND:
        return at_line(_kind_of_one(node), node)
    if node.func.id.startswith(LONE):
        return at_line(_lone(node, visited, fresh), node)
    name = node.func.id.removeprefix("filter_")
    if name not in INLINED or name == node.func.id or not all(isinstance(one, ast.Constant) for one in node.args[1:]):
        return None
    if name != "fit_id" and not all(_is_text(one) for one in node.args[1:]):
        return None
    value = visited(node.args[0])
    if name in ("trim", "fit_id"):
        return at_line(_of_text(name, value, node.args[1:], fresh), node)
    first = value
    if not isinstance(value, ast.Name):
        own = fresh()
        first, value = ast.NamedExpr(ast.Name(own, ast.Store()), value), ast.Name(own, ast.Load())
    words = [one.value for one in node.args[1:] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    usual = _usual(name, value, words, fresh)
    test = type_is(first, "list")
    other = ast.Call(ast.Name(OTHERWISE + name, ast.Load()), [clone(value), *node.args[1:]], [])
    return at_line(ast.IfExp(test, usual, other), node)


def _kind_of_one(node: ast.Call) -> ast.expr:
    value, key = node.args
    size = ast.Call(ast.Name("len", ast.Load()), [clone(value)], [])
    one = ast.Subscript(clone(value), ast.Constant(0), ast.Load())
    read = ast.Call(ast.Attribute(one, "get", ast.Load()), [key], [])
    alone = ast.BoolOp(ast.And(), [type_is(value, "list"), ast.Compare(size, [ast.Eq()], [ast.Constant(1)])])
    return ast.IfExp(alone, read, ast.Name("SEVERAL", ast.Load()))


def _lone(node: ast.Call, visited: Callable[[ast.expr], ast.expr], fresh: Callable[[], str]) -> ast.IfExp:
    """`[l[0]] if kind == 'a' else … if kind is SEVERAL else []`."""
    assert isinstance(node.func, ast.Name)
    kind, value, _, *words = node.args
    name = node.func.id.removeprefix(LONE)
    wanted: ast.expr = words[0] if len(words) == 1 else ast.Tuple(list(words), ast.Load())
    same = ast.Compare(kind, [ast.Eq() if len(words) == 1 else ast.In()], [clone(wanted)])
    call = ast.Call(ast.Name("filter_" + name, ast.Load()), node.args[1:], [])
    general = inlined(call, visited, fresh)
    assert isinstance(general, ast.IfExp)
    assert isinstance(general.body, ast.IfExp)
    general.body = general.body.body  # that of several
    several = ast.Compare(clone(kind), [ast.Is()], [ast.Name("SEVERAL", ast.Load())])
    empty = ast.List([], ast.Load())
    only = ast.List([ast.Subscript(clone(value), ast.Constant(0), ast.Load())], ast.Load())
    yes, no = (only, empty) if name == "where" else (empty, only)
    made = ast.IfExp(same, yes, ast.IfExp(several, general, no))
    made.__dict__[_GENERAL] = True
    return made


def _usual(name: str, value: ast.Name, words: list[str], fresh: Callable[[], str]) -> ast.expr:
    """What the filter gives of a list."""
    if name == "length":
        return ast.Call(ast.Name("len", ast.Load()), [clone(value)], [])
    if name in ("first", "last"):
        index: ast.expr = ast.Constant(0) if name == "first" else ast.UnaryOp(ast.USub(), ast.Constant(1))
        return ast.IfExp(clone(value), ast.Subscript(clone(value), index, ast.Load()), ast.Name("MISSING", ast.Load()))
    item = fresh()
    one = ast.Name(item, ast.Load())
    there = ast.Compare(ast.Constant(words[0]), [ast.In()], [one])
    if name == "pluck":
        read: ast.expr = ast.Subscript(one, ast.Constant(words[0]), ast.Load())
        return _listing(read, item, value, [there], fresh)  # the items are taken for maps, here and below
    tests: list[ast.expr]
    if len(words) == 1:
        tests = [there, _is_map(one)]  # of text, it could be a part
    else:
        got: ast.expr = ast.Call(ast.Attribute(one, "get", ast.Load()), [ast.Constant(words[0])], [])
        if words[0] == ROLE:
            got = ast.Subscript(one, ast.Constant(words[0]), ast.Load())
        wanted: ast.expr = ast.Tuple([ast.Constant(word) for word in words[1:]], ast.Load())
        operator: ast.cmpop = ast.In()
        if len(words) == 2:
            wanted, operator = ast.Constant(words[1]), ast.Eq()
        tests = [ast.Compare(got, [operator], [wanted])]
    if name == "reject":
        tests = [ast.UnaryOp(ast.Not(), tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests))]
    return _listing(one, item, value, tests, fresh)


def _of_text(name: str, value: ast.expr, longest: list[ast.expr], fresh: Callable[[], str]) -> ast.expr:
    """What filters of text give, whose methods nothing else has: of anything else they fail, and the plain function
    is asked. An identifier stays as it is, as most do."""
    if name == "trim":
        made: ast.expr = ast.Call(ast.Attribute(value, "strip", ast.Load()), [], [])
    else:
        first = value
        if not isinstance(value, ast.Name):
            own = fresh()
            first, value = ast.NamedExpr(ast.Name(own, ast.Store()), value), ast.Name(own, ast.Load())
        size = ast.Call(ast.Name("len", ast.Load()), [clone(value)], [])
        most = clone(longest[0]) if longest else ast.Constant(64)
        word = ast.Call(ast.Attribute(first, "isidentifier", ast.Load()), [], [])
        plain = ast.Call(ast.Attribute(clone(value), "isascii", ast.Load()), [], [])
        test = ast.BoolOp(ast.And(), [word, ast.Compare(size, [ast.LtE()], [most]), plain])
        other = ast.Call(ast.Name(OTHERWISE + name, ast.Load()), [clone(value), *longest], [])
        made = ast.IfExp(test, clone(value), other)
        made.__dict__["kinds"] = frozenset({"str"})
    made.__dict__[_TRUSTED] = True
    return made


def _listing(
    element: ast.expr, item: str, value: ast.Name, tests: list[ast.expr], fresh: Callable[[], str]
) -> ast.expr:
    """A comprehension is a call: the list of one, which is the usual one, goes without."""
    test = tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)
    over = ast.comprehension(ast.Name(item, ast.Store()), clone(value), [test], 0)
    size = ast.Call(ast.Name("len", ast.Load()), [clone(value)], [])
    several = ast.Compare(size, [ast.Gt()], [ast.Constant(1)])
    only = fresh()
    lone = clone(test, {item: ast.Name(only, ast.Load())})
    first = ast.Subscript(clone(value), ast.Constant(0), ast.Load())
    begin_with(lone, ast.NamedExpr(ast.Name(only, ast.Store()), first), only)
    one = ast.IfExp(
        ast.BoolOp(ast.And(), [clone(value), lone]),
        ast.List([clone(element, {item: ast.Name(only, ast.Load())})], ast.Load()),
        ast.List([], ast.Load()),
    )
    return ast.IfExp(several, ast.ListComp(element, [over]), one)


def begin_with(test: ast.expr, value: ast.NamedExpr, name: str) -> None:
    """Puts `(name := …)` where a test reads the name first."""
    for one in ast.walk(test):
        if isinstance(one, (ast.Attribute, ast.Subscript)) and is_name(one.value, name):
            one.value = value
            return
        if isinstance(one, ast.Compare) and is_name(one.comparators[0], name):
            one.comparators = [value]
            return
    raise AssertionError(name)


def _is_map(value: ast.expr) -> ast.expr:
    return type_is(clone(value), "dict")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def usual_first(node: ast.IfExp) -> ast.expr:
    """`MISSING if (t := x) is MISSING or t is None else u if type(t) is list else o`: what is usual is asked first."""
    inner = node.orelse
    if not is_missing(node.body):
        return node
    if _TRUSTED in inner.__dict__:
        return _unasked(node)
    if not isinstance(inner, ast.IfExp):
        return node
    if _GENERAL in inner.__dict__:
        assert isinstance(inner.orelse, ast.IfExp)
        node.orelse, inner.orelse.body = inner.orelse.body, node
        return inner
    asks = inner.test.values[0] if isinstance(inner.test, ast.BoolOp) else inner.test
    pair = compared(asks, ast.Is)
    call = called(pair[0], "type") if pair is not None and isinstance(pair[1], ast.Name) else None
    if call is None or not isinstance(call.args[0], ast.Name):
        return node
    name = call.args[0].id
    tests = node.test.values if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.Or) else [node.test]
    begins = compared(tests[0], ast.Is)
    for number, test in enumerate(tests):
        asked = compared(test, ast.Is)
        value = asked[0] if asked is not None else None
        if isinstance(value, ast.NamedExpr) and not number:
            value = value.target
        if (
            asked is None
            or not is_name(value, name)
            or not (is_missing(asked[1]) or (isinstance(asked[1], ast.Constant) and asked[1].value is None))
        ):
            return node
    assert begins is not None
    if isinstance(begins[0], ast.NamedExpr):
        assert isinstance(tests[0], ast.Compare)
        call.args = [begins[0]]
        tests[0].left = named(name, node)
    node.orelse = inner.orelse
    inner.orelse = node
    return inner


def _unasked(node: ast.IfExp) -> ast.expr:
    """`MISSING if (t := x) is MISSING or t is None else t.strip()`: what is neither is text, or it fails."""
    tests = node.test.values if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.Or) else [node.test]
    asked = [compared(test, ast.Is) for test in tests]
    first = asked[0][0] if asked[0] is not None else None
    kept = first.target if isinstance(first, ast.NamedExpr) else first
    if first is None or not isinstance(kept, ast.Name) or None in asked:
        return node
    for pair in asked:
        assert pair is not None
        of_it = pair[0] is first or is_name(pair[0], kept.id)
        if not of_it or not (is_missing(pair[1]) or (isinstance(pair[1], ast.Constant) and pair[1].value is None)):
            return node
    return _placed(node.orelse, first, kept.id) if isinstance(first, ast.NamedExpr) else node.orelse


def _placed(made: ast.expr, value: ast.NamedExpr, name: str) -> ast.expr:
    """With the value, where its name is read first."""
    call: ast.AST = made
    if isinstance(made, ast.IfExp) and isinstance(made.test, ast.BoolOp):
        call = made.test.values[0]
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Attribute)
    assert is_name(call.func.value, name)
    call.func.value = value
    return made


def surely_text(statement: ast.stmt | None, test: ast.expr, names: Names) -> None:
    """`x = m.get('key', MISSING)` becomes `x = m['key']` where the next question begins with what only text has."""
    found = got(statement.value) if isinstance(statement, ast.Assign) else None
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    if found is None or not is_missing(found[2]) or not isinstance(target, ast.Name) or not names.once(target.id):
        return
    first = test.values[0] if isinstance(test, ast.BoolOp) else test
    first = first.left if isinstance(first, ast.Compare) else first
    method = first.func if isinstance(first, ast.Call) else None
    if isinstance(method, ast.Attribute) and is_name(method.value, target.id) and method.attr == "strip":
        assert isinstance(statement, ast.Assign)
        read = ast.Subscript(ast.Name(found[0], ast.Load()), ast.Constant(found[1]), ast.Load())
        statement.value = at_line(read, statement)
        read.__dict__["kinds"] = frozenset({"str"})
        names.learn(target.id, read.__dict__["kinds"])
