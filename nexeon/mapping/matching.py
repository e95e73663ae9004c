"""What a `$match` without `$else` asks about is there, or the mapping fails: it is read as if it were."""

from __future__ import annotations

import ast

from nexeon.mapping.pytree import Block, at_line, called, compared, got, is_missing, is_name, looked_at, mentions, named
from nexeon.mapping.statements import guarded_by


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
