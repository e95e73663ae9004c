"""Compiling in a process of its own, for one that must not be kept busy: `python -m nexeon.mapping.ahead`.

It takes `{"folders": […], "files": […]}` as JSON on stdin and gives the code of those of the folders' formats and
dialects that stand in `files`, marshalled, on stdout; what cannot be compiled is left out. Compiling holds the
interpreter's lock for tens of milliseconds at a time; taking up what was compiled does not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import marshal
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from nexeon.errors import NexeonError
from nexeon.mapping import cache
from nexeon.mapping.dialect import Dialect
from nexeon.mapping.format import Format
from nexeon.mapping.library import read_sources
from nexeon.mapping.source import plain

_LONGEST: Final = 60.0
"""Seconds after which whoever waits compiles by itself."""

_NICER: Final = 5
_log = logging.getLogger("nexeon.mapping")


async def ahead(folders: Sequence[Path], files: Collection[Path], *, longest: float = _LONGEST) -> Mapping[str, bytes]:
    """What another process has compiled, for `cache.given`; nothing where it could not."""
    if not files:
        return {}
    asked = json.dumps({"folders": [str(path.absolute()) for path in folders], "files": [str(path) for path in files]})
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, env=environ,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        _log.warning("mappings are compiled beside the requests, since no process can be started: %s", error)
        return {}
    try:
        async with asyncio.timeout(longest):
            told, words = await process.communicate(asked.encode())
        if process.returncode:
            _log.warning("mappings are compiled beside the requests: %s", words.decode(errors="replace")[-500:].strip())
            return {}
        made: dict[str, bytes] = marshal.loads(told)
        return made
    except (TimeoutError, ValueError, EOFError, TypeError) as error:
        _log.warning("mappings are compiled beside the requests: their process failed (%s)", type(error).__name__)
        return {}
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def compile_files(folders: Sequence[Path], files: Collection[str]) -> dict[str, bytes]:
    """Their code, as `cache.given` takes it."""
    sources, _ = read_sources(folders)
    facts = {name: plain(source.root) for name, source in sources["formats"].items()}
    with cache.kept() as made:
        for part, found in sources.items():
            for source in found.values():
                if str(source.path) in files:
                    with suppress(NexeonError):  # told by whoever loads the file
                        Format(source) if part == "formats" else Dialect(source, facts)
    return made


def main() -> None:
    """Nobody waits for this as for a request."""
    with suppress(OSError):
        os.nice(_NICER)
    asked = json.load(sys.stdin)
    made = compile_files([Path(folder) for folder in asked["folders"]], frozenset(asked["files"]))
    sys.stdout.buffer.write(marshal.dumps(made))


if __name__ == "__main__":
    main()
