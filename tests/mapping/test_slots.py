"""Variables share places only where none of them is still needed."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from nexeon.mapping.slots import share_slots


def both(text: str) -> tuple[Any, Any, int]:
    """The function as it is, the same with places shared, and how many those are."""
    tree = ast.parse(text)
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    made = []
    for _ in range(2):
        names: dict[str, Any] = {}
        exec(compile(tree, "test", "exec"), names)
        made.append(names["f"])
        share_slots(function)
    return made[0], made[1], made[1].__code__.co_nlocals


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ("a = x + 1\n b = a * 2\n c = b - 3\n return c", 2),
        ("a = x\n b = x + 1\n return [a, b]", 3),
        # what was given before a loop is needed in its every pass
        ("a = x + 7\n l = []\n for i in range(3):\n  l.append(a)\n  b = i * i\n  l.append(b)\n return l", 4),
        # what a loop gives is needed after it
        ("l = 0\n for i in range(3):\n  b = i * i\n  c = b + 1\n return [c, l]", 4),
        # tests are asked before what they decide on
        ("a = x + 1\n return [a if (b := x > 0) else b, a]", 3),
        ("a = x + 1\n b = (a if (c := a > 0) else c)\n d = b\n return d", 3),
        ("if x > 1:\n  a = x\n  return a\n else:\n  b = 2 * x\n  return b", 2),
        # what a comprehension reads belongs to another function, too
        ("a = x + 1\n b = [a + y for y in range(3)]\n c = x\n return [b, c]", 3),
        ("a = {'k': x}\n a['l'] = (b := x + 1)\n return [a, b]", 3),
    ],
)
def test_what_is_still_needed_keeps_its_place(body: str, places: int) -> None:
    usual, shared, count = both(f"def f(x):\n {body}\n")
    for x in (0, 1, 5):
        assert shared(x) == usual(x)
    assert count == places
