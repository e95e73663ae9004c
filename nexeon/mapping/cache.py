"""Compiled mapping files on disk, because compiling is most of what a start takes.

Kept in the user's cache folder (`$NEXEON_CACHE`, else `nexeon` in `$XDG_CACHE_HOME`; an empty variable keeps nothing).
A file's name is the digest of everything that decides what is in it: the mapping's text, the compiler's own source and
Python's version. It may be lost or damaged at any time: then the mapping is compiled.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from types import CodeType
from typing import Final

_MOST: Final = 200
"""Files that are kept; the oldest go first."""

_SEAL: Final = 32
_LOCK: Final = "compiling"

_given: dict[str, bytes] = {}
_kept: list[dict[str, bytes]] = []


@contextlib.contextmanager
def given(made: Mapping[str, bytes]) -> Iterator[None]:
    """Within it `load` has what another process has kept, too."""
    _given.update(made)
    try:
        yield
    finally:
        for key in made:
            _given.pop(key, None)


@contextlib.contextmanager
def kept() -> Iterator[dict[str, bytes]]:
    """What is loaded or saved within it, for `given` of another process."""
    made: dict[str, bytes] = {}
    _kept.append(made)
    try:
        yield made
    finally:
        _kept.remove(made)


def load(name: str, text: str) -> CodeType | None:
    """The code of a mapping file of this name and text."""
    folder, key = _folder(), _key(name, text)
    try:
        data = _given.get(key)
        if data is None:
            if folder is None:
                return None
            sealed = (folder / key).read_bytes()
            data = sealed[_SEAL:]
            if blake2b(data, digest_size=_SEAL).digest() != sealed[:_SEAL]:
                return None
        code = marshal.loads(data)
    except (OSError, ValueError, EOFError, TypeError):
        return None
    if not isinstance(code, CodeType):
        return None
    for made in _kept:
        made[key] = data
    return code


def has(name: str, text: str) -> bool:
    """Whether `load` may be expected to find it."""
    folder, key = _folder(), _key(name, text)
    return key in _given or (folder is not None and (folder / key).exists())


@contextlib.contextmanager
def alone(name: str, text: str) -> Iterator[None]:
    """Within it no other process is in here for the same file, where there is a folder: who comes second finds what
    the first one has kept. The system lets go of it when a process ends, however it ends."""
    folder = _folder(make=True)
    with contextlib.ExitStack() as stack:
        if folder is not None:
            with contextlib.suppress(OSError):
                lock = stack.enter_context(open(folder / _LOCK, "ab"))
                fcntl.lockf(lock, fcntl.LOCK_EX, 1, int(_key(name, text)[:12], 16))
        yield


def save(name: str, text: str, code: CodeType) -> None:
    """Keeps code for `load`; does nothing where it cannot."""
    data = marshal.dumps(code)
    for made in _kept:
        made[_key(name, text)] = data
    folder = _folder(make=True)
    if folder is None:
        return
    with contextlib.suppress(OSError):
        descriptor, temporary = tempfile.mkstemp(dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(blake2b(data, digest_size=_SEAL).digest() + data)
            os.replace(temporary, folder / _key(name, text))
        except OSError:
            os.unlink(temporary)
        _prune(folder)


def _prune(folder: Path) -> None:
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)
    for file in files[:-_MOST]:
        file.unlink(missing_ok=True)


def _folder(*, make: bool = False) -> Path | None:
    """The folder, where it is ours alone, or the system's as we are ourselves: code is run from it."""
    named = os.environ.get("NEXEON_CACHE")
    if named == "":
        return None
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(named) if named else Path(base) / "nexeon"
        if make:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (OSError, RuntimeError):
        return None
    ours = not hasattr(os, "getuid") or (found.st_uid in (0, os.getuid()) and not found.st_mode & 0o022)
    return folder if ours else None


def _key(name: str, text: str) -> str:
    digest = blake2b(_compiler(), digest_size=20)
    for part in (name, text):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _compiler() -> bytes:
    """What decides, beside the mapping, what it is compiled to."""
    digest = blake2b(f"{sys.implementation.cache_tag} {sys.hexversion} {sys.flags.optimize}".encode(), digest_size=20)
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.digest()
