"""What a `$match` without `$else` asks about is there, or the mapping fails: it is read as if it were."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from typing import Final

from nexeon.mapping.pytree import (
    Block,
    at_line,
    called,
    compared,
    got,
    is_missing,
    is_name,
    looked_at,
    mentions,
    named,
    reads,
    replaced,
    stores_of,
    walk_all,
)
from nexeon.mapping.statements import guarded_by

_FEW: Final = 3
"""Words that are compared one by one."""


def read_for_sure(block: Block) -> None:
    """`m = x if type(x) is dict else EMPTY` and `k = m.get('key', MISSING)` become `k = x['key']` and `m = x` where
    every other value of `k` than those listed fails. What is no map fails a line earlier than it did: the plain
    function, which is asked then, fails at the match."""
    for position, statement in enumerate(block):
        for inner in (getattr(statement, "body", None), getattr(statement, "orelse", None)):
            if isinstance(inner, list):
                read_for_sure(inner)
        guard = block[position - 1] if position else None
        look = looked_at(guard) if guard is not None else None
        sure = _read_of(statement, look) if look is not None else None
        if sure is not None and position + 1 < len(block) and _fails(block[position + 1], sure[0]):
            assert isinstance(statement, ast.Assign)
            statement.value = at_line(ast.Subscript(named(look or "", statement), sure[1], ast.Load()), statement)
        if position + 1 < len(block) and isinstance(statement, ast.Assign) and isinstance(guard, ast.Assign):
            found = got(statement.value)
            owner = guarded_by(guard.value)
            target = statement.targets[0]
            fits = found is not None and owner is not None and is_name(guard.targets[0], found[0])
            if not fits or not isinstance(target, ast.Name) or not _fails(block[position + 1], target.id):
                continue
            assert found is not None
            assert owner is not None
            read = ast.Subscript(named(owner, statement), ast.Constant(found[1]), ast.Load())
            block[position - 1] = at_line(ast.Assign([target], at_line(read, statement)), statement)
            block[position] = at_line(ast.Assign(guard.targets, named(owner, statement)), statement)


def _read_of(statement: ast.stmt, owner: str) -> tuple[str, ast.Constant] | None:
    """(name, key) of `name = owner.get('key', MISSING)`."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    found = got(statement.value) if isinstance(statement, ast.Assign) else None
    if found is None or found[0] != owner or not is_missing(found[2]) or not isinstance(target, ast.Name):
        return None
    return target.id, ast.Constant(found[1])


def _fails(question: ast.stmt, name: str) -> bool:
    """Whether what a name is compared with is all that does not fail."""
    while isinstance(question, ast.If):
        pair = compared(question.test, ast.Eq, ast.In)
        if pair is None or not is_name(pair[0], name) or mentions([pair[1]], "MISSING") or is_missing(pair[1]):
            return False
        if len(question.orelse) != 1:
            return False
        question = question.orelse[0]
    return isinstance(question, ast.Raise) and called(question.exc, "unlisted") is not None


def read_late(function: ast.FunctionDef) -> None:
    """`x = m.get('key', MISSING)` before `if a and b(x):` is read where it is first needed, after `a`."""
    loads, stores = _uses(function)
    for block, position in _backwards(function):
        statement = block[position]
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        question = block[position + 1] if position + 1 < len(block) else None
        if not isinstance(statement, ast.Assign) or not isinstance(target, ast.Name) or stores[target.id] != 1:
            continue
        found = got(statement.value)
        if found is None or not isinstance(question, ast.If) or not isinstance(question.test, ast.BoolOp):
            continue
        name, tests = target.id, question.test.values
        late = isinstance(question.test.op, ast.And) and not mentions([tests[0], *question.orelse], name)
        if not late or reads([question], name) != loads[name] or stores[found[0]] > 1:
            continue
        first = _first_read(tests[1], name)
        if first is not None:
            first.args = [at_line(ast.NamedExpr(ast.Name(name, ast.Store()), statement.value), question)]
            del block[position]


def spelt_out(function: ast.FunctionDef) -> None:
    """Names that are only names for another give way to it, and `x in ('a', 'b')` becomes `x == 'a' or x == 'b'`,
    which is compared as text at once. When this is done, nothing else is: others look for what it leaves out."""
    stores = stores_of(function)
    given = {argument.arg for argument in function.args.args}
    instead: dict[str, str] = {}
    for block, position in _backwards(function):
        statement = block[position]
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        value = statement.value if isinstance(statement, ast.Assign) else None
        if not isinstance(target, ast.Name) or not isinstance(value, ast.Name) or len(block) == 1:
            continue
        if stores[target.id] == 1 and stores[value.id] == 1 and target.id not in given:
            instead[target.id] = value.id
            del block[position]

    def change(node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.Name) and node.id in instead:
            other = node.id
            while other in instead:
                other = instead[other]
            return named(other, node)
        pair = compared(node, ast.In, ast.NotIn)
        if pair is None or not isinstance(pair[0], ast.Name) or not isinstance(pair[1], ast.Tuple):
            return None
        words = pair[1].elts
        if len(words) > _FEW or not all(isinstance(one, ast.Constant) and type(one.value) is str for one in words):
            return None
        assert isinstance(node, ast.Compare)
        subject = change(pair[0]) or pair[0]
        assert isinstance(subject, ast.Name)
        each, both = (ast.Eq, ast.Or()) if isinstance(node.ops[0], ast.In) else (ast.NotEq, ast.And())
        tests: list[ast.expr] = [ast.Compare(named(subject.id, node), [each()], [word]) for word in words]
        return at_line(ast.BoolOp(both, tests) if len(tests) > 1 else tests[0], node)

    for statement in function.body:
        replaced(statement, change)


def _backwards(function: ast.FunctionDef) -> Iterator[tuple[Block, int]]:
    """Every statement by its block and its place in that, of each block the last one first: it may be deleted."""
    blocks = [function.body]
    for block in blocks:  # which grows
        for position in range(len(block) - 1, -1, -1):
            both = (getattr(block[position], "body", None), getattr(block[position], "orelse", None))
            blocks.extend(inner for inner in both if isinstance(inner, list))
            yield block, position


def _uses(function: ast.FunctionDef) -> tuple[Counter[str], Counter[str]]:
    """How often each name is read, and is given something."""
    loads: Counter[str] = Counter()
    stores: Counter[str] = Counter()
    for one in walk_all(function.body):
        if type(one) is ast.Name:
            (loads if type(one.ctx) is ast.Load else stores)[one.id] += 1
    return loads, stores


def _first_read(test: ast.expr, name: str) -> ast.Call | None:
    """The `type(x)` that a test begins with."""
    node: ast.expr = test
    while True:
        if isinstance(node, ast.IfExp):
            node = node.test
        elif isinstance(node, ast.Compare):
            node = node.left
        elif isinstance(node, ast.BoolOp):
            node = node.values[0]
        else:
            call = called(node, "type")
            return call if call is not None and is_name(call.args[0], name) else None
