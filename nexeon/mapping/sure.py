"""Fields that compiled functions take to be there, because hardly anything comes without: where one is not, or not of
the kind that it is taken for, they fail at once, and the plain function is asked.

They are the fields of a turn of a conversation, and identifiers.
"""

from __future__ import annotations

import ast
from typing import Final

from nexeon.mapping.pytree import (
    at_line,
    blocks_in,
    called,
    compared,
    got,
    is_missing,
    is_name,
    looked_at,
    replaced,
    stores_of,
    type_is,
    walk_all,
)

ROLE: Final = "role"
BLOCKS: Final = "blocks"
TURN: Final = frozenset({ROLE, BLOCKS})
"""A map of which both are read is a turn."""
_LOOKS: Final = {"dict": "get", "list": "append"}
_TURNS: Final = "turns"
"""Marks what reads a turn's blocks."""
_FEWEST: Final = 2
_ASKS: Final = (
    "each",
    "item",
    "cut",
    "is_empty",
    *(f"filter_{one}" for one in ["where", "reject", "length", "first", "last"]),
)


def identifiers(function: ast.FunctionDef) -> None:
    """`MISSING if (t := m.get('id', MISSING)) is MISSING or t is None else filter_fit_id(t)` becomes
    `filter_fit_id(m['id'])`."""

    def change(node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.IfExp) or not is_missing(node.body) or not called(node.orelse, "filter_fit_id"):
            return None
        first = node.test.values[0] if isinstance(node.test, ast.BoolOp) else node.test
        pair = compared(first, ast.Is)
        kept = pair[0] if pair is not None else None
        found = got(kept.value) if isinstance(kept, ast.NamedExpr) else None
        call = node.orelse
        assert isinstance(call, ast.Call)
        if found is None or not isinstance(kept, ast.NamedExpr) or not is_name(call.args[0], kept.target.id):
            return None
        call.args[0] = at_line(_read(found[0], found[1]), node)
        return call

    for statement in function.body:
        replaced(statement, change)


def turns(function: ast.FunctionDef) -> None:
    """What a turn has is read without asking."""
    stores = stores_of(function)
    read: dict[str, set[str]] = {}
    for node in walk_all(function.body):
        owner, key = _field(node)
        if key in TURN and stores[owner] == 1:
            read.setdefault(owner, set()).add(key)
    owners = {owner for owner, keys in read.items() if keys == TURN}
    if not owners:
        return

    def change(node: ast.AST) -> ast.AST | None:
        owner, key = _field(node)
        if owner not in owners or key not in TURN or isinstance(node, ast.Subscript):
            return None
        if isinstance(node, ast.Compare):
            return at_line(ast.Constant(isinstance(node.ops[0], ast.In)), node)
        made = at_line(_read(owner, key), node)
        if key == BLOCKS:
            made.__dict__[_TURNS] = True
        return made

    for statement in function.body:
        replaced(statement, change)


def look_at(name: str, at: ast.AST, kind: str = "dict") -> ast.stmt:
    """`x.get`, which no value but a map has, or `x.append` of a list."""
    return at_line(ast.Expr(ast.Attribute(ast.Name(name, ast.Load()), _LOOKS[kind], ast.Load())), at)


def lists(function: ast.FunctionDef) -> None:
    """Of a turn's blocks that are asked for more than once it is made sure first that they are a list."""
    stores = stores_of(function)
    for block in list(blocks_in(function.body)):
        for position in range(len(block) - 1, -1, -1):
            statement = block[position]
            target = statement.targets[0] if isinstance(statement, ast.Assign) else None
            value = statement.value if isinstance(statement, ast.Assign) else None
            if not isinstance(target, ast.Name) or value is None or _TURNS not in value.__dict__:
                continue
            if stores[target.id] == 1 and sum(_asks(one, target.id) for one in walk_all(function.body)) >= _FEWEST:
                value.__dict__["kinds"] = frozenset({"list"})
                block.insert(position + 1, look_at(target.id, statement, "list"))


def asked_for_sure(function: ast.FunctionDef) -> None:
    """Looks become questions, which are faster. When this is done, nothing else is."""

    def change(node: ast.AST) -> ast.AST | None:
        for kind, attribute in _LOOKS.items():
            name = looked_at(node, attribute)
            if name is not None:
                other = type_is(ast.Name(name, ast.Load()), kind)
                other.ops = [ast.IsNot()]
                return at_line(ast.If(other, [ast.Raise(ast.Name("Refusal", ast.Load()), None)], []), node)
        return None

    for position, statement in enumerate(function.body):
        function.body[position] = replaced(statement, change)  # type: ignore[call-overload]


def _asks(node: ast.AST, name: str) -> bool:
    """Whether it depends on the name being a list."""
    call = called(node, *_ASKS)
    pair = compared(node, ast.Is)
    kind = called(pair[0], "type") if pair is not None and is_name(pair[1], "list") else None
    return (call is not None and is_name(call.args[0], name)) or (kind is not None and is_name(kind.args[0], name))


def _field(node: ast.AST) -> tuple[str, str]:
    """(map, key) of `m.get('k')`, `'k' in m` and `m['k']`."""
    found = got(node)
    if found is not None and (found[2] is None or is_missing(found[2])):
        return found[0], found[1]
    pair = compared(node, ast.In, ast.NotIn)
    if pair is not None and isinstance(pair[0], ast.Constant) and isinstance(pair[1], ast.Name):
        return pair[1].id, str(pair[0].value)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Constant):
        return node.value.id, str(node.slice.value)
    return "", ""


def _read(owner: str, key: str) -> ast.Subscript:
    return ast.Subscript(ast.Name(owner, ast.Load()), ast.Constant(key), ast.Load())
