"""Maps and lists that are written out: begun where they are filled, and merged by filling them."""

from __future__ import annotations

import ast

from nexeon.mapping.pytree import (
    Block,
    Names,
    assigned,
    at_line,
    called,
    clones,
    ends,
    is_name,
    mentions,
    named,
    reads,
)
from nexeon.mapping.statements import (
    appended,
    begins,
    begun_with,
    extended,
    new_key,
    only_added,
    only_put,
    put_under,
    subject,
)


class Displays:
    """What the optimiser does about them. Each step gives the statements that come instead, or None."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.instead: dict[str, ast.expr] = {}
        """Names that were only names for something else, and for what."""

    def later(self, statement: ast.Assign, follower: ast.stmt, waiting: Block) -> Block | None:
        """An empty start moves behind what has nothing to do with it."""
        name = statement.targets[0].id  # type: ignore[attr-defined]
        if ends([follower]) or not mentions(waiting[:-1], name):
            return None
        waiting.pop()
        return [follower, statement]

    # displays

    def display(self, name: str, statement: ast.Assign, value: ast.Dict | ast.List, waiting: Block) -> Block | None:
        follower = waiting[-1]
        if not (value.keys if isinstance(value, ast.Dict) else value.elts) and self.names.once(name):
            within = self._within(name, statement, follower, waiting)
            if within is not None:
                return within
        if not mentions([follower], name):
            empty = not (value.keys if isinstance(value, ast.Dict) else value.elts)
            passes = not begins(follower) or (isinstance(value, ast.Dict) and _begins_list(follower))
            return self.later(statement, follower, waiting) if empty and passes else None
        if isinstance(value, ast.Dict):
            if not value.keys and self._same_map(name, follower):
                waiting.pop()
                return []
            put = put_under(follower, name)
            if put is not None and not mentions([put[1]], name) and new_key(value, put[0]):
                waiting.pop()
                made = ast.Dict([*value.keys, put[0]], [*value.values, put[1]])
                return [assigned(name, at_line(made, statement), statement)]
            return self._optional(name, statement, value, follower, waiting)
        added = appended(follower, name)
        if added is not None and not mentions([added], name):
            waiting.pop()
            return [assigned(name, at_line(ast.List([added], ast.Load()), statement), statement)]
        return None

    def _within(self, name: str, statement: ast.Assign, follower: ast.stmt, waiting: Block) -> Block | None:
        """What is begun empty, filled in one branch and then asked whether it is, is begun in that branch."""
        question = waiting[-2] if len(waiting) > 1 else None
        if not isinstance(follower, ast.If) or follower.orelse or mentions([follower.test], name):
            return None
        if not isinstance(question, ast.If) or question.orelse or not is_name(question.test, name):
            return None
        if ends(follower.body) or reads([follower, question], name) != self.names.loads[name]:
            return None
        del waiting[-2:]
        return [at_line(ast.If(follower.test, [statement, *follower.body, question], []), follower)]

    def _same_map(self, name: str, follower: ast.stmt) -> bool:
        """Whether an empty map is first merged with one that nobody else has: then it is that one."""
        call = called(follower.value, "merge_into") if isinstance(follower, ast.Expr) else None
        part = call.args[1] if call is not None and is_name(call.args[0], name) else None
        if not isinstance(part, ast.Name) or not self.names.once(part.id) or not self.names.once(name):
            return False
        made = self.names.values[part.id][0]
        if not isinstance(made, ast.Dict) or self.names.loads[part.id] != self.names.puts[part.id] + 1:
            return False
        self.instead[name] = part
        return True

    def _optional(
        self, name: str, statement: ast.Assign, value: ast.Dict, follower: ast.stmt, waiting: Block
    ) -> Block | None:
        """A map of one field, wanted only with it: where the field is, is where the map is."""
        if value.keys or len(waiting) < 2 or not isinstance(follower, ast.If) or follower.orelse:
            return None
        question = waiting[-2]
        if not isinstance(question, ast.If) or self._asks_with(question, name, follower) or question.orelse:
            return None
        put = put_under(follower.body[-1], name)
        if put is None or reads([follower], name) != 1:
            return None
        waiting.pop()
        waiting.pop()
        made = ast.Dict([put[0]], [put[1]])
        body = [
            *follower.body[:-1],
            assigned(name, at_line(made, follower.body[-1]), follower.body[-1]),
            *question.body,
        ]
        return [at_line(ast.If(follower.test, body, []), follower)]

    def _asks_with(self, question: ast.If, name: str, follower: ast.stmt) -> bool:
        return subject(question.test) != name or reads([question, follower], name) != self.names.loads[name]

    # merges

    def merge(self, statement: ast.Expr, out: Block) -> Block | None:
        call = called(statement.value, "merge_into")
        if call is None or not isinstance(call.args[0], ast.Name) or not isinstance(call.args[1], ast.Name):
            return None
        target, part = call.args[0].id, call.args[1].id
        begun = begun_with(out, part, ast.Dict)
        if begun is None or not self.names.once(part):
            return None
        rest = out[begun + 1 :]
        made = out[begun].__dict__["value"]
        if mentions(rest, target) or mentions([made], target):
            return None
        if self.names.loads[part] != reads(rest, part) + 1 or not only_put(rest, part):
            return None
        fresh = clones(rest, {part: ast.Name(target, ast.Load())})
        puts: Block = []
        for key, one in zip(made.keys, made.values, strict=True):
            place = ast.Subscript(ast.Name(target, ast.Load()), key, ast.Store())
            puts.append(at_line(ast.Assign([place], one), out[begun]))
        del out[begun:]
        return [*puts, *fresh]

    def joined(self, statement: ast.Expr, out: Block) -> Block | None:
        """A list that another is extended by: what is put in it goes to the other at once."""
        found = extended(statement)
        if found is None:
            return None
        target, part = found
        if isinstance(part, ast.List):
            return [self._added(target, one, statement) for one in part.elts]
        begun = begun_with(out, part.id, ast.List) if isinstance(part, ast.Name) else None
        if begun is None or not isinstance(part, ast.Name) or not self.names.once(part.id):
            return None
        rest, name = out[begun + 1 :], part.id
        if mentions(out[begun:], target) or self.names.loads[name] != reads(rest, name) + 1:
            return None
        if not only_added(rest, name):
            return None
        first = [self._added(target, one, out[begun]) for one in out[begun].__dict__["value"].elts]
        fresh = clones(rest, {name: ast.Name(target, ast.Load())})
        del out[begun:]
        return [*first, *fresh]

    def _added(self, target: str, value: ast.expr, at: ast.stmt) -> ast.stmt:
        append = ast.Attribute(named(target, at), "append", ast.Load())
        return at_line(ast.Expr(ast.Call(append, [value], [])), at)


def _begins_list(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and isinstance(statement.value, ast.List)
