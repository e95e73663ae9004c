"""Python trees of compiled mappings: copies, what names are read and written, and which kinds a value can be of."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar

Block = list[ast.stmt]
Kinds = frozenset[str]
_N = TypeVar("_N", bound=ast.AST)

ANY: Final[Kinds] = frozenset({"missing", "none", "dict", "list", "str", "bool", "num", "other"})
_DICT: Final[Kinds] = frozenset({"dict"})
_LIST: Final[Kinds] = frozenset({"list"})
_STR: Final[Kinds] = frozenset({"str"})
_BOOL: Final[Kinds] = frozenset({"bool"})
_NUM: Final[Kinds] = frozenset({"num"})
_MISSING: Final[Kinds] = frozenset({"missing"})
_NONE: Final[Kinds] = frozenset()
_TYPES: Final[dict[str, Kinds]] = {"dict": _DICT, "list": _LIST, "str": _STR, "bool": _BOOL}
_LISTS: Final = "where reject chunk merge_adjacent flatten compact unique sort reverse pluck items keys values split"
_TEXTS: Final = "fit_id json join trim lower upper string gateway_id"
_HELPERS: Final[dict[str, Kinds]] = {
    **dict.fromkeys(("filter_" + one for one in _LISTS.split()), _LIST),
    **dict.fromkeys(("filter_" + one for one in _TEXTS.split()), _STR),
    **dict.fromkeys(("filter_omit", "filter_pick", "filter_index", "present_fields", "without"), _DICT),
    **dict.fromkeys(("equal", "contains", "is_empty", "nothing", "less", "at_most", "more", "at_least"), _BOOL),
    "present_items": _LIST,
    **dict.fromkeys(("lone_where", "lone_reject"), _LIST),
    "builtin_new_id": _STR,
    **dict.fromkeys(("other_where", "other_reject", "other_pluck"), _LIST),
    **dict.fromkeys(("filter_length", "other_length", "len"), _NUM),
    "concat": _STR | _MISSING,
    "other_fit_id": _STR,
    "cut": _STR | _LIST | _MISSING,
}
RUNS: Final = "runs_apart"
"""The call that gives a list's items, runs of one kind among them as lists."""
_LEAVES: Final = frozenset({"ctx", "op", "ops", "name", "type_comment", "type_params", "attr", "id", "arg", "kind"})
_KINDS_OF_NODES: Final[list[type[ast.AST]]] = [*ast.expr.__subclasses__(), *ast.stmt.__subclasses__(), ast.keyword]
_CHILDREN: Final[dict[type[ast.AST], tuple[str, ...]]] = {
    kind: tuple(field for field in kind._fields if field not in _LEAVES) for kind in _KINDS_OF_NODES
} | {ast.FunctionDef: ("body",), ast.comprehension: ("target", "iter", "ifs")}
_SHARED: Final = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)


def clone(node: _N, names: Mapping[str, ast.expr] | None = None) -> _N:
    """A copy in which names are replaced; one that is written to is replaced by a name."""
    if names and isinstance(node, ast.Name) and node.id in names:
        other = names[node.id]
        if isinstance(node.ctx, ast.Store):
            assert isinstance(other, ast.Name)
            return ast.copy_location(ast.Name(other.id, ast.Store()), node)  # type: ignore[return-value]
        return clone(other)  # type: ignore[return-value]
    kind = type(node)
    made = kind.__new__(kind)
    fields = made.__dict__
    fields.update(node.__dict__)
    if kind is ast.Name or kind is ast.Constant:
        return made
    for field in _CHILDREN[kind]:
        value = fields.get(field)
        if type(value) is list:
            fields[field] = [clone(item, names) if item is not None else None for item in value]
        elif value is not None:
            fields[field] = clone(value, names)
    return made


def clones(block: Iterable[ast.stmt], names: Mapping[str, ast.expr] | None = None) -> Block:
    return [clone(one, names) for one in block]


def replaced(node: ast.AST, change: Callable[[ast.AST], ast.AST | None]) -> ast.AST:
    """The node, with what `change` gives in place of it or of what is in it; None leaves a node as it is."""
    made = change(node)
    if made is not None:
        return made
    kind = type(node)
    if kind is ast.Name or kind is ast.Constant:
        return node
    fields = node.__dict__
    for field in _CHILDREN[kind]:
        value = fields.get(field)
        if type(value) is list:
            fields[field] = [replaced(one, change) if one is not None else None for one in value]
        elif value is not None:
            fields[field] = replaced(value, change)
    return node


def named(identifier: str, at: ast.AST) -> ast.Name:
    """A name that is read, on the line of another node."""
    return at_line(ast.Name(identifier, ast.Load()), at)


