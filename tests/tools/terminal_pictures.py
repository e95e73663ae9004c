"""Takes the pictures of the admin terminal in docs/pictures: `python -m tests.tools.terminal_pictures`."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "tui"))

from fakes import FakeService  # noqa: E402
from pilots import settle, terminal  # noqa: E402

FOLDER = ROOT / "docs" / "pictures"
SIZE = (120, 36)
PICTURES = {
    "overview": ("r",),
    "accounts": ("2", "enter"),
    "keys": ("3",),
    "provider-keys": ("4",),
    "models": ("5", "j", "j"),
    "request": ("6", "enter"),
    "playground": ("7",),
}
"""The keys that lead to each picture."""


async def take(name: str, keys: tuple[str, ...]) -> None:
    async with terminal(FakeService().connect, size=SIZE) as pilot:
        for key in keys:
            await pilot.press(key)
            await settle(pilot)
        svg = pilot.app.export_screenshot(title=f"nexeon tui · {name.replace('-', ' ')}")
    # the numbers in it are made up anew each time, and the fonts are the reader's
    svg = re.sub(r"terminal-\d+-", "terminal-", svg)
    svg = re.sub(r"\s*@font-face \{[^}]*\}", "", svg)
    (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ.pop("NO_COLOR", None)
    os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "TZ": "UTC"}  # whatever this terminal can show
    for name, keys in PICTURES.items():
        asyncio.run(take(name, keys))
        print(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()
