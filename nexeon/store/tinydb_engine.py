"""The TinyDB engine: live state in memory, every change in a journal, TinyDB files as checkpoints. For one process.

A folder holds `store.lock`, `checkpoint.json` (TinyDB), `journal-N.log` (what came after it), `ledger.log` and
`ledger.idx` (entries up to the checkpoint) and `secret.key` (encrypts providers' keys; absent with the variable).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from nexeon.errors import StoreCorrupt, StoreError, StoreUnavailable
from nexeon.store import codec
from nexeon.store.archive import Archive
from nexeon.store.checkpoint import Snapshot, load
from nexeon.store.files import Lock, reported
from nexeon.store.journal import Journal, read, segment, segments
from nexeon.store.memory import MemoryStore
from nexeon.store.records import LedgerEntry
from nexeon.store.secrets import Vault
from nexeon.store.sqlite import Place
from nexeon.store.state import Change, entry_number

log = logging.getLogger(__name__)

# What the settlement of one call takes in the journal, with its notes on the way: room for it is made at `reserve`.
SETTLEMENT = 4096
# A journal longer than this is worth a checkpoint: while the store is open (where that is more, as long as the last
# checkpoint, so that writing them costs no more than the journal does), and when it is closed. The part of the ledger
# that the journal holds is in memory, too.
CHECKPOINT_OPEN = 8 << 20
CHECKPOINT_CLOSE = 1 << 20
HOUSEKEEPING = 15.0


class TinyStore(MemoryStore):
    """Implements `Store` on a folder. Made by `TinyStore.open`."""

    def __init__(self, folder: Path, *, clock: Callable[[], float]) -> None:
        """Recovers what is in the folder. Raises StoreLocked, StoreCorrupt, StoreUnavailable."""
        super().__init__(clock=clock, vault=Vault(folder / "secret.key"))
        self.folder = folder
        self._file = folder / "checkpoint.json"
        with reported(f"the store folder {folder} cannot be made"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._lock = Lock(folder / "store.lock")
            opened.callback(self._lock.release)
            with _without_collection():
                self._state, generation, archived = load(self._file)
                self._archive = Archive(folder, self._state.count, archived)
                opened.callback(self._archive.close)
                self._journal = self._replay(generation)
            opened.pop_all()
        self._housekeeper: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._checkpointing = asyncio.Lock()

    @classmethod
    async def open(cls, folder: Path, *, clock: Callable[[], float] = time.time) -> TinyStore:
        """Recovers, and finishes orphaned calls. Raises StoreLocked, StoreCorrupt, StoreUnavailable."""
        store = cls(folder, clock=clock)
        try:
            for held in list(store._state.reservations.values()):
                store._finish_orphan(held, "the gateway stopped during the call")
            await store._journal.durable()
        except BaseException:
            await store._let_go()
            raise
        store._housekeeper = asyncio.create_task(store._keep_house())
        return store

    @property
    def url(self) -> str:
        return f"tinydb:{self.folder}"

    @property
    def place(self) -> Place:
        return self.folder

    # Recovery

    def _replay(self, generation: int) -> Journal:
        """Applies what came after the checkpoint, and opens the journal where it ends."""
        present = segments(self.folder)
        wanted = range(generation, max([generation, *present]) + 1)
        length = number = 0
        for each in wanted:
            if each not in present:
                if not present and not self._file.exists():
                    continue
                raise StoreCorrupt(f"{segment(self.folder, each)} is missing: restore the store folder from a backup")
            lines, length, number = read(present[each], last=each == wanted[-1])
            for position, line in enumerate(lines, 1):
                try:
                    self._state.apply(codec.decode(line))
                except StoreCorrupt as error:
                    raise StoreCorrupt(f"{present[each]} · change {position}: {error}") from error
        for each, path in present.items():
            if each < generation:
                path.unlink(missing_ok=True)
        return Journal(self.folder, wanted[-1], length, number)

    # The hooks

    async def _admit(self) -> None:
        await super()._admit()
        if self._journal.failing:
            await self._journal.durable()
        # Asked anew after each wait: others were admitted meanwhile.
        while not self._journal.has_room(needed := SETTLEMENT * (len(self._state.reservations) + 1)):
            await self._journal.make_room(needed)
            await super()._admit()

    def _apply(self, change: Change) -> None:
        line = codec.encode(change)
        if self._journal.closed:
            raise StoreUnavailable("the store is closed")
        self._state.apply(change)
        self._journal.append(line)

    async def _durable(self) -> None:
        await self._journal.durable()

    async def _archived(self, entry: str, limit: int) -> list[LedgerEntry]:
        return await asyncio.to_thread(self._archive.follow, entry, limit)

    async def _archived_range(self, first: int, last: int) -> list[LedgerEntry]:
        return await asyncio.to_thread(self._archive.range, first, last)

    # Checkpoints

    async def checkpoint(self) -> None:
        """Writes the state as a TinyDB file and starts the journal anew. Raises StoreUnavailable; nothing is lost."""
        async with self._checkpointing:
            snapshot = Snapshot(self._state)
            self._journal.mark()
            await self._journal.durable()
            generation = self._journal.generation
            with reported(f"the checkpoint in {self.folder} cannot be written"):
                await _to_the_end(asyncio.to_thread(self._save, snapshot, generation))
            for entry in snapshot.entries:
                self._state.entries.pop(entry_number(entry.id), None)

    def _save(self, snapshot: Snapshot, generation: int) -> None:
        # An attempt that failed halfway may have archived some already.
        self._archive.append([entry for entry in snapshot.entries if entry_number(entry.id) > self._archive.count])
        snapshot.save(self._file, generation=generation, archived=self._archive.size)
        for each, path in segments(self.folder).items():
            if each < generation:
                path.unlink(missing_ok=True)

    async def _keep_house(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), HOUSEKEEPING)
                return
            try:
                if self._journal.failing:
                    await self._journal.durable()
                await self.sweep()
                if self._journal.length > max(CHECKPOINT_OPEN, self._length()):
                    await self.checkpoint()
            except StoreUnavailable as error:
                log.error("%s", error)
            except StoreError:
                log.exception("housekeeping of %s failed", self.folder)

    def _length(self) -> int:
        """Bytes of the last checkpoint."""
        try:
            return self._file.stat().st_size
        except OSError:
            return 0

    async def close(self) -> None:
        if not self._open:
            return
        self._open = False
        self._closing.set()
        if self._housekeeper is not None:
            await asyncio.gather(self._housekeeper, return_exceptions=True)
        try:
            if self._journal.length > CHECKPOINT_CLOSE and not self._journal.failing:
                await self.checkpoint()
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        self._open = False
        try:
            await self._journal.close()
        finally:
            self._archive.close()
            self._lock.release()


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Millions of new objects, of which none is garbage, would be looked through again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Runs work that a cancelled caller must not leave half done behind its back, such as a thread that writes."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
