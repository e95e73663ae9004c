"""What is read more than once is read once: parts of maps get a variable where all that read them see it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from nexeon.mapping.filtering import KIND, LONE
from nexeon.mapping.pytree import (
    Block,
    at_line,
    blocks_of,
    called,
    compared,
    got,
    is_missing,
    is_name,
    replaced,
    stores_of,
    walk_all,
)

_Part = tuple[str, str | int]
"""(map or list, key or position)."""
_FEWEST: Final = 2


def shared(function: ast.FunctionDef, fresh: Callable[[], str], *, maps_only: bool = False) -> None:
    """Rewrites the function: first the maps in maps, then the values in maps."""
    stores = stores_of(function)
    while _Maps(stores, fresh).block(function.body):
        pass
    if not maps_only:
        _Values(stores, fresh).block(function.body)
        maps = _Maps(stores, fresh)
        for one in function.body:
            replaced(one, maps.fact)


def shared_kinds(function: ast.FunctionDef, fresh: Callable[[], str]) -> None:
    """The same for what filters ask of a list's only item."""
    calls = [called(one, "filter_where", "filter_reject") for one in walk_all(function.body)]
    if len(calls) - calls.count(None) >= _FEWEST:
        _Lone(stores_of(function), fresh).block(function.body)


class _Sharing:
    """One kind of reading."""

    def __init__(self, stores: Counter[str], fresh: Callable[[], str]) -> None:
        self._stores = stores
        self._fresh = fresh

    def part(self, node: ast.AST) -> _Part | None:
        """What the node reads, if it is of this kind."""
        raise NotImplementedError

    def kept(self, part: _Part) -> ast.expr:
        """What the variable is."""
        raise NotImplementedError

    def again(self, node: ast.expr, variable: str) -> ast.expr:
        """The node, with the variable."""
        raise NotImplementedError

    def typed(self, statement: ast.stmt, part: _Part) -> bool:
        """Does for the part all that is needed, where a statement asks for its type first, and says so."""
        return False

    def worth(self, part: _Part, block: Block) -> bool:
        """Whether a variable is better."""
        return True

    def block(self, block: Block) -> bool:
        changed = False
        position = 0
        each = [Counter(self._parts([statement])) for statement in block]
        left: Counter[_Part] = Counter()
        for one in each:
            left.update(one)
        while position < len(block):
            statement, within = block[position], each[position]
            here = Counter(self._parts(_head(statement))) if within else within
            made_here = _stored(statement) if within else set()
            for part, count in within.items():
                once = self._stores[part[0]] == 1 or part[0] == "ctx"
                if not once or left[part] < _FEWEST or part[0] in made_here:
                    continue
                if count == left[part] and (not here[part] or self.typed(statement, part)):
                    continue  # all within one of its blocks
                if not self.worth(part, block[position:]):
                    continue
                variable = self._fresh()
                self._stores[variable] = 1
                replacing = _Replacing(self, part, variable)
                for number in range(position, len(block)):
                    if each[number][part]:
                        block[number] = replacing.visit(block[number])
                        each[number][part] = 0
                left[part] = 0
                made = ast.Assign([ast.Name(variable, ast.Store())], self.kept(part))
                block.insert(position, at_line(made, statement))
                each.insert(position, Counter())
                position += 1
                changed = True
            left.subtract(within)
            statement = block[position]
            if within:
                for inner in blocks_of(statement):
                    changed |= self.block(inner)
            position += 1
        return changed

    def _parts(self, nodes: Iterable[ast.AST]) -> list[_Part]:
        return [found for one in walk_all(nodes) if (found := self.part(one)) is not None]


class _Maps(_Sharing):
    """`t.get('b', MISSING) if type((t := m.get('a'))) is dict else MISSING`."""

    def part(self, node: ast.AST) -> _Part | None:
        if type(node) is not ast.IfExp or not is_missing(node.orelse):
            return None
        inner = got(node.body)
        pair = compared(node.test, ast.Is)
        call = called(pair[0], "type") if pair is not None and is_name(pair[1], "dict") else None
        if inner is None or call is None or not isinstance(call.args[0], ast.NamedExpr):
            return None
        kept = call.args[0]
        found = got(kept.value)
        if found is None or inner[0] != kept.target.id or not (found[2] is None or is_missing(found[2])):
            return None
        return found[0], found[1]

    def kept(self, part: _Part) -> ast.expr:
        if part[0] == "ctx":
            return _fact(part[1])
        own = self._fresh()
        read = ast.Call(ast.Attribute(ast.Name(part[0], ast.Load()), "get", ast.Load()), [ast.Constant(part[1])], [])
        kept = ast.NamedExpr(ast.Name(own, ast.Store()), read)
        kind = ast.Call(ast.Name("type", ast.Load()), [kept], [])
        test = ast.Compare(kind, [ast.Is()], [ast.Name("dict", ast.Load())])
        return ast.IfExp(test, ast.Name(own, ast.Load()), ast.Name("EMPTY", ast.Load()))

    def fact(self, node: ast.AST) -> ast.expr | None:
        """What is read once from a map of the context."""
        part = self.part(node)
        if part is None or part[0] != "ctx":
            return None
        assert isinstance(node, ast.IfExp)
        assert isinstance(node.body, ast.Call)
        return at_line(ast.Call(ast.Attribute(_fact(part[1]), "get", ast.Load()), node.body.args, []), node)

    def again(self, node: ast.expr, variable: str) -> ast.expr:
        assert isinstance(node, ast.IfExp)
        assert isinstance(node.body, ast.Call)
        read = ast.Attribute(ast.Name(variable, ast.Load()), "get", ast.Load())
        return at_line(ast.Call(read, node.body.args, []), node)


