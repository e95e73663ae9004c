"""What depends on the same thing is asked for it once: statements behind each other that do something only where a list
holds something come under one question."""

from __future__ import annotations

import ast
from typing import Final

from nexeon.mapping.pytree import Block, Names, at_line, blocks_in, clone, compared, is_missing, is_name, named
from nexeon.mapping.statements import begins, guarded_by

_FEWEST: Final = 2
_LISTED: Final = frozenset({"list", "missing", "none"})


def together(function: ast.FunctionDef, names: Names) -> None:
    """Rewrites the function."""
    for block in list(blocks_in(function.body)):
        asked: set[str] = set()
        position = 0
        while position < len(block):
            name = _depends_on(block[position], names)
            if name in asked and _over(block[position]) == name:
                block[position] = at_line(ast.If(named(name, block[position]), [block[position]], []), block[position])
            elif name:
                group = _Group(name, names)
                taken = group.take(block[position:])
                if group.count >= _FEWEST:
                    block[position : position + taken] = group.made(block[position])
                    position += len(group.before)
                    asked.add(name)
            position += 1


class _Group:
    """Statements that depend on one name."""

    def __init__(self, name: str, names: Names) -> None:
        self.name = name
        self.names = names
        self.before: Block = []
        """What has nothing to do with it."""
        self.count = 0
        self._yes: Block = []
        self._no: Block = []
        self._known: dict[str, ast.expr] = {}
        """What names are where the name holds nothing."""

    def take(self, block: Block) -> int:
        """Takes statements as long as they depend on it, and says how many."""
        taken = 0
        for number, statement in enumerate(block):
            both = self._both(statement)
            if both is not None:
                self._yes += both[0]
                self._no += both[1]
                self.count += 1
                taken = number + 1
                before = len(self.before)
            elif begins(statement) and self.names.once(statement.targets[0].id):  # type: ignore[attr-defined]
                self.before.append(statement)
            else:
                break
        self.before = self.before[:before] if taken else []
        return taken

    def made(self, at: ast.stmt) -> Block:
        return [*self.before, at_line(ast.If(named(self.name, at), self._yes, self._no), at)]

    def _both(self, statement: ast.stmt) -> tuple[Block, Block] | None:
        """What a statement does where the name holds something, and where it does not."""
        if isinstance(statement, ast.If) and is_name(statement.test, self.name):
            return statement.body, statement.orelse
        if _over(statement) == self.name and self.names.of_name(self.name) <= _LISTED:
            return [statement], []
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        if not isinstance(statement, ast.Assign) or not isinstance(target, ast.Name) or not self.names.once(target.id):
            return None
        both = self._values(statement.value)
        if both is None:
            return None
        if isinstance(both[1], (ast.Name, ast.Constant)) or _empty(both[1]):
            self._known[target.id] = both[1]
        return [_given(statement, both[0])], [_given(statement, both[1])]

    def _values(self, value: ast.expr) -> tuple[ast.expr, ast.expr] | None:
        guarded = guarded_by(value)
        if guarded is not None and guarded in self._known:
            known = self._known[guarded]
            return value, named(guarded if isinstance(known, ast.Dict) else "EMPTY", value)
        if not isinstance(value, ast.IfExp):
            return None
        if is_name(value.test, self.name):
            return value.body, value.orelse
        if isinstance(value.test, ast.Name) and value.test.id in self._known:
            known = self._known[value.test.id]
            return (value, value.orelse) if _empty(known) or is_missing(known) else None
        if is_name(value.orelse, "SEVERAL") and _kind_of(value) == self.name:
            return value, value.orelse
        return None


def _given(statement: ast.Assign, value: ast.expr) -> ast.stmt:
    return at_line(ast.Assign([clone(statement.targets[0])], clone(value)), statement)


def _empty(value: ast.expr) -> bool:
    return (isinstance(value, ast.Dict) and not value.keys) or (isinstance(value, ast.List) and not value.elts)


def _depends_on(statement: ast.stmt, names: Names) -> str:
    """The name of which only the truth decides what it gives."""
    value = statement.value if isinstance(statement, ast.Assign) else None
    test = value.test if isinstance(value, ast.IfExp) else None
    name = test.id if isinstance(test, ast.Name) else _over(statement)
    return name if names.once(name) and names.of_name(name) <= _LISTED else ""


def _over(statement: ast.stmt) -> str:
    """The name that a loop goes over, whatever it is."""
    over = statement.iter if isinstance(statement, ast.For) else None
    if isinstance(over, ast.IfExp) and isinstance(over.body, ast.Name):
        return over.body.id
    return over.id if isinstance(over, ast.Name) else ""


def _kind_of(value: ast.IfExp) -> str:
    """The list of whose only item it is asked what kind it is."""
    first = value.test.values[0] if isinstance(value.test, ast.BoolOp) else value.test
    pair = compared(first, ast.Is, ast.Eq)
    call = pair[0] if pair is not None else None
    if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Name):
        return call.args[0].id
    return ""
