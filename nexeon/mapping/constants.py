"""Names that stand for the same value in all compiled code, as constants of that code: they need not be looked up.

Code is kept on disk, where such values cannot be. So it is compiled, and kept, with marks in their places, and gets the
values before it runs. A mark is as true or false as its value (Python leaves out what a constant decides), and nothing
that a mapping could say.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from types import CodeType
from typing import Any, Final

from nexeon.mapping.pytree import Block, replaced

_WORDS: Final = ("dict", "list", "str", "int", "float", "bool", "SIZED", "HOLDERS", "NUMBERS", "SEVERAL")
_MARKS: Final[dict[str, Any]] = {"MISSING": 0j, "EMPTY": b"", **{word: word.encode() for word in _WORDS}}
_NAMES: Final = {mark: name for name, mark in _MARKS.items()}
_KINDS: Final = (bytes, complex)


def marked(block: Block) -> None:
    """Puts marks in place of the names, but where one is called or looked into."""

    def change(node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.Name) and node.id in _MARKS and isinstance(node.ctx, ast.Load):
            return ast.copy_location(ast.Constant(_MARKS[node.id]), node)
        return node if isinstance(node, ast.Tuple) else None  # which would be a constant itself

    for one in block:
        replaced(one, change)


def compiled(tree: ast.Module, file: str) -> CodeType:
    """The code of a tree, without Python's warning of what is compared with a mark."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        return compile(tree, file, "exec")


def placed(code: CodeType, names: Mapping[str, Any]) -> CodeType:
    """The code, and that of the functions in it, with the values that the names have."""
    return code.replace(co_consts=tuple(_value(one, names) for one in code.co_consts))


def _value(constant: Any, names: Mapping[str, Any]) -> Any:
    if type(constant) is CodeType:
        return placed(constant, names)
    return names[_NAMES[constant]] if type(constant) in _KINDS and constant in _NAMES else constant