def _fact(name: str | int) -> ast.expr:
    """A map of the context, which is there or not, and never anything else."""
    read = ast.Call(ast.Attribute(ast.Name("ctx", ast.Load()), "get", ast.Load()), [ast.Constant(name)], [])
    return ast.BoolOp(ast.Or(), [read, ast.Name("EMPTY", ast.Load())])


class _Values(_Sharing):
    """`m.get('a', MISSING)`, `'a' in m` and `m['a']` beside it, and `item(l, 0)`."""

    def part(self, node: ast.AST) -> _Part | None:
        kind = type(node)
        if kind is ast.Call:
            found = got(node)
            if found is not None:
                return (found[0], found[1]) if is_missing(found[2]) else None
            call = called(node, "item")
            if call is not None and isinstance(call.args[0], ast.Name) and isinstance(call.args[1], ast.Constant):
                return call.args[0].id, call.args[1].value  # type: ignore[return-value]
        elif kind is ast.Compare:
            pair = compared(node, ast.In)
            if pair is not None and isinstance(pair[0], ast.Constant) and isinstance(pair[1], ast.Name):
                return pair[1].id, pair[0].value  # type: ignore[return-value]
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and isinstance(node.ctx, ast.Load):
            key = node.slice.value if isinstance(node.slice, ast.Constant) else None
            return (node.value.id, key) if isinstance(key, str) else None
        return None

    def kept(self, part: _Part) -> ast.expr:
        owner = ast.Name(part[0], ast.Load())
        if type(part[1]) is not str:
            return ast.Call(ast.Name("item", ast.Load()), [owner, ast.Constant(part[1])], [])
        read = ast.Attribute(owner, "get", ast.Load())
        return ast.Call(read, [ast.Constant(part[1]), ast.Name("MISSING", ast.Load())], [])

    def again(self, node: ast.expr, variable: str) -> ast.expr:
        value: ast.expr = ast.Name(variable, ast.Load())
        if isinstance(node, ast.Compare):
            value = ast.Compare(value, [ast.IsNot()], [ast.Name("MISSING", ast.Load())])
        return at_line(value, node)

    def worth(self, part: _Part, block: Block) -> bool:
        """More than `if 'a' in m: x = m['a']`."""
        return sum(type(one) is ast.Call and self.part(one) == part for one in walk_all(block)) > 0

    def typed(self, statement: ast.stmt, part: _Part) -> bool:
        """`if type(m.get('a', MISSING)) is T: …` becomes `if 'a' in m and type(o := m['a']) is T: …`."""
        if not isinstance(statement, ast.If) or type(part[1]) is not str:
            return False
        test = statement.test
        first = test.values[0] if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else test
        pair = compared(first, ast.Is, ast.In)
        call = called(pair[0], "type") if pair is not None else None
        if call is None or self.part(call.args[0]) != part or self._parts(statement.orelse).count(part):
            return False
        variable = self._fresh()
        self._stores[variable] = 1
        read = ast.Subscript(ast.Name(part[0], ast.Load()), ast.Constant(part[1]), ast.Load())
        there = ast.Compare(ast.Constant(part[1]), [ast.In()], [ast.Name(part[0], ast.Load())])
        call.args = [at_line(ast.NamedExpr(ast.Name(variable, ast.Store()), read), call)]
        rest = test.values[1:] if isinstance(test, ast.BoolOp) and first is not test else []
        replacing = _Replacing(self, part, variable)
        rest = [replacing.visit(one) for one in rest]
        statement.test = at_line(ast.BoolOp(ast.And(), [there, first, *rest]), statement)
        statement.body = [replacing.visit(one) for one in statement.body]
        return True


class _Lone(_Sharing):
    """`where(l, 'key', 'a')` and `reject(l, 'key', 'b')`: of a list of one, as most are, the key is read once."""

    def part(self, node: ast.AST) -> _Part | None:
        call = called(node, "filter_where", "filter_reject") if type(node) is ast.Call else None
        if call is None or len(call.args) < _FEWEST + 1 or not isinstance(call.args[0], ast.Name):
            return None
        words = [one.value for one in call.args[1:] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        return (call.args[0].id, words[0]) if len(words) == len(call.args) - 1 else None

    def kept(self, part: _Part) -> ast.expr:
        return ast.Call(ast.Name(KIND, ast.Load()), [ast.Name(part[0], ast.Load()), ast.Constant(part[1])], [])

    def again(self, node: ast.expr, variable: str) -> ast.expr:
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Name)
        name = ast.Name(LONE + node.func.id.removeprefix("filter_"), ast.Load())
        return at_line(ast.Call(name, [ast.Name(variable, ast.Load()), *node.args], []), node)


class _Replacing:
    def __init__(self, sharing: _Sharing, part: _Part, variable: str) -> None:
        self._sharing = sharing
        self._part = part
        self._variable = variable

    def visit(self, node: Any) -> Any:
        return replaced(node, self._change)

    def _change(self, node: ast.AST) -> ast.expr | None:
        if self._sharing.part(node) != self._part:
            return None
        assert isinstance(node, ast.expr)
        return self._sharing.again(node, self._variable)


def _stored(statement: ast.stmt) -> set[str]:
    return {one.id for one in walk_all([statement]) if type(one) is ast.Name and type(one.ctx) is ast.Store}


def _head(statement: ast.stmt) -> list[ast.AST]:
    """What of a statement is surely evaluated, but for its blocks."""
    if isinstance(statement, ast.If):
        return [statement.test]
    if isinstance(statement, ast.For):
        return [statement.iter]
    return [statement]
