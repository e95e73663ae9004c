"""Bodies in place of calls: small functions that do not call themselves."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection
from typing import Final

from nexeon.mapping.pytree import (
    Block,
    assigned,
    at_line,
    clone,
    clones,
    ends,
    is_missing,
    named,
    reads,
    size,
    walk_all,
)
from nexeon.mapping.sharing import shared

_SMALL: Final = 220
"""Nodes of a function that is put in place of its calls."""
_ONCE: Final = 3000
"""The same of one that is called in one place only, as the compiler wrote it."""
_AGAIN: Final = "again"
"""Marks a call that stays a call."""
_GROWTH: Final = 5000
"""Nodes by which one function may grow so."""


class Inliner:
    """The functions of one file, the called before their callers in `order`; each is told when it is `done`."""

    def __init__(self, functions: dict[str, ast.FunctionDef], wanted: Collection[str]) -> None:
        self._functions = functions
        self._calls = {
            name: Counter(
                one.func.id
                for one in walk_all(function.body)
                if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in functions
            )
            for name, function in functions.items()
        }
        self.order: list[str] = []
        for name in functions:
            self._visit(name, ())
        self.within = self._within(wanted)
        """Functions that there is no need to have: they stand where they were called."""
        self._small: dict[str, ast.FunctionDef] = {}
        self._grown = 0
        self._count = 0
        for name in sorted(self.within):
            function = functions[name]
            shared(function, self.fresh, maps_only=True)
            self._small[name] = ast.FunctionDef(name, function.args, function.body[:-1], [], None, None)

    def _visit(self, name: str, around: tuple[str, ...]) -> None:
        if name in around or name in self.order:
            return
        for other in sorted(self._calls[name]):
            self._visit(other, (*around, name))
        self.order.append(name)

    def _within(self, wanted: Collection[str]) -> set[str]:
        """Those of one place, of which nobody asks for more."""
        calls: Counter[str] = Counter()
        for called_by in self._calls.values():
            calls.update(called_by)
        return {
            name
            for name, count in calls.items()
            if count == 1
            and name.startswith("f_")
            and name not in wanted
            and name not in self._reached(name)
            and _nothing(self._functions[name].body[-1])
            and size(self._functions[name].body) <= _ONCE
            and _at_ends(self._functions[name].body[:-1])
        }

    def _reached(self, name: str) -> set[str]:
        """The functions that a call of one may lead to."""
        seen: set[str] = set()
        waiting = list(self._calls[name])
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                waiting += self._calls[one]
        return seen

    def fresh(self) -> str:
        """A name that nothing else has."""
        self._count += 1
        return f"o_{self._count}"

    def done(self, function: ast.FunctionDef) -> None:
        """Says that a function is as fast as it gets: from now on its calls may give way to it."""
        self._grown = 0
        name = function.name
        if not name.startswith("f_") or name in self._calls[name]:
            return
        body = function.body[:-1] if _nothing(function.body[-1]) else function.body
        if size(body) <= _SMALL and _at_ends(body):
            made = ast.FunctionDef(name, function.args, clones(body), [], None, None)
            reached = self._reached(name)
            if name in reached:
                self._once(made, {one for one in reached if name in self._reached(one)})
            self._small[name] = made

    def _once(self, function: ast.FunctionDef, cycle: set[str]) -> None:
        """Functions that call each other give way to their bodies once, not over and over."""
        for one in walk_all(function.body):
            if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in cycle:
                one.__dict__[_AGAIN] = True

    def body(self, call: ast.Call, name: str | None = None) -> Block | None:
        """What a call does, its value given to a name on every way through, or returned; None where it stays a call."""
        small = isinstance(call.func, ast.Name) and _AGAIN not in call.__dict__
        function = self._small.get(call.func.id) if small else None  # type: ignore[attr-defined]
        if function is None:
            return None
        grown = size(function.body)
        if self._grown + grown > _GROWTH:
            return None
        self._grown += grown
        head: Block = []
        own: dict[str, ast.expr] = {}
        for argument, value in zip(function.args.args, call.args, strict=True):
            if isinstance(value, (ast.Name, ast.Constant)):
                own[argument.arg] = value
            elif reads(function.body, argument.arg):
                local = self.fresh()
                own[argument.arg] = ast.Name(local, ast.Load())
                head.append(assigned(local, value, call))
            else:
                head.append(at_line(ast.Expr(value), call))
        for one in walk_all(function.body):
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store) and one.id not in own:
                own[one.id] = ast.Name(self.fresh(), ast.Load())
        block = [*head, *clones(function.body, own)]
        return block if name is None else _giving(block, name, call)


def _nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Return) and is_missing(statement.value)


def _at_ends(block: Block) -> bool:
    """Whether it returns only where it ends anyway."""
    if any(isinstance(one, ast.Return) for one in walk_all(block[:-1])):
        return False
    last = block[-1] if block else None
    if isinstance(last, ast.If):
        return _at_ends(last.body) and _at_ends(last.orelse)
    return isinstance(last, ast.Return) or not any(isinstance(one, ast.Return) for one in walk_all(block[-1:]))


def _giving(block: Block, name: str, at: ast.AST) -> Block:
    last = block[-1] if block else None
    if isinstance(last, ast.Return):
        value = last.value if last.value is not None else named("MISSING", at)
        return [*block[:-1], assigned(name, value, last)]
    if isinstance(last, ast.If):
        made = ast.If(last.test, _giving(last.body, name, at), _giving(last.orelse, name, at))
        return [*block[:-1], at_line(made, last)]
    return block if ends(block) else [*block, assigned(name, clone(named("MISSING", at)), at)]
