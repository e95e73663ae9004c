"""The live state as a TinyDB file, and the TinyDB storage that writes it: whole, checksummed and atomically.

The file opens with TinyDB's own storage, too; what that one writes is refused here, because it has no checksum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
from tinydb.storages import Storage

from nexeon.errors import StoreCorrupt
from nexeon.store.budgets import Spending
from nexeon.store.codec import build
from nexeon.store.files import replace_file, reported
from nexeon.store.records import Account, ApiKey, ProviderKey, Record, Reservation
from nexeon.store.state import Hold, Lot, Put, State, Wallet

VERSION = 1
_HEAD = b'{"checksum":{"1":{"sha256":"%s"}},'
_LENGTH = len(_HEAD % (b"0" * 64))


class CheckpointStorage(Storage):
    """Replaces the file in one step. The tables are read once and kept until the next write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tables: dict[str, dict[str, Any]] | None = None

    def read(self) -> dict[str, dict[str, Any]] | None:
        """`None` where there is no file. Raises StoreCorrupt, StoreUnavailable."""
        if self._tables is None and self._path.exists():
            with reported(f"{self._path} cannot be read"):
                data = self._path.read_bytes()
            body = b"{" + data[_LENGTH:]
            if data[:_LENGTH] != _HEAD % hashlib.sha256(body).hexdigest().encode():
                raise StoreCorrupt(f"{self._path} is damaged or was edited: restore the store folder from a backup")
            self._tables = orjson.loads(body)
        return self._tables

    def write(self, data: Mapping[str, Mapping[Any, Any]]) -> None:
        """Raises OSError; the file is then what it was."""
        # Document by document, because one large dump would hold up the other threads until its end.
        body = b"{%s}" % b",".join(_table(name, documents) for name, documents in data.items())
        replace_file(self._path, _HEAD % hashlib.sha256(body).hexdigest().encode() + body[1:])
        self._tables = None


def _table(name: str, documents: Mapping[Any, Any]) -> bytes:
    return b"%s:{%s}" % (
        orjson.dumps(name),
        b",".join(b'"%d":%s' % (int(number), orjson.dumps(document)) for number, document in documents.items()),
    )


class Snapshot:
    """What a checkpoint holds: a copy of the state that later changes do not touch."""

    def __init__(self, state: State) -> None:
        self.tables: dict[str, dict[str, Any]] = {
            "accounts": _numbered(state.accounts.values()),
            "wallets": _numbered(
                {
                    "account": account,
                    "balance": wallet.balance,
                    "last": wallet.last,
                    **({"lots": [[lot.entry, lot.expires, lot.left] for lot in wallet.lots]} if wallet.lots else {}),
                }
                for account, wallet in state.wallets.items()
            ),
            "keys": _numbered(state.keys.values()),
            "spending": _numbered({"key": key, "spent": spending.counts()} for key, spending in state.spending.items()),
            "provider_keys": _numbered(state.provider_keys.values()),
            "reservations": _numbered(state.reservations.values()),
        }
        self.entries = list(state.entries.values())
        self.count = state.count

    def save(self, path: Path, *, generation: int, archived: int) -> None:
        """`archived` is the size of the archive that goes with it. Raises OSError."""
        head = {"version": VERSION, "generation": generation, "entries": self.count, "archived": archived}
        CheckpointStorage(path).write({"state": {"1": head}, **self.tables})


def load(path: Path) -> tuple[State, int, int]:
    """The state, the generation of the journal that follows, and the archive's size; of a new store without a file.

    Raises StoreCorrupt, StoreUnavailable.
    """
    # Without TinyDB's own tables, which make an object of every document once more.
    tables = CheckpointStorage(path).read()
    state = State()
    if not tables:
        return state, 1, 0
    head = tables["state"]["1"]
    if head["version"] != VERSION:
        raise StoreCorrupt(f"{path} is of version {head['version']}; this program reads version {VERSION}")
    kinds: dict[str, type[Record]] = {"accounts": Account, "keys": ApiKey, "provider_keys": ProviderKey}
    for table, kind in kinds.items():
        for document in tables[table].values():
            state.apply(Put(build(kind, document)))
    for document in tables["wallets"].values():
        lots = [Lot(*lot) for lot in document.get("lots", ())]
        state.wallets[document["account"]] = Wallet(document["balance"], 0, document["last"], lots)
        if lots:
            state.expiring[document["account"]] = None
    for document in tables.get("spending", {}).values():
        state.spending[document["key"]] = Spending(*document["spent"])
    for document in tables["reservations"].values():
        state.apply(Hold(build(Reservation, document)))
    state.count = head["entries"]
    return state, head["generation"], head["archived"]


def _numbered(records: Iterable[Any]) -> dict[str, Any]:
    return {str(number): record for number, record in enumerate(records, 1)}