def at_line(node: _N, at: ast.AST) -> _N:
    """The node, and what in it has no place, on the line of another node."""
    line = at.__dict__.get("lineno", 1)
    stack: list[ast.AST] = [node]
    while stack:
        one = stack.pop()
        if isinstance(one, (ast.expr, ast.stmt, ast.keyword, ast.arg)):
            if "lineno" in one.__dict__:
                continue
            one.__dict__.update(lineno=line, end_lineno=line, col_offset=0, end_col_offset=0)
        stack += ast.iter_child_nodes(one)
    return node


def type_is(value: ast.expr, kind: str) -> ast.Compare:
    """`type(value) is kind`."""
    return ast.Compare(ast.Call(ast.Name("type", ast.Load()), [value], []), [ast.Is()], [ast.Name(kind, ast.Load())])


def assigned(identifier: str, value: ast.expr, at: ast.AST) -> ast.Assign:
    return at_line(ast.Assign([ast.Name(identifier, ast.Store())], value), at)


def blocks_of(statement: ast.stmt) -> list[Block]:
    """The blocks that are a statement's own."""
    both = (getattr(statement, "body", None), getattr(statement, "orelse", None))
    return [block for block in both if isinstance(block, list)]


def blocks_in(block: Block) -> Iterator[Block]:
    """The block, and those of its statements, down to the innermost."""
    yield block
    for one in block:
        for inner in blocks_of(one):
            yield from blocks_in(inner)


def walk_all(block: Iterable[ast.AST]) -> list[ast.AST]:
    """Every node of some trees, in no order; without what only says how a name is used or what an operator is."""
    found = list(block)
    for one in found:  # which grows
        kind = type(one)
        if kind is ast.Name or kind is ast.Constant:  # half of all
            continue
        fields = one.__dict__
        for field in _CHILDREN[kind]:
            value = fields.get(field)
            if type(value) is list:
                found += value
            elif value is not None:
                found.append(value)
    return [one for one in found if one is not None] if None in found else found


def stores_of(function: ast.FunctionDef) -> Counter[str]:
    """How often each name is given a value."""
    stores = Counter(argument.arg for argument in function.args.args)
    for one in walk_all(function.body):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            stores[one.id] += 1
    return stores


def reads(block: Iterable[ast.AST], name: str) -> int:
    """How often a name is read."""
    return sum(1 for one in walk_all(block) if type(one) is ast.Name and one.id == name and type(one.ctx) is ast.Load)


def mentions(block: Iterable[ast.AST], name: str) -> bool:
    stack = list(block)
    for one in stack:  # which grows
        kind = type(one)
        if kind is ast.Name:
            if one.id == name:  # type: ignore[attr-defined]
                return True
        elif kind is not ast.Constant:
            fields = one.__dict__
            for field in _CHILDREN[kind]:
                value = fields.get(field)
                if type(value) is list:
                    stack += value
                elif value is not None:
                    stack.append(value)
    return False


def size(block: Iterable[ast.AST]) -> int:
    return sum(1 for _ in walk_all(block))


def is_name(node: ast.AST | None, name: str | None = None) -> bool:
    return isinstance(node, ast.Name) and (name is None or node.id == name)


def is_missing(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Name) and node.id == "MISSING"


def called(node: ast.AST | None, *names: str) -> ast.Call | None:
    """The node, where it is a call of one of these functions."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
        return node
    return None


def got(node: ast.AST | None) -> tuple[str, str, ast.expr | None] | None:
    """(owner, key, otherwise) of `owner.get('key', otherwise)`."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and isinstance(node.func.value, ast.Name)
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ):
        return node.func.value.id, node.args[0].value, node.args[1] if len(node.args) > 1 else None
    return None


def compared(node: ast.AST | None, *operators: type[ast.cmpop]) -> tuple[ast.expr, ast.expr] | None:
    """(left, right) of a comparison of two with one of these operators."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], operators):
        return node.left, node.comparators[0]
    return None


def ends(block: Block) -> bool:
    """Whether nothing after it is reached."""
    if not block:
        return False
    last = block[-1]
    if isinstance(last, ast.If):
        return ends(last.body) and ends(last.orelse)
    return isinstance(last, (ast.Return, ast.Raise))


def looked_at(statement: ast.AST, attribute: str = "get") -> str | None:
    """The name of which it is made sure so that it is a map: `x.get`, which no other value has."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(value, ast.Attribute) and value.attr == attribute and isinstance(value.value, ast.Name):
        return value.value.id
    return None


def _items(over: ast.expr) -> list[ast.expr | None]:
    """What a loop goes over, as values of these kinds."""
    calls = {one.func.id for one in walk_all([over]) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)}
    if RUNS in calls:
        return [ast.Dict([], []), ast.List([], ast.Load())]
    return [ast.List([], ast.Load())] if "filter_chunk" in calls else [None]


