"""Files that change at a bad moment: as the watch begins, and while a change before it is taken up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from nexeon.gateway.server import changes
from tests.patience import until


def replace(file: Path, text: str) -> None:
    """In one step: there is no moment at which it is empty."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


async def test_no_change_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_AGAIN", 50)
    monkeypatch.setattr(changes, "_STEP", 10)
    file, other = tmp_path / "file", tmp_path / "other"
    for each in (file, other):
        replace(each, "0")
    files = [file]
    told: list[str] = []
    look, looks = changes._state, 0

    def state(files: Callable[[], Iterable[Path]]) -> changes.State:
        nonlocal looks
        found = look(files)
        looks += 1
        return found

    async def looked() -> None:
        """What was told is known, and has been compared with."""
        after = looks + 2
        await until(lambda: looks >= after)

    monkeypatch.setattr(changes, "_state", state)

    async def changed() -> None:
        told.append(file.read_text() + other.read_text())
        if len(told) == 1:
            replace(file, "two")  # read already
            files.append(other)

    watching = asyncio.create_task(changes.watch(lambda: files, changed))
    await asyncio.sleep(0)
    replace(file, "one")
    try:
        await until(lambda: told)
        await until(lambda: len(told) == 2)
        replace(other, "three")
        await until(lambda: told[-1] == "twothree")
        await looked()
        files.remove(other)
        before = len(told)
        await until(lambda: len(told) > before)
        await looked()
        assert len(told) == before + 1, "what stays as it is is not told again"
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
