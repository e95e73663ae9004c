"""Names: what an expression may mention, and what each name is in the Python that comes out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from nexeon.errors import Problem

CONTROLS: Final = (
    *("$if", "$else", "$then", "$for", "$where", "$match", "$missing", "$let"),
    *("$first", "$merge", "$call", "$drop", "$fail", "$item"),
)
"""The control words."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`: did you mean …?`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f": did you mean `{close[0]}`?" if close else ""


@dataclass(slots=True)
class Unit:
    """What all functions of one file share."""

    file: str
    functions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tables: dict[str, dict[object, object]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, message: str, line: int) -> None:
        self.problems.append(Problem(message, self.file, line))


@dataclass(slots=True)
class Variable:
    """A name's Python variable; `guarded` once something looks into it as a map."""

    name: str
    python: str
    is_map: bool = False
    guarded: bool = False

    @property
    def guard(self) -> str:
        """The Python variable that is surely a dict: itself, or one that is empty where the value is no map."""
        return self.python if self.is_map else self.python + "_m"


class Scope:
    """Nested names of one function; `fresh` makes Python names that nothing else uses."""

    def __init__(self, variables: dict[str, Variable] | None = None, counter: list[int] | None = None) -> None:
        self.variables = dict(variables or {})
        self._counter = counter if counter is not None else [0]

    def fresh(self, hint: str = "t") -> str:
        self._counter[0] += 1
        return f"{hint}_{self._counter[0]}"

    def bind(self, name: str, *, is_map: bool = False) -> tuple[Scope, Variable]:
        """A scope in which `name` is a new variable (an outer one of that name is hidden)."""
        variable = Variable(name, self.fresh("v_" + name), is_map)
        return Scope({**self.variables, name: variable}, self._counter), variable
