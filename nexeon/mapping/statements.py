"""What the statements of compiled functions do: the questions that the optimiser asks of them."""

from __future__ import annotations

import ast

from nexeon.mapping.pytree import (
    Block,
    Names,
    assigned,
    at_line,
    called,
    clones,
    compared,
    ends,
    got,
    is_missing,
    is_name,
    mentions,
    named,
    reads,
    replaced,
    walk_all,
)


def renamed(function: ast.FunctionDef, names: Names) -> bool:
    """`(t := v)` of a name becomes that name, wherever it is read."""
    instead: dict[str, ast.expr] = {}
    for target, value in names.aliases:
        known = value in ("MISSING", "EMPTY") or names.once(value)
        if known and names.once(target):
            instead[target] = ast.Name(value, ast.Load())
    if not instead:
        return False
    instead = resolved(instead)

    def plain(node: ast.AST) -> ast.AST | None:
        kind = type(node)
        if kind is ast.Name:
            other = instead.get(node.id) if type(node.ctx) is ast.Load else None  # type: ignore[attr-defined]
            return named(other.id, node) if isinstance(other, ast.Name) else None
        if isinstance(node, ast.NamedExpr) and node.target.id in instead:
            return replaced(node.value, plain)
        return None

    for one in function.body:
        replaced(one, plain)
    return True


def branches(name: str, value: ast.expr, at: ast.AST) -> Block:
    """`name = value`, as statements."""
    if not isinstance(value, ast.IfExp):
        return [assigned(name, value, at)]
    return [at_line(ast.If(value.test, branches(name, value.body, at), branches(name, value.orelse, at)), at)]


def both_asked(name: str, value: ast.expr, question: ast.stmt) -> ast.If | None:
    """`x = MISSING if t else v` and `if x: …, else: …` become `if not t and (x := v): …, else: …`."""
    if not isinstance(value, ast.IfExp) or not isinstance(question, ast.If) or not is_name(question.test, name):
        return None
    if not question.orelse or mentions(question.orelse, name) or is_missing(value.body) is is_missing(value.orelse):
        return None
    absent = is_missing(value.body)
    test: ast.expr = ast.UnaryOp(ast.Not(), value.test) if absent else value.test
    kept = ast.NamedExpr(ast.Name(name, ast.Store()), value.orelse if absent else value.body)
    return at_line(ast.If(ast.BoolOp(ast.And(), [test, kept]), question.body, question.orelse), question)


def resolved(instead: dict[str, ast.expr]) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    for name, value in instead.items():
        while isinstance(value, ast.Name) and value.id in instead:
            value = instead[value.id]
        found[name] = value
    return found


def begins(statement: ast.stmt, only_missing: bool = False) -> bool:
    """`x = MISSING`, `x = {}`, `x = []`: the start of something."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
        return False
    value = statement.value
    empty = (isinstance(value, ast.Dict) and not value.keys) or (isinstance(value, ast.List) and not value.elts)
    return is_missing(value) or (empty and not only_missing)


def idle(block: Block) -> bool:
    return all(isinstance(one, ast.Pass) for one in block)


def harmless(node: ast.expr) -> bool:
    """Whether it can be left out: it neither fails nor does anything."""
    for one in walk_all([node]):
        if isinstance(one, ast.Call):
            method = isinstance(one.func, ast.Attribute) and one.func.attr in ("get", "issuperset")
            if not method and not called(one, "type", "nothing", "is_empty"):
                return False
        elif isinstance(one, (ast.NamedExpr, ast.ListComp, ast.DictComp)):
            return False
    return True


def subject(test: ast.expr) -> str | None:
    """The name that a test asks about: is it there, is it a list, is it more than nothing."""
    if isinstance(test, ast.Name):
        return test.id
    pair = compared(test, ast.Is, ast.IsNot)
    if pair is not None:
        if isinstance(pair[0], ast.Name) and is_missing(pair[1]):
            return pair[0].id
        call = called(pair[0], "type")
        if call is not None and isinstance(call.args[0], ast.Name) and is_name(pair[1], "list"):
            return call.args[0].id
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        call = called(test.operand, "nothing")
        if call is not None and isinstance(call.args[0], ast.Name):
            return call.args[0].id
    return None


def first_walrus(test: ast.expr) -> ast.NamedExpr | None:
    """The assignment that a question about its value begins with."""
    pair = compared(test, ast.Is, ast.IsNot)
    if pair is not None:
        if isinstance(pair[0], ast.NamedExpr) and is_missing(pair[1]):
            return pair[0]
        call = called(pair[0], "type")
        if call is not None and is_name(pair[1], "list") and isinstance(call.args[0], ast.NamedExpr):
            return call.args[0]
    if isinstance(test, ast.UnaryOp):
        call = called(test.operand, "nothing")
        if call is not None and isinstance(call.args[0], ast.NamedExpr):
            return call.args[0]
    return None


def without_walrus(test: ast.expr) -> ast.expr:
    class Plain(ast.NodeTransformer):
        done = False

        def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
            if self.done:
                return node
            self.done = True
            return named(node.target.id, node)

    made = Plain().visit(test)
    assert isinstance(made, ast.expr)
    return made


def given_values(block: Block, name: str) -> list[ast.expr] | None:
    """The values that a block gives a name, each at the end of a way through it; None where it is not so."""
    found: list[ast.expr] = []

    def go(part: Block) -> bool:
        if mentions(part[:-1], name):
            return False
        last = part[-1] if part else None
        if isinstance(last, ast.Assign) and is_name(last.targets[0], name):
            found.append(last.value)
            return not mentions([last.value], name)
        if isinstance(last, ast.If) and mentions([last], name):
            return not mentions([last.test], name) and go(last.body) and go(last.orelse)
        return last is None or not mentions([last], name)

    return found if go(block) else None


def always(block: Block, name: str) -> bool:
    """Whether every way through the block that ends gives the name a value."""
    last = block[-1] if block else None
    if isinstance(last, ast.If):
        return always(last.body, name) and always(last.orelse, name)
    return (isinstance(last, ast.Assign) and is_name(last.targets[0], name)) or ends(block)


def taken(statement: ast.stmt, name: str) -> bool:
    """Whether a statement only puts the name's value somewhere."""
    if isinstance(statement, (ast.Return, ast.Assign)):
        return is_name(statement.value, name)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        call = statement.value
        return isinstance(call.func, ast.Attribute) and len(call.args) == 1 and is_name(call.args[0], name)
    return False


