"""Changes and records as JSON, for the journal and the checkpoints. Fields a newer version added are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import orjson

from nexeon.errors import StoreCorrupt
from nexeon.store.records import Account, ApiKey, LedgerEntry, ProviderKey, Record, Reservation
from nexeon.store.state import Begin, Change, Close, Hold, Put, Remove

T = TypeVar("T")

_RECORDS: dict[str, type[Record]] = {"account": Account, "key": ApiKey, "provider_key": ProviderKey}
_TAGS = {record: tag for tag, record in _RECORDS.items()}
_FIELDS: dict[type[Any], frozenset[str]] = {
    kind: frozenset(each.name for each in fields(kind))
    for kind in (Account, ApiKey, ProviderKey, LedgerEntry, Reservation)
}


def encode(change: Change) -> bytes:
    """One line of JSON, without its end. Raises TypeError for a detail that is no JSON."""
    match change:
        case Close():
            return orjson.dumps(["close", change.reservation, change.entries])
        case Hold():
            return orjson.dumps(["hold", change.reservation])
        case Begin():
            return orjson.dumps(["begin", change.id])
        case Put():
            return orjson.dumps(["put", _TAGS[type(change.record)], change.record])
        case Remove():
            return orjson.dumps(["remove", change.kind, change.id, change.entries])


def decode(line: bytes) -> Change:
    """Raises StoreCorrupt for a line that `encode` did not write."""
    try:
        match orjson.loads(line):
            case ["close", str(reservation), entries]:
                return Close(reservation, tuple(build(LedgerEntry, entry) for entry in entries))
            case ["hold", reservation]:
                return Hold(build(Reservation, reservation))
            case ["begin", str(reservation)]:
                return Begin(reservation)
            case ["put", str(tag), record]:
                return Put(build(_RECORDS[tag], record))
            case ["remove", ("account" | "key" | "provider_key") as kind, str(record), entries]:
                return Remove(kind, record, tuple(build(LedgerEntry, entry) for entry in entries))
            case other:
                raise StoreCorrupt(f"unknown change `{str(other)[:40]}`: was it written by a newer version?")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise StoreCorrupt(f"not a change: {error}") from error


def build(kind: type[T], data: Mapping[str, Any]) -> T:
    """A record from its JSON object."""
    known = _FIELDS[kind]
    given = data if data.keys() <= known else {name: value for name, value in data.items() if name in known}
    if kind is ApiKey:
        given = {**given, **{name: tuple(given[name]) for name in _TUPLES if name in given}}
    return kind(**given)


_TUPLES = frozenset({"models", "scopes"})
