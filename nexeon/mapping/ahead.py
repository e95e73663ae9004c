"""Compiling in processes of their own, for one that must not be kept busy, or not become large by it: `python -m
nexeon.mapping.ahead`.

It takes `{"folders": […], "files": […], "nice": …}` as JSON on stdin and gives the code of those of the folders'
formats and dialects that stand in `files`, marshalled, on stdout; what cannot be compiled is left out. Compiling holds
the interpreter's lock for tens of milliseconds at a time, and leaves tens of megabytes behind that are not given back
to the system; taking up what was compiled does neither.
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
_LONGEST_AT_START: Final = 600.0
"""Seconds after which whoever waits compiles by itself."""

_NICER: Final = 5
_SMALL: Final = 32_000
"""Bytes of mappings that are compiled sooner than a process begins."""

_log = logging.getLogger("nexeon.mapping")


async def ahead(folders: Sequence[Path], files: Collection[Path], *, longest: float = _LONGEST) -> Mapping[str, bytes]:
    """What another process has compiled beside the requests, for `cache.given`; nothing where it could not."""
    return await _compiled(folders, files, longest=longest, nice=_NICER) if files else {}


async def at_start(folders: Sequence[Path]) -> Mapping[str, bytes]:
    """The same for a process that begins: everything that is not kept, by as many processes as there are cores."""
    files = {path: path.stat().st_size for path in _unkept(folders)}
    if sum(files.values()) < _SMALL:
        return {}
    _log.info("%d mapping files are compiled, which takes a while the first time", len(files))
    shares: list[list[Path]] = [[] for _ in range(min(_cores(), len(files)))]
    for path in sorted(files, key=lambda path: files[path], reverse=True):
        min(shares, key=lambda share: sum(files[each] for each in share)).append(path)
    found = await asyncio.gather(*(_compiled(folders, share, longest=_LONGEST_AT_START, nice=0) for share in shares))
    return {key: code for made in found for key, code in made.items()}


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unkept(folders: Sequence[Path]) -> list[Path]:
    found = []
    for folder in folders:
        for part in ("formats", "dialects"):
            for path in sorted((folder / part).glob("*.yaml")):
                with suppress(OSError, UnicodeDecodeError):  # told by whoever loads the file
                    if not cache.has(f"{part}/{path.name}", path.read_text(encoding="utf-8")):
                        found.append(path)
    return found


async def _compiled(
    folders: Sequence[Path], files: Collection[Path], *, longest: float, nice: int
) -> Mapping[str, bytes]:
    asked = {
        "folders": [str(path.absolute()) for path in folders], "files": [str(path) for path in files], "nice": nice
    }  # fmt: skip
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
            told, words = await process.communicate(json.dumps(asked).encode())
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
                    with suppress(NexeonError), cache.alone(source.name, source.text):  # told by whoever loads the file
                        Format(source) if part == "formats" else Dialect(source, facts)
    return made


def main() -> None:
    asked = json.load(sys.stdin)
    with suppress(OSError):
        os.nice(asked["nice"])
    made = compile_files([Path(folder) for folder in asked["folders"]], frozenset(asked["files"]))
    sys.stdout.buffer.write(marshal.dumps(made))


if __name__ == "__main__":
    main()
