"""An append-only file of lines, in checksummed batches, with one fsync for all that arrive together.

A batch is `j1 CRC NUMBER LENGTH\\n` and then LENGTH bytes of lines. Only one batch is being written at any time, so a
crash can tear the last one and no other: a bad batch before a good one is damage. Segments are named by generation;
a checkpoint starts the next one. Space is allocated ahead, so that a full disk is met before credit is promised.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import zlib
from functools import partial
from pathlib import Path

from nexeon.errors import StoreCorrupt, StoreUnavailable
from nexeon.store.files import reported, sync_folder, write_all
from nexeon.store.worker import Worker

log = logging.getLogger(__name__)

_HEAD = re.compile(rb"j1 ([0-9a-f]{8}) (\d{1,10}) (\d{1,10})\n")
_STEP = 1 << 20
# So far ahead of what is written the file is filled, where it can be allocated without.
_SOON = 4 * _STEP
# How long a line that nobody waits for may stay in memory.
_LAZY = 0.01


def segment(folder: Path, generation: int) -> Path:
    return folder / f"journal-{generation:08d}.log"


def segments(folder: Path) -> dict[int, Path]:
    """By generation, ascending."""
    found = {int(path.stem.removeprefix("journal-")): path for path in folder.glob("journal-" + "[0-9]" * 8 + ".log")}
    return dict(sorted(found.items()))


def read(path: Path, *, last: bool) -> tuple[list[bytes], int, int]:
    """The lines, the length of what is good, and the number of batches.

    A torn end is tolerated in the `last` segment only. Raises StoreCorrupt for any other damage.
    """
    with reported(f"{path} cannot be read"):
        data = path.read_bytes()
    lines: list[bytes] = []
    position = number = 0
    while position < len(data):
        batch = _batch(data, position, number)
        if batch is None:
            break
        position = batch.end()
        length = int(batch[3])
        lines += data[position : position + length].splitlines()
        position += length
        number += 1
    if data.count(b"\0", position) == len(data) - position:
        return lines, position, number
    later = (match for match in _HEAD.finditer(data, position) if _valid(data, match))
    if not last or next(later, None) is not None:
        raise StoreCorrupt(f"{path} is damaged at byte {position}: restore the store folder from a backup")
    torn = len(data) - position
    log.warning("%s: a crash tore the end; %d bytes, never acknowledged, are cut off", path, torn)
    return lines, position, number


def _batch(data: bytes, position: int, number: int) -> re.Match[bytes] | None:
    match = _HEAD.match(data, position)
    return match if match is not None and int(match[2]) == number and _valid(data, match) else None


def _valid(data: bytes, match: re.Match[bytes]) -> bool:
    start = match.end()
    end = start + int(match[3])
    if end > len(data):
        return False
    return zlib.crc32(memoryview(data)[start:end], zlib.crc32(match[2])) == int(match[1], 16)


class Journal:
    """Appends to one segment after another. Owned by one event loop; files are touched in one thread of its own."""

    def __init__(self, folder: Path, generation: int, length: int = 0, number: int = 0) -> None:
        """Goes on where `read` said that the segment ends. Raises StoreUnavailable."""
        self._folder = folder
        self.generation = generation
        self._length = self._allocated = self._filled = length
        self._number = number
        with reported(f"the journal in {folder} cannot be opened"):
            self._file = _open(segment(folder, generation))
            if os.fstat(self._file).st_size != length:
                os.ftruncate(self._file, length)
                os.fsync(self._file)
        self._thread = Worker("journal")
        self._growing = asyncio.Lock()
        self._queue: list[bytes | None] = []
        self._queued = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._writing: list[asyncio.Future[None]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._dead = ""
        self.failing = False
        self.closed = False

    @property
    def length(self) -> int:
        """Bytes of the current segment, with those that wait to be written."""
        return self._length + self._queued

    def append(self, line: bytes) -> None:
        """Takes a line without a newline in it; it is written with the next batch, at the latest in a moment.

        Not after `close`.
        """
        self._queue.append(line)
        self._queued += len(line) + 1
        if self._writing is None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LAZY, self._start)

    def mark(self) -> None:
        """What is appended from here on goes to the next segment."""
        self._queue.append(None)

    async def durable(self) -> None:
        """Returns once all that was appended is on the disk. Raises StoreUnavailable; the lines are tried again."""
        if self._dead:
            raise StoreUnavailable(self._dead)
        waiters = self._waiters if self._queue else self._writing
        if waiters is None:
            return
        waiter = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        self._start()
        await waiter

    def has_room(self, size: int) -> bool:
        return self._allocated - self.length >= size

    async def make_room(self, size: int) -> None:
        """Allocates `size` bytes beyond what is appended, once for all who ask. StoreUnavailable: the disk is full."""
        async with self._growing:
            if not self.has_room(size):
                wanted = -(-(self.length + size) // _STEP) * _STEP
                with reported(f"the journal in {self._folder} cannot grow"):
                    await self._thread.did(partial(self._allocate, wanted))

    async def close(self) -> None:
        """Writes what is left and gives back what was allocated ahead. Raises StoreUnavailable."""
        if self.closed:
            return
        try:
            while self._queue or self._writing is not None:
                await self.durable()
        finally:
            self.closed = True
            if self._timer is not None:
                self._timer.cancel()
            self._thread.close()
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._length)
            os.close(self._file)

    # In the event loop. Callbacks and no task: a loop that is shut down cancels its tasks, and half a step is no step.

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is None and self._queue and not self._dead:
            self._step()

    def _step(self) -> None:
        """Writes up to the next mark, or starts the next segment."""
        end = self._queue.index(None) if None in self._queue else len(self._queue)
        taken, self._queue = self._queue[: end or 1], self._queue[end or 1 :]
        # Who waits behind a mark waits for the steps after it, too.
        self._writing = []
        if not self._queue:
            self._writing, self._waiters = self._waiters, []
        lines = [line for line in taken if line is not None]
        payload = b"\n".join([*lines, b""])
        work = partial(self._write, payload) if lines else self._next_segment
        self._thread.do(work, partial(self._stepped, taken, len(payload)))

    def _stepped(self, taken: list[bytes | None], size: int, error: BaseException | None) -> None:
        waiters, self._writing = self._writing or [], None
        if error is not None:
            self._queue[:0] = taken
            waiters += self._waiters
            self._waiters = []
            self._fail(waiters, error)
            return
        self.failing = False
        self._queued -= size
        _resolve(waiters, None)
        if self._queue and not self.closed:
            self._step()

    def _fail(self, waiters: list[asyncio.Future[None]], error: BaseException) -> None:
        reason = self._dead or f"the journal in {self._folder} cannot be written: {_words(error)}"
        if not self.failing:
            log.error("%s", reason)
        self.failing = True
        _resolve(waiters, StoreUnavailable(reason))

    # In the journal's thread

    def _write(self, payload: bytes) -> None:
        number = str(self._number).encode()
        checksum = zlib.crc32(payload, zlib.crc32(number))
        batch = b"j1 %08x %s %d\n%s" % (checksum, number, len(payload), payload)
        write_all(self._file, batch, self._length)
        self._sync()
        self._length += len(batch)
        self._allocated = max(self._allocated, self._length)
        self._number += 1

    def _sync(self) -> None:
        try:
            os.fdatasync(self._file)
        except OSError as error:
            # After a failed fsync the kernel may have dropped the pages: nothing more can be promised for this file.
            self._dead = f"the journal in {self._folder} failed ({error.strerror}): restart once the disk is well"
            raise

    def _allocate(self, size: int) -> None:
        if size <= self._allocated:
            return
        soon = size
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, self._allocated, size - self._allocated)
            soon = min(size, self._length + _SOON)
        # Written now: a sync of what was only allocated changes the file's extents as well, which takes a fifth longer.
        # Not all of it: for very many calls under way it is hundreds of megabytes.
        begin = max(self._filled, self._length)
        if begin < soon:
            write_all(self._file, bytes(soon - begin), begin)
            self._filled = soon
        self._allocated = size

    def _next_segment(self) -> None:
        os.ftruncate(self._file, self._length)
        os.fsync(self._file)
        following = _open(segment(self._folder, self.generation + 1))
        os.close(self._file)
        self._file = following
        self.generation += 1
        self._length = self._allocated = self._filled = self._number = 0


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        sync_folder(path.parent)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _words(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _resolve(waiters: list[asyncio.Future[None]], error: StoreUnavailable | None) -> None:
    for waiter in waiters:
        if not waiter.done():
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
