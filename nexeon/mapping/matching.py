"""What a `$match` without `$else` asks about is there, or the mapping fails: it is read as if it were."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from typing import Final

from nexeon.mapping.pytree import (
    Block,
    at_line,
    blocks_of,
    called,
    compared,
    got,
    is_missing,
    is_name,
    mentions,
    named,
    reads,
    replaced,
    stores_of,
    walk_all,
)
from nexeon.mapping.statements import guarded_by, harmless

_FEW: Final = 3
"""Words that are compared one by one."""


def read_for_sure(block: Block) -> None:
    """`k = m.get('key', MISSING)` becomes `k = m['key']` where every other value of `k` than those listed fails; with
    `m = x if type(x) is dict else EMPTY` before it, `k = x['key']` and `m = x`. What is no map, or has no such key,
    fails a line earlier than it did: the plain function, which is asked then, fails at the match."""
    for position, statement in enumerate(block):
        for inner in blocks_of(statement):
            read_for_sure(inner)
        if position + 1 == len(block) or not isinstance(statement, ast.Assign):
            continue
        sure = _read_of(statement)
        if sure is None or not _fails(block[position + 1], sure[0].id):
            continue
        target, owner, key = sure
        guard = block[position - 1] if position else None
        guarded = guarded_by(guard.value) if isinstance(guard, ast.Assign) else None
        if isinstance(guard, ast.Assign) and guarded is not None and is_name(guard.targets[0], owner):
            read = ast.Subscript(named(guarded, statement), key, ast.Load())
            block[position - 1] = at_line(ast.Assign([target], at_line(read, statement)), statement)
            block[position] = at_line(ast.Assign(guard.targets, named(guarded, statement)), statement)
        else:
            statement.value = at_line(ast.Subscript(named(owner, statement), key, ast.Load()), statement)


def _read_of(statement: ast.Assign) -> tuple[ast.Name, str, ast.Constant] | None:
    """(name, owner, key) of `name = owner.get('key', MISSING)`."""
    target, found = statement.targets[0], got(statement.value)
    if found is None or not is_missing(found[2]) or not isinstance(target, ast.Name):
        return None
    return target, found[0], ast.Constant(found[1])


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
            blocks += blocks_of(block[position])
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


def sunk(function: ast.FunctionDef) -> None:
    """`x = …`, where only one branch of what follows reads `x`, is found out in that branch."""
    loads, stores = _uses(function)
    filled = _filled(function)
    for block, position in _backwards(function):
        statement = block[position]
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        if not isinstance(statement, ast.Assign) or not isinstance(target, ast.Name) or stores[target.id] != 1:
            continue
        if not isinstance(statement.value, (ast.IfExp, ast.Call)) or not harmless(statement.value):
            continue
        names = {one.id for one in walk_all([statement.value]) if isinstance(one, ast.Name)}
        if any(stores[name] > 1 or name in filled for name in names):
            continue
        for later in block[position + 1 :]:
            count = reads([later], target.id)
            if not count:
                continue
            for inner in (later.body, later.orelse) if isinstance(later, ast.If) else ():
                if count == loads[target.id] == reads(inner, target.id):
                    inner.insert(0, statement)
                    del block[position]
            break


def _filled(function: ast.FunctionDef) -> set[str]:
    """Names of maps and lists that are written to."""
    found: set[str] = set()
    for one in walk_all(function.body):
        owner: ast.AST | None = None
        if isinstance(one, ast.Subscript) and not isinstance(one.ctx, ast.Load):
            owner = one.value
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr != "get":
            owner = one.func.value
        elif (call := called(one, "merge_into")) is not None:
            owner = call.args[0]
        if isinstance(owner, ast.Name):
            found.add(owner.id)
    return found
