"""The older part of the ledger: entries by number in a file that only grows, and an index of where each one begins.

A checkpoint says how much of both counts; what a crash left beyond that is cut off, and comes again from the journal.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import orjson

from nexeon.errors import StoreCorrupt
from nexeon.store.codec import build
from nexeon.store.files import reported, write_all
from nexeon.store.records import LedgerEntry
from nexeon.store.state import entry_number

_OFFSET = struct.Struct(">Q")
_AT_ONCE = 1000


class Archive:
    """Reads may come from any thread; `append` from one at a time."""

    def __init__(self, folder: Path, count: int, size: int) -> None:
        """`count` entries in `size` bytes, as the checkpoint says. Raises StoreCorrupt, StoreUnavailable."""
        self._path = folder / "ledger.log"
        self.count = count
        self.size = size
        with reported(f"{self._path} cannot be opened"):
            self._log = _open(self._path, size)
            self._index = _open(folder / "ledger.idx", count * _OFFSET.size)

    def append(self, entries: Sequence[LedgerEntry]) -> None:
        """The entries that follow the last one. All or, after an OSError, none of them."""
        offsets: list[bytes] = []
        size = self.size
        for first in range(0, len(entries), _AT_ONCE):  # all of them at once are as much memory again
            lines: list[bytes] = []
            begin = size
            for entry in entries[first : first + _AT_ONCE]:
                body = orjson.dumps(entry)
                line = b"%08x %s\n" % (zlib.crc32(body), body)
                lines.append(line)
                offsets.append(_OFFSET.pack(size))
                size += len(line)
            write_all(self._log, b"".join(lines), begin)
        os.fdatasync(self._log)
        write_all(self._index, b"".join(offsets), self.count * _OFFSET.size)
        os.fdatasync(self._index)
        self.count += len(entries)
        self.size = size

    def follow(self, entry: str, limit: int) -> list[LedgerEntry]:
        """Up to `limit` entries along the links to the previous one. Raises StoreCorrupt."""
        found: list[LedgerEntry] = []
        while entry and len(found) < limit:
            found.append(self._read(entry_number(entry)))
            entry = found[-1].previous
        return found

    def range(self, first: int, last: int) -> list[LedgerEntry]:
        """The entries of these numbers. Raises StoreCorrupt."""
        offsets = os.pread(self._index, (last - first + 2) * _OFFSET.size, (first - 1) * _OFFSET.size)
        places = [place for (place,) in _OFFSET.iter_unpack(offsets)]
        if first < 1 or last > self.count or len(places) <= last - first:
            raise self._damaged(first)
        if last == self.count:
            places[last - first + 1 :] = [self.size]
        block = os.pread(self._log, places[-1] - places[0], places[0])
        return [
            self._parse(block[start - places[0] : end - places[0]], number)
            for number, (start, end) in enumerate(pairwise(places), first)
        ]

    def _read(self, number: int) -> LedgerEntry:
        offsets = os.pread(self._index, 2 * _OFFSET.size, (number - 1) * _OFFSET.size)
        if 1 <= number <= self.count and len(offsets) >= _OFFSET.size:
            (start,) = _OFFSET.unpack_from(offsets)
            end = _OFFSET.unpack_from(offsets, _OFFSET.size)[0] if number < self.count else self.size
            return self._parse(os.pread(self._log, max(0, end - start), start), number)
        raise self._damaged(number)

    def _parse(self, line: bytes, number: int) -> LedgerEntry:
        checksum, _, body = line.rstrip(b"\n").partition(b" ")
        if checksum == b"%08x" % zlib.crc32(body):
            entry = build(LedgerEntry, orjson.loads(body))
            if entry_number(entry.id) == number:
                return entry
        raise self._damaged(number)

    def _damaged(self, number: int) -> StoreCorrupt:
        return StoreCorrupt(f"{self._path} is damaged at entry {number}: restore the store folder from a backup")

    def close(self) -> None:
        os.close(self._log)
        os.close(self._index)


def _open(path: Path, size: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        present = os.fstat(descriptor).st_size
        if present < size:
            raise StoreCorrupt(f"{path} has {present} bytes of {size}: restore the store folder from a backup")
        if present > size:
            os.ftruncate(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