def _is_text(node: ast.expr) -> bool:
    """Whether it is a text, or several, written out."""
    words = node.elts if isinstance(node, ast.Tuple) else [node]
    return all(isinstance(one, ast.Constant) and type(one.value) is str for one in words)


class Names:
    """What the names of one function stand for."""

    def __init__(self, function: ast.FunctionDef, facts: Mapping[str, Kinds]) -> None:
        self.facts = facts
        self.loads: Counter[str] = Counter()
        self.puts: Counter[str] = Counter()
        """How often a key of it is set: it is read for that."""
        self.stores: Counter[str] = Counter(argument.arg for argument in function.args.args)
        self.values: dict[str, list[ast.expr | None]] = {argument.arg: [None] for argument in function.args.args}
        self.aliases: list[tuple[str, str]] = []
        """(t, v) of each `(t := v)`."""
        self.looked_at: set[str] = set()
        """What was made sure of to be a map."""
        self._kinds: dict[str, Kinds] = {}
        self.assumed: dict[str, Kinds] = {}
        """What a test has told, where it holds."""
        for node in walk_all(function.body):
            kind = type(node)  # of some hundred thousand nodes
            if kind is ast.Name:
                (self.loads if type(node.ctx) is ast.Load else self.stores)[node.id] += 1  # type: ignore[attr-defined]
            elif kind is ast.Assign:
                target = node.targets[0]  # type: ignore[attr-defined]
                if type(target) is ast.Subscript and type(target.value) is ast.Name:
                    self.puts[target.value.id] += 1
                elif type(target) is ast.Name:
                    self.values.setdefault(target.id, []).append(node.value)  # type: ignore[attr-defined]
            elif kind is ast.NamedExpr:
                assert isinstance(node, ast.NamedExpr)
                self.values.setdefault(node.target.id, []).append(node.value)
                if isinstance(node.value, ast.Name):
                    self.aliases.append((node.target.id, node.value.id))
            elif kind is ast.For:
                assert isinstance(node, ast.For)
                for one in walk_all([node.target]):
                    if isinstance(one, ast.Name):
                        self.values.setdefault(one.id, []).extend(_items(node.iter))
            elif kind is ast.Expr and (name := looked_at(node)) is not None:
                self.looked_at.add(name)

    def forget(self) -> None:
        """Finds out kinds anew: the facts have changed."""
        self._kinds.clear()

    def learn(self, name: str, kinds: Kinds) -> None:
        """Takes it that a name is of these kinds, until facts change."""
        self._kinds[name] = kinds

    def given(self, name: str, value: ast.expr) -> None:
        """Says that the only value of a name is now written so."""
        self.values[name] = [value]
        self._kinds.pop(name, None)

    def once(self, name: str) -> bool:
        """Whether it has one meaning only, in one pass of the loop around it."""
        return self.stores[name] == 1

    def of_name(self, name: str) -> Kinds:
        if name == "EMPTY":
            return _DICT
        if name == "MISSING":
            return _MISSING
        if name in self.looked_at:
            return _DICT
        if name in self.assumed:
            return self.assumed[name]
        if name not in self._kinds:
            self._kinds[name] = ANY  # until it is known: of what is made of itself
            values = self.values.get(name)
            found: Kinds = frozenset()
            for value in values or [None]:
                found |= ANY if value is None else self.kinds(value)
            self._kinds[name] = found
        return self._kinds[name]

    def told(self, test: ast.expr) -> dict[str, Kinds]:
        """What is known of names where a test holds."""
        found: dict[str, Kinds] = {}
        for one in test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]:
            word = compared(one, ast.Eq, ast.In)
            if (
                word is not None
                and isinstance(word[0], ast.Name)
                and self.stores[word[0].id] == 1
                and _is_text(word[1])
            ):
                found[word[0].id] = _STR
            if isinstance(one, ast.Name) and self.stores[one.id] == 1:
                found[one.id] = self.of_name(one.id) - {"missing", "none"}
            pair = compared(one, ast.Is, ast.IsNot)
            if pair is None:
                continue
            assert isinstance(one, ast.Compare)
            call = called(pair[0], "type")
            value = call.args[0] if call is not None else pair[0]
            name = (
                value.id if isinstance(value, ast.Name) else value.target.id if isinstance(value, ast.NamedExpr) else ""
            )
            if self.stores[name] != 1:
                continue
            if call is not None and isinstance(pair[1], ast.Name) and isinstance(one.ops[0], ast.Is):
                kinds = _TYPES.get(pair[1].id, ANY)
            elif call is None and isinstance(one.ops[0], ast.IsNot):
                kind = (
                    "missing"
                    if is_missing(pair[1])
                    else "none"
                    if isinstance(pair[1], ast.Constant) and pair[1].value is None
                    else ""
                )
                kinds = found.get(name, self.of_name(name)) - {kind}
            else:
                continue
            found[name] = kinds
        return found

    def told_not(self, test: ast.expr) -> dict[str, Kinds]:
        """What is known of names where a test does not hold."""
        pair = compared(test, ast.Is, ast.IsNot)
        call = called(pair[0], "type") if pair is not None else None
        value = call.args[0] if call is not None else pair[0] if pair is not None else None
        if pair is None or not isinstance(value, ast.Name) or self.stores[value.id] != 1:
            return {}
        assert isinstance(test, ast.Compare)
        kinds = self.of_name(value.id)
        if isinstance(test.ops[0], ast.Is):
            other = _TYPES.get(pair[1].id, _NONE) if call is not None and isinstance(pair[1], ast.Name) else _NONE
            if other != _STR:
                kinds -= other
            return {value.id: kinds - _MISSING if call is None and is_missing(pair[1]) else kinds}
        return {value.id: _MISSING} if call is None and is_missing(pair[1]) else {}

    def kinds(self, node: ast.expr) -> Kinds:
        handler = _KINDS.get(type(node))
        return handler(self, node) if handler is not None else ANY

    def _constant(self, node: ast.Constant) -> Kinds:
        if node.value is None:
            return frozenset({"none"})
        return {str: _STR, bool: _BOOL, int: _NUM, float: _NUM}.get(type(node.value), ANY)

    def _conditional(self, node: ast.IfExp) -> Kinds:
        known: Kinds | None = node.__dict__.get("kinds")
        if known is not None:
            return known
        if is_name(node.test) and is_name(node.body, node.test.id):  # type: ignore[attr-defined]
            return (self.kinds(node.body) - {"missing", "none"}) | self.kinds(node.orelse)
        tested = compared(node.test, ast.Is)
        if tested is not None and called(tested[0], "type") and is_name(tested[1]):
            subject = tested[0].args[0]  # type: ignore[attr-defined]
            wanted = _TYPES.get(tested[1].id, ANY)  # type: ignore[attr-defined]
            if isinstance(subject, ast.NamedExpr) and is_name(node.body, subject.target.id):
                return wanted | self.kinds(node.orelse)
            if is_name(subject) and is_name(node.body, subject.id):
                return wanted | self.kinds(node.orelse)
        return self.kinds(node.body) | self.kinds(node.orelse)

    def _subscript(self, node: ast.Subscript) -> Kinds:
        """What stands under a key is there."""
        known: Kinds | None = node.__dict__.get("kinds")
        return known if known is not None else ANY - _MISSING

    def _call(self, node: ast.Call) -> Kinds:
        if not isinstance(node.func, ast.Name):
            return ANY
        name = node.func.id
        return self.facts.get(name, ANY) if name.startswith("f_") else _HELPERS.get(name, ANY)