def guarded_by(value: ast.expr) -> str | None:
    """`x` of `x if type(x) is dict else EMPTY`."""
    if isinstance(value, ast.IfExp) and is_name(value.orelse, "EMPTY") and isinstance(value.body, ast.Name):
        pair = compared(value.test, ast.Is)
        call = called(pair[0], "type") if pair else None
        if call is not None and is_name(call.args[0], value.body.id):
            return value.body.id
    return None


def same_test(question: ast.If, name: str, value: ast.expr) -> Block | None:
    """`x = m.get('k', MISSING)` and `if x is not MISSING` become `if 'k' in m`."""
    found = got(value)
    different = compared(question.test, ast.IsNot)
    if found is None or not is_missing(found[2]) or different is None or question.orelse:
        return None
    test = ast.Compare(ast.Constant(found[1]), [ast.In()], [ast.Name(found[0], ast.Load())])
    read = ast.Subscript(ast.Name(found[0], ast.Load()), ast.Constant(found[1]), ast.Load())
    at_line(read, value)
    if len(question.body) == 1 and taken(question.body[0], name):
        body = clones(question.body, {name: read})
    else:
        body = [assigned(name, read, value), *question.body]
    return [at_line(ast.If(test, body, []), question)]


def put_under(statement: ast.stmt, name: str) -> tuple[ast.expr, ast.expr] | None:
    """(key, value) of `name[key] = value`."""
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Subscript):
        place = statement.targets[0]
        if is_name(place.value, name) and isinstance(place.slice, ast.Constant):
            return place.slice, statement.value
    return None


def new_key(value: ast.Dict, key: ast.expr) -> bool:
    known = [one.value for one in value.keys if isinstance(one, ast.Constant)]
    return isinstance(key, ast.Constant) and len(known) == len(value.keys) and key.value not in known


def appended(statement: ast.stmt, name: str) -> ast.expr | None:
    """What `name.append(…)` appends."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        call = statement.value
        if isinstance(call.func, ast.Attribute) and call.func.attr == "append" and is_name(call.func.value, name):
            return call.args[0]
    return None


def extended(statement: ast.stmt) -> tuple[str, ast.expr] | None:
    """(list, what it is extended by) of `list.extend(…)`."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        function = statement.value.func
        if isinstance(function, ast.Attribute) and function.attr == "extend" and isinstance(function.value, ast.Name):
            return function.value.id, statement.value.args[0]
    return None


def only_added(block: Block, name: str) -> bool:
    """Whether a list is only ever appended to and extended."""
    places = 0
    for one in walk_all(block):
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call) and isinstance(one.value.func, ast.Attribute):
            places += is_name(one.value.func.value, name) and one.value.func.attr in ("append", "extend")
    return places == reads(block, name)


def only_put(block: Block, name: str) -> bool:
    """Whether a name is only ever `name[…] = …`."""
    places = 0
    for one in walk_all(block):
        if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Subscript):
            places += is_name(one.targets[0].value, name)
    return places == reads(block, name)


def begun_with(out: Block, name: str, kind: type[ast.expr]) -> int | None:
    """Where a name was last given a map (or a list), written out."""
    for position in range(len(out) - 1, -1, -1):
        one = out[position]
        if isinstance(one, ast.Assign) and is_name(one.targets[0], name):
            return position if isinstance(one.value, kind) else None
    return None


def typed_test(name: str, value: ast.expr, follower: ast.If) -> ast.If | None:
    """`x = m.get('k', MISSING)` and `if type(x) is T` as `if 'k' in m and type(x := m['k']) is T`."""
    found = got(value)
    test = follower.test
    first = test.values[0] if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else test
    pair = compared(first, ast.Is, ast.In)
    call = called(pair[0], "type") if pair is not None else None
    if found is None or not is_missing(found[2]) or call is None or not is_name(call.args[0], name):
        return None
    rest = test.values[1:] if isinstance(test, ast.BoolOp) and first is not test else []
    read = ast.Subscript(ast.Name(found[0], ast.Load()), ast.Constant(found[1]), ast.Load())
    there = ast.Compare(ast.Constant(found[1]), [ast.In()], [ast.Name(found[0], ast.Load())])
    assert isinstance(first, ast.Compare)
    kept = ast.NamedExpr(ast.Name(name, ast.Store()), read)
    asked = ast.Compare(ast.Call(call.func, [kept], []), first.ops, first.comparators)
    made = ast.If(ast.BoolOp(ast.And(), [there, asked, *rest]), follower.body, follower.orelse)
    return at_line(made, follower)
