"""Small things every file of the store needs: durable folders, whole writes, the lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from nexeon.errors import StoreLocked, StoreUnavailable


@contextlib.contextmanager
def reported(what: str) -> Iterator[None]:
    """Turns an OSError into StoreUnavailable that says what could not be done, and to which file."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"{what}: {error.strerror or error}") from error


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def sync_folder(folder: Path) -> None:
    """Makes new, renamed and deleted names in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """The file holds either what it held before or all of `data`, at any moment and after any crash."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(descriptor, data, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    sync_folder(path.parent)


class Lock:
    """One process at a time. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Raises StoreLocked, naming the holder, or StoreUnavailable."""
        self._path = path
        with reported(f"the store in {path.parent} cannot be opened"):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise StoreLocked(
                f"the store in {path.parent} is held by process {holder or '(unknown)'}: "
                "stop that one, or use another store.url"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise StoreUnavailable(f"the store in {path.parent} cannot be locked: {error.strerror}") from error
        self._descriptor = descriptor
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} ({Path(sys.argv[0]).name or 'python'})\n".encode(), 0)

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