_KINDS: Final[dict[type[ast.expr], Callable[[Names, ast.Any], Kinds]]] = {  # type: ignore[name-defined]
    ast.Constant: Names._constant,
    ast.Name: lambda names, node: names.of_name(node.id),
    ast.NamedExpr: lambda names, node: names.kinds(node.value),
    ast.IfExp: Names._conditional,
    ast.Subscript: Names._subscript,
    ast.Call: Names._call,
    ast.Dict: lambda names, node: _DICT,
    ast.DictComp: lambda names, node: _DICT,
    ast.List: lambda names, node: _LIST,
    ast.ListComp: lambda names, node: _LIST,
    ast.Compare: lambda names, node: _BOOL,
    ast.UnaryOp: lambda names, node: _BOOL if isinstance(node.op, ast.Not) else ANY,
}


def returned(functions: dict[str, ast.FunctionDef]) -> dict[str, Kinds]:
    """The kinds of what each function gives, found by going on until nothing is added."""
    found: dict[str, Kinds] = dict.fromkeys(functions, frozenset())
    values = {
        name: [node.value for node in walk_all(function.body) if isinstance(node, ast.Return) and node.value]
        for name, function in functions.items()
    }
    for name, function in functions.items():  # the last `return MISSING` often cannot be reached
        if ends(function.body[:-1]):
            values[name] = [value for value in values[name] if value is not function.body[-1].value]  # type: ignore[attr-defined]
    known = {name: Names(function, found) for name, function in functions.items()}
    changed = True
    while changed:
        changed = False
        for name, names in known.items():
            names.forget()
            kinds: Kinds = frozenset().union(*(names.kinds(value) for value in values[name]))
            if kinds - found[name]:
                found[name] |= kinds
                changed = True
    return found
