"""Where a store is moved to: engines as they are filled, not as they are used."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from nexeon.errors import StoreError
from nexeon.store.archive import Archive
from nexeon.store.checkpoint import Snapshot, load
from nexeon.store.files import Lock, reported, sync_folder
from nexeon.store.journal import segment, segments
from nexeon.store.records import LedgerEntry, Record
from nexeon.store.secrets import Vault
from nexeon.store.sqlite import Place
from nexeon.store.state import State
from nexeon.store.tinydb_engine import TinyStore

_CHECKPOINT: Final = "checkpoint.json"
_UNFINISHED: Final = "moving"


class Target(Protocol):
    """`name` for people; `append` what follows, then `finish`. Repeated, it goes on where it was."""

    name: str

    @property
    def place(self) -> Place: ...

    def seal(self, secret: str) -> str: ...

    async def length(self) -> int:
        """Ledger entries that are there."""
        ...

    async def page(self, after: int, limit: int) -> list[LedgerEntry]:
        """The entries that follow the one of that number."""
        ...

    async def append(self, entries: Sequence[LedgerEntry]) -> None: ...

    async def finish(self, records: Sequence[Record], state: State) -> None:
        """Puts these records in the place of all others, and the wallets of that state."""
        ...

    async def balances(self) -> dict[str, int]: ...

    async def close(self) -> None: ...


async def open_target(url: str) -> Target:
    """Raises StoreError for an engine that keeps nothing, StoreLocked, StoreUnavailable, Conflict."""
    scheme, _, rest = url.partition(":")
    if scheme == "tinydb" and rest:
        folder = Path(rest)
        if any(path.stat().st_size for path in segments(folder).values()):
            # What is in its journal goes to where it can be compared.
            store = await TinyStore.open(folder)
            try:
                await store.checkpoint()
            finally:
                await store.close()
        return FolderTarget(folder)
    if scheme in ("postgresql", "postgres"):
        try:
            from nexeon.store.postgres.target import DatabaseTarget
        except ModuleNotFoundError as error:
            raise StoreError(f"this engine needs {error.name}: pip install 'nexeon[postgres]'") from None
        return await DatabaseTarget.open(url)
    raise StoreError(f"nothing can be moved to `{scheme}:`: use tinydb:FOLDER or postgresql://…")


class FolderTarget:
    """A TinyDB store's folder: the archive is appended to, and a checkpoint made at the end."""

    def __init__(self, folder: Path) -> None:
        """Raises StoreLocked, StoreUnavailable, StoreCorrupt."""
        self.name = f"tinydb:{folder}"
        self._folder = folder
        self._vault = Vault(folder / "secret.key")
        with reported(f"the store folder {folder} cannot be made"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._lock = Lock(folder / "store.lock")
            opened.callback(self._lock.release)
            count, size = self._begin()
            self._archive = Archive(folder, count, size)
            opened.pop_all()

    def _begin(self) -> tuple[int, int]:
        """How much of the archive is good. A store that is there becomes one that is being moved to."""
        mark = self._folder / _UNFINISHED
        checkpoint = self._folder / _CHECKPOINT
        if mark.exists():
            # What was appended before it was broken off is written again.
            for name in ("ledger.log", "ledger.idx"):
                (self._folder / name).unlink(missing_ok=True)
            return 0, 0
        if not checkpoint.exists():
            return 0, 0
        state, _, size = load(checkpoint)
        return state.count, size

    @property
    def place(self) -> Place:
        return self._folder

    def seal(self, secret: str) -> str:
        return self._vault.encrypt(secret)

    async def length(self) -> int:
        return self._archive.count

    async def page(self, after: int, limit: int) -> list[LedgerEntry]:
        last = min(after + limit, self._archive.count)
        return await asyncio.to_thread(self._archive.range, after + 1, last) if last > after else []

    async def append(self, entries: Sequence[LedgerEntry]) -> None:
        with reported(f"{self.name} cannot be written"):
            (self._folder / _UNFINISHED).touch()
            await asyncio.to_thread(self._archive.append, entries)

    async def finish(self, records: Sequence[Record], state: State) -> None:
        with reported(f"{self.name} cannot be written"):
            await asyncio.to_thread(self._finish, state)

    def _finish(self, state: State) -> None:
        generation = max([0, *segments(self._folder)]) + 1
        segment(self._folder, generation).touch(mode=0o600)
        Snapshot(state).save(self._folder / _CHECKPOINT, generation=generation, archived=self._archive.size)
        for each, path in segments(self._folder).items():
            if each < generation:
                path.unlink(missing_ok=True)
        (self._folder / _UNFINISHED).unlink(missing_ok=True)
        sync_folder(self._folder)

    async def balances(self) -> dict[str, int]:
        state, _, _ = await asyncio.to_thread(load, self._folder / _CHECKPOINT)
        return {account: wallet.balance for account, wallet in state.wallets.items()}

    async def close(self) -> None:
        self._archive.close()
        self._lock.release()
