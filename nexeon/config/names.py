"""Which formats and dialects the mapping folders hold, read from the head of each file without compiling it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

_FOLDERS: Final = {"format": "formats", "dialect": "dialects"}


def known_names(folders: Iterable[Path], kind: Literal["format", "dialect"]) -> set[str] | None:
    """The names; None where the folders hold no file of that kind, so that nothing can be said."""
    head = re.compile(rf"^{kind}:[ ]*[\"']?([^\s\"'#]+)", re.MULTILINE)
    names = set()
    for file in (file for folder in folders for file in (folder / _FOLDERS[kind]).glob("*.yaml")):
        try:
            found = head.search(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            found = None  # whoever compiles it says what is wrong
        names.add(found[1] if found else file.stem)
    return names or None
