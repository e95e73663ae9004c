"""The measures of all workers, whichever of them is asked: each series with a label that says whose it is.

They are not added up. A worker that was started anew begins at nothing, and a sum that falls looks like a reset of all
of them; `sum by (…)` in a query does it rightly.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

_WAIT: Final = 1.0
_SAMPLE: Final = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+.*)\Z")


class Siblings:
    """The workers of one parent, `number` being this one; they ask each other through sockets in a folder."""

    def __init__(self, folder: Path, number: int, count: int, measure: Callable[[], str]) -> None:
        """`measure` gives this worker's own text."""
        self._folder = folder
        self._number = number
        self._count = count
        self._measure = measure
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        path = self._path(self._number)
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, str(path))

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path(self._number).unlink(missing_ok=True)

    async def measured(self) -> str:
        """Of all that answer."""
        others = [number for number in range(self._count) if number != self._number]
        texts = await asyncio.gather(*(self._ask(number) for number in others))
        found = {number: text for number, text in zip(others, texts, strict=True) if text is not None}
        found[self._number] = self._measure()
        return labelled({str(number): found[number] for number in sorted(found)})

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.sock"

    async def _ask(self, number: int) -> str | None:
        try:
            async with asyncio.timeout(_WAIT):
                reader, writer = await asyncio.open_unix_connection(str(self._path(number)))
                try:
                    return (await reader.read()).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(self._measure().encode())
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


def labelled(texts: Mapping[str, str]) -> str:
    """Expositions by worker, as one."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for worker, text in texts.items():
        family = ""
        for line in text.splitlines():
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                known = heads.setdefault(family, [])
                if line not in known:
                    known.append(line)
            elif found := _SAMPLE.match(line):
                name, labels, value = found.groups()
                label = f'{labels},worker="{worker}"' if labels else f'worker="{worker}"'
                samples.setdefault(family, []).append(f"{name}{{{label}}} {value}")
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, ()))]
    return "\n".join(lines) + "\n"
