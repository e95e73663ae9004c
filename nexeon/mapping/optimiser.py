"""Compiled functions made faster: what the compiler writes node by node, as a person would write it by hand.

The compiler's own tree is regular, and slow where it knows too little: it asks every value whether it is missing, calls
a function for every `define:`, and builds maps that it merges at once. Here a function is rewritten until nothing
changes: calls of small functions give way to their bodies, what asks for a value's kind is decided where the kind is
known (the question moves into the branches that give the value), and what was only a name for another goes.

The result gives what the plain functions give. Where they fail, and only then, the plain ones say how
(`nexeon.mapping.runtime`): so nothing here keeps a failure's place.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import Final

from nexeon.mapping.displays import Displays
from nexeon.mapping.inlining import Inliner
from nexeon.mapping.matching import read_for_sure, read_late, spelt_out, sunk
from nexeon.mapping.peephole import Peephole, negated
from nexeon.mapping.pytree import (
    Block,
    Kinds,
    Names,
    assigned,
    at_line,
    called,
    clone,
    clones,
    compared,
    ends,
    is_missing,
    is_name,
    mentions,
    named,
    reads,
    returned,
    size,
    walk_all,
)
from nexeon.mapping.sharing import shared, shared_kinds
from nexeon.mapping.slots import share_slots
from nexeon.mapping.statements import (
    always,
    begins,
    both_asked,
    branches,
    extended,
    first_walrus,
    given_values,
    guarded_by,
    harmless,
    idle,
    renamed,
    resolved,
    same_test,
    subject,
    taken,
    typed_test,
    without_walrus,
)
from nexeon.mapping.sure import asked_for_sure, identifiers, lists, turns
from nexeon.mapping.together import together
from nexeon.mapping.trusting import trust, without_needless

_ROUNDS: Final = 12
_COPIES: Final = 60
"""A question is copied into the branches before it while all copies together have at most so many nodes."""


def optimised(tree: ast.Module, wanted: Collection[str] = ()) -> ast.Module:
    """A faster tree of the same functions (of the small ones that others call, those that are `wanted` are there for
    sure); the tree given stays as it is."""
    functions = {one.name: clone(one) for one in tree.body if isinstance(one, ast.FunctionDef)}
    for one in functions.values():
        identifiers(one)
    trust(functions)
    facts = returned(functions)
    inliner = Inliner(functions, wanted)
    made: set[str] = set()
    waiting = [name for name in inliner.order if name not in inliner.within]
    for name in waiting:  # which grows by those whose call did not give way to them
        functions[name] = _Function(functions[name], facts, inliner).made()
        inliner.done(functions[name])
        made.add(name)
        nodes = walk_all(functions[name].body)
        left = {one.id for one in nodes if isinstance(one, ast.Name) and one.id in inliner.within}
        waiting += sorted(left - made - set(waiting))
    for name in made:
        spelt_out(functions[name])
        asked_for_sure(functions[name])
        share_slots(functions[name])
    return ast.Module([one for name, one in functions.items() if name in made], [])


class _Function(Displays):
    """One function on its way to be faster."""

    def __init__(self, function: ast.FunctionDef, facts: dict[str, Kinds], inliner: Inliner) -> None:
        self.function = function
        self.facts = facts
        self.inliner = inliner
        self.changed = False
        self.fresh = inliner.fresh
        super().__init__(Names(function, facts))
        self._guards: dict[str, str] = {}

    def made(self) -> ast.FunctionDef:
        shared(self.function, self.fresh, maps_only=True)
        self._rounds()
        shared(self.function, self.fresh)
        turns(self.function)
        self._rounds()
        lists(self.function)
        shared_kinds(self.function, self.fresh)
        self.function.body = Peephole(Names(self.function, self.facts), self.fresh).block(self.function.body)
        self._rounds()
        together(self.function, Names(self.function, self.facts))
        read_for_sure(self.function.body)
        read_late(self.function)
        sunk(self.function)
        without_needless(self.function.body)
        return self.function

    def _rounds(self) -> None:
        for _ in range(_ROUNDS):
            self.changed = False
            self.names = Names(self.function, self.facts)
            if renamed(self.function, self.names):
                self.names = Names(self.function, self.facts)
            self.instead = {}
            self._guards = {}
            self.function.body = self._block(self.function.body) or [ast.Pass()]
            if self.instead:
                self.function.body = clones(self.function.body, resolved(self.instead))
            if not self.changed:
                return

    def _block(self, block: Block) -> Block:
        out: Block = []
        waiting = block[::-1]
        guards = self._guards
        self._guards = dict(guards)
        while waiting:
            statement = waiting.pop()
            made = self._step(statement, out, waiting)
            if made is not None:
                self.changed = True
                waiting += made[::-1]
                continue
            if isinstance(statement, ast.If):
                known = self.names.assumed
                self.names.assumed = {**known, **self.names.told(statement.test)}
                statement.body = self._block(statement.body) or [at_line(ast.Pass(), statement)]
                self.names.assumed = known
                self.names.assumed = {**known, **self.names.told_not(statement.test)}
                statement.orelse = self._block(statement.orelse)
                self.names.assumed = known
            elif isinstance(statement, ast.For):
                statement.body = self._block(statement.body) or [at_line(ast.Pass(), statement)]
            out.append(statement)
            if ends(out):
                self.changed |= bool(waiting)
                break
        self._guards = guards
        return out

    def _step(self, statement: ast.stmt, out: Block, waiting: Block) -> Block | None:
        """What a statement (and perhaps what waits behind it, which is taken away) becomes, or None as it stays."""
        if isinstance(statement, ast.If):
            return self._if(statement, out, waiting)
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]
            if isinstance(target, ast.Name):
                return self._assign(target.id, statement, out, waiting)
        elif isinstance(statement, ast.Return):
            call = statement.value
            if isinstance(call, ast.Call):
                body = self.inliner.body(call)
                if body is not None:
                    return [*body, at_line(ast.Return(named("MISSING", statement)), statement)]
        elif isinstance(statement, ast.Expr):
            return self.joined(statement, out) if extended(statement) is not None else self.merge(statement, out)
        elif isinstance(statement, ast.Pass) and (out or waiting):
            return []
        return None

    # questions

    def _if(self, statement: ast.If, out: Block, waiting: Block) -> Block | None:
        test = statement.test
        if isinstance(test, ast.Constant):
            return statement.body if test.value else statement.orelse
        if idle(statement.body):
            if not statement.orelse:
                return [] if harmless(test) else None
            return [at_line(ast.If(negated(test), statement.orelse, []), statement)]
        if idle(statement.orelse) and statement.orelse:
            return [at_line(ast.If(test, statement.body, []), statement)]
        first = first_walrus(test)
        if first is not None:
            plain = clone(test, None)
            found = first_walrus(plain)
            assert found is not None
            again = without_walrus(plain)
            return [
                assigned(first.target.id, first.value, statement),
                at_line(ast.If(again, statement.body, statement.orelse), statement),
            ]
        if waiting:
            asked = self._asks(waiting[-1])
            if asked is not None and mentions([statement], asked):
                threaded = self._threaded([statement], asked, waiting[-1], self._before(out, asked))
                if threaded is not None:
                    waiting.pop()
                    return threaded
        return None

    def _before(self, out: Block, name: str) -> bool:
        """Takes `name = MISSING` away from what came before; whether it was there."""
        for position in range(len(out) - 1, -1, -1):
            one = out[position]
            if isinstance(one, ast.Assign) and is_name(one.targets[0], name):
                return is_missing(one.value)
            if mentions([one], name):
                return False
        return False

    def _asks(self, statement: ast.stmt) -> str | None:
        """The name about which a statement, and no other, asks, or which it puts somewhere."""
        name: str | None = None
        if isinstance(statement, ast.If):
            name = subject(statement.test)
        elif isinstance(statement, ast.Expr):
            call = called(statement.value, "merge_into")
            added = extended(statement)
            if call is not None and isinstance(call.args[1], ast.Name):
                name = call.args[1].id
            elif added is not None and isinstance(added[1], ast.Name):
                name = added[1].id
        elif isinstance(statement, (ast.Return, ast.Assign)) and isinstance(statement.value, ast.Name):
            name = statement.value.id
        if name is None or name not in self.names.loads or name == "MISSING" or name.startswith("table_"):
            return None
        return name if reads([statement], name) == self.names.loads[name] else None

    def _threaded(self, block: Block, name: str, question: ast.stmt, begun: bool) -> Block | None:
        """The block with the question asked wherever it gives the name a value."""
        leaves = given_values(block, name)
        if not leaves or (not begun and not always(block, name)):
            return None
        if isinstance(question, ast.If) and not any(
            is_missing(leaf) or self._verdict(question.test, name, leaf) is not None for leaf in leaves
        ):
            return None
        several = sum(not is_missing(leaf) for leaf in leaves) > 1
        if several and len(leaves) * size([question]) > _COPIES * (4 if len(leaves) < 3 else 1):
            return None
        own = {
            one.id
            for one in walk_all([question])
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store) and one.id != name
        }
        own_only = all(self.names.loads[one] == reads([question], one) for one in own)
        if several and not own_only:
            return None

        copied = False

        def leaf(value: ast.expr) -> Block:
            nonlocal copied
            fresh: dict[str, ast.expr] = {one: ast.Name(self.fresh(), ast.Load()) for one in own} if copied else {}
            copied = own_only
            return self._decided(clone(question, fresh), name, value)

        def go(part: Block, at: ast.stmt) -> Block:
            if not part:
                return leaf(named("MISSING", at))
            last = part[-1]
            if isinstance(last, ast.Assign) and is_name(last.targets[0], name):
                return [*part[:-1], *leaf(last.value)]
            if isinstance(last, ast.If) and mentions([last], name):
                made = ast.If(last.test, go(last.body, last) or [ast.Pass()], go(last.orelse, last))
                return [*part[:-1], at_line(made, last)]
            return part if ends(part) else [*part, *leaf(named("MISSING", at))]

        return go(block, block[0])

    def _decided(self, question: ast.stmt, name: str, value: ast.expr) -> Block:
        """A question about a name whose value is known there."""
        if isinstance(question, ast.If):
            verdict = self._verdict(question.test, name, value)
            if verdict is True:
                return self._given(question.body, name, value)
            if verdict is False:
                rest = question.orelse
                if len(rest) == 1 and isinstance(rest[0], ast.If) and subject(rest[0].test) == name:
                    return self._decided(rest[0], name, value)
                return self._given(rest, name, value)
        elif isinstance(question, ast.Expr):
            kinds = self.names.kinds(value)
            if kinds <= {"missing", "none"} and isinstance(value, (ast.Name, ast.Constant)):
                return []
        return self._given([question], name, value)

    def _given(self, block: Block, name: str, value: ast.expr) -> Block:
        block = [one for one in block if not isinstance(one, ast.Pass)]
        if isinstance(value, (ast.Name, ast.Constant)):
            return clones(block, {name: value})
        if not reads(block, name) and harmless(value):
            return block
        if len(block) == 1 and taken(block[0], name) and reads(block, name) == 1:
            return clones(block, {name: value})
        own = self.fresh()
        at = block[0] if block else value
        return [assigned(own, value, at), *clones(block, {name: ast.Name(own, ast.Load())})]

    def _verdict(self, test: ast.expr, name: str, value: ast.expr) -> bool | None:
        """What a test of `subject` gives for a value, where that is sure."""
        kinds = self.names.kinds(value)
        empty = (isinstance(value, ast.Dict) and not value.keys) or (isinstance(value, ast.List) and not value.elts)
        if empty and isinstance(test, (ast.Name, ast.UnaryOp)):
            return False
        if is_name(test):
            return False if kinds <= {"missing", "none"} else None
        different = compared(test, ast.IsNot)
        if different is not None and is_missing(different[1]):
            return True if "missing" not in kinds else False if kinds == {"missing"} else None
        same = compared(test, ast.Is)
        if same is not None and is_missing(same[1]):
            return False if "missing" not in kinds else True if kinds == {"missing"} else None
        if same is not None:  # type(x) is list
            return True if kinds == {"list"} else None if "list" in kinds else False
        if isinstance(test, ast.UnaryOp):  # not nothing(x)
            if kinds == {"missing"}:
                return False
            return True if not kinds & {"missing", "dict", "list"} else None
        return None

    # names

    def _assign(self, name: str, statement: ast.Assign, out: Block, waiting: Block) -> Block | None:
        value = statement.value
        if not self.names.loads[name] and name in self.names.stores and harmless(value):
            return []
        guarded = guarded_by(value)
        if guarded is not None:
            kinds = self.names.of_name(guarded)
            if kinds == {"dict"}:
                return [assigned(name, named(guarded, statement), statement)]
            if "dict" not in kinds:
                return [assigned(name, named("EMPTY", statement), statement)]
            known = self._guards.get(guarded)
            if known is not None and known != name:
                return [assigned(name, named(known, statement), statement)]
            if self.names.once(guarded):
                self._guards[guarded] = name
            inside = waiting[-1] if waiting else None
            if isinstance(inside, ast.If) and self.names.once(name) and name in self.names.loads:
                sure = self.names.told(inside.test).get(guarded, frozenset()) == {"dict"}
                if sure and reads(inside.body, name) == self.names.loads[name]:
                    self.instead[name] = named(guarded, statement)
                    return []
        if not waiting:
            return None
        follower = waiting[-1]
        if isinstance(value, (ast.Name, ast.Constant)) and self.names.once(name):
            known_value = (
                isinstance(value, ast.Constant) or value.id in ("MISSING", "EMPTY") or self.names.once(value.id)
            )
            if known_value and name in self.names.loads and reads(waiting, name) == self.names.loads[name]:
                self.instead[name] = value
                return []
        question = waiting[-2] if len(waiting) > 1 and begins(follower) and not mentions([follower], name) else None
        if question is not None and self._asks(question) == name:
            made = same_test(question, name, value) if isinstance(question, ast.If) else None
            if made is None and not mentions([statement], follower.targets[0].id):  # type: ignore[attr-defined]
                made = self._answered(name, statement, question)
            if made is not None:
                del waiting[-2:]
                return [follower, *made]
        again = isinstance(follower, ast.Assign) and is_name(follower.targets[0], name)
        if again and harmless(value) and not reads([follower], name):
            return []
        if is_missing(value) and not mentions([follower], name) and not begins(follower, only_missing=True):
            return self.later(statement, follower, waiting)
        if isinstance(value, ast.Dict) or (isinstance(value, ast.List) and not value.elts):
            made = self.display(name, statement, value, waiting)
            if made is not None:
                return made
        if isinstance(follower, ast.If) and self.names.once(name):
            typed = typed_test(name, value, follower)
            if typed is not None and reads([follower.test, *follower.body], name) == self.names.loads[name]:
                waiting.pop()
                return [typed]
        asked = self._asks(follower)
        if asked == name:
            made = self._answered(name, statement, follower)
            if made is not None:
                waiting.pop()
                return made
        call = value if isinstance(value, ast.Call) else None
        return self.inliner.body(call, name) if call is not None else None

    def _answered(self, name: str, statement: ast.Assign, question: ast.stmt) -> Block | None:
        value = statement.value
        if isinstance(value, ast.IfExp):
            both = both_asked(name, value, question)
            if both is not None:
                return [both]
            return self._threaded(branches(name, value, statement), name, question, True)
        if isinstance(value, ast.Call):
            body = self.inliner.body(value, name)
            if body is not None:
                threaded = self._threaded(body, name, question, True)
                return threaded if threaded is not None else [*body, question]
        if isinstance(question, ast.If):
            if self._verdict(question.test, name, value) is not None:
                return self._decided(question, name, value)
            key = same_test(question, name, value)
            if key is not None:
                return key
        elif taken(question, name):
            return self._given([question], name, value)
        return None
