"""Few local variables in place of many: those that are never needed at the same time share one.

A call clears a place for each local variable of its function, and looks at each when it returns; of a function that was
put together from others there are hundreds, of which one way through it uses a handful.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from nexeon.mapping.pytree import walk_all

_ORDER: Final[dict[type[ast.AST], tuple[str, ...]]] = {
    ast.Assign: ("value", "targets"),
    ast.NamedExpr: ("value", "target"),
    ast.For: ("iter", "target"),
    ast.IfExp: ("test", "body", "orelse"),
    ast.If: ("test",),
}
"""In which order parts are evaluated, where it is not that of the tree."""
_Span = tuple[int, int]


def share_slots(function: ast.FunctionDef) -> None:
    """Renames the function's variables. Each must have a value wherever it is read, in every pass of a loop anew."""
    pinned = {argument.arg for argument in function.args.args}
    found = _Uses(pinned)
    found.block(function.body)
    slots = _slots(found.spans())
    for node in found.nodes:
        node.id = slots.get(node.id, node.id)


class _Uses:
    """When variables are used, on a line of time that goes through all branches one after the other."""

    def __init__(self, pinned: set[str]) -> None:
        self.nodes: list[ast.Name] = []
        self._pinned = pinned
        self._time = 0
        self._spans: dict[str, _Span] = {}
        self._stored: set[str] = set()
        self._loops: list[_Span] = []

    def spans(self) -> dict[str, _Span]:
        """From the first to the last use of each variable, and of the loops that it is carried into or out of."""
        found = {}
        for name, (begin, end) in self._spans.items():
            if name in self._pinned or name not in self._stored:
                continue
            for first, last in self._loops:  # the inner come before the outer
                if begin < first <= end or first <= begin <= last < end:
                    begin, end = min(begin, first), max(end, last)
            found[name] = (begin, end)
        return found

    def block(self, block: list[ast.stmt]) -> None:
        for one in block:
            self._visit(one)
            if isinstance(one, ast.If):
                self.block(one.body)
                self.block(one.orelse)

    def _visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name):
            self._use(node)
        elif isinstance(node, (ast.ListComp, ast.DictComp)):
            self._comprehension(node)
        elif isinstance(node, ast.For):
            self._visit(node.iter)
            begin = self._time + 1
            self._visit(node.target)
            self.block(node.body)
            self._loops.append((begin, self._time))
        else:
            for part in _parts(node):
                self._visit(part)

    def _use(self, node: ast.Name) -> None:
        self._time += 1
        self.nodes.append(node)
        begin, _ = self._spans.get(node.id, (self._time, 0))
        self._spans[node.id] = (begin, self._time)
        if isinstance(node.ctx, ast.Store):
            self._stored.add(node.id)

    def _comprehension(self, node: ast.ListComp | ast.DictComp) -> None:
        """What is read within it, but for what it goes over, is read by another function."""
        first = node.generators[0]
        self._visit(first.iter)
        within: list[ast.AST] = [first.target, *first.ifs, *node.generators[1:]]
        within += [node.elt] if isinstance(node, ast.ListComp) else [node.key, node.value]
        self._pinned |= {one.id for one in walk_all(within) if isinstance(one, ast.Name)}


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Dict):
        for pair in zip(node.keys, node.values, strict=True):
            yield from (one for one in pair if one is not None)
        return
    for field in _ORDER.get(type(node), node._fields):
        value = getattr(node, field, None)
        if isinstance(value, ast.AST):
            yield value
        elif isinstance(value, list):
            yield from (one for one in value if isinstance(one, ast.AST))


def _slots(spans: dict[str, _Span]) -> dict[str, str]:
    """Which name each variable goes by."""
    found: dict[str, str] = {}
    free: list[tuple[int, str]] = []
    for name, (begin, end) in sorted(spans.items(), key=lambda one: one[1]):
        at = next((number for number, (until, _) in enumerate(free) if until < begin), None)
        if at is None:
            free.append((end, name))
            found[name] = name
        else:
            found[name] = free[at][1]
            free[at] = (end, found[name])
    return found
