"""A piece of the state, read from the database under its locks, changed by the state machine that every engine shares,
and written back.

The rules (what may be reserved, what a charge takes, what expires) stand in `MemoryStore` once, for all engines; here
is only what they need to see and what they have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from nexeon.store.budgets import Spending
from nexeon.store.codec import build
from nexeon.store.memory import MemoryStore
from nexeon.store.records import Account, ApiKey, LedgerEntry, ProviderKey, Record, Reservation
from nexeon.store.secrets import Vault
from nexeon.store.state import Change, Close, Lot, Put, Remove, Wallet, entry_id, entry_number

_WALLETS: Final = (
    "SELECT account, balance, reserved, last, lots FROM wallets WHERE account = ANY($1::text[]) ORDER BY 1"
)
_LOAD: Final = """
WITH named AS MATERIALIZED (
    SELECT id FROM reservations WHERE id = ANY($2::text[])
    UNION SELECT id FROM reservations WHERE account = ANY($1::text[]) AND (expires <= $4 OR account = ANY($5::text[]))
),
held AS MATERIALIZED (SELECT reservations.* FROM reservations JOIN named USING (id)),
wanted AS MATERIALIZED (SELECT unnest($3::text[]) AS id UNION SELECT key FROM held),
head AS MATERIALIZED (SELECT entries FROM ledger_head WHERE $6 FOR UPDATE)
SELECT
    (SELECT json_agg(body) FROM accounts WHERE id = ANY($1::text[])) AS accounts,
    (SELECT json_agg(json_build_array(id, account, key, amount, created, expires, started, detail)) FROM held) AS held,
    (SELECT json_agg(body) FROM keys JOIN wanted USING (id)) AS keys,
    (SELECT json_agg(json_build_array(key, counts, reserved)) FROM spending JOIN wanted ON key = wanted.id) AS spending,
    (SELECT entries FROM head) AS entries
"""
_WRITE: Final = """
WITH dropped AS (DELETE FROM reservations WHERE id = ANY($1::text[])),
made AS (
    INSERT INTO reservations SELECT * FROM json_to_recordset($2::json) AS r(
        id text, account text, key text, amount bigint, created double precision, expires double precision,
        started boolean, detail json, owner text)
),
changed AS (
    UPDATE reservations AS old SET expires = new.expires, started = new.started
    FROM json_to_recordset($3::json) AS new(id text, expires double precision, started boolean) WHERE old.id = new.id
),
moved AS (
    INSERT INTO wallets SELECT * FROM json_to_recordset($4::json) AS w(
        account text, balance bigint, reserved bigint, last bigint, lots json, expires double precision)
    ON CONFLICT (account) DO UPDATE SET balance = excluded.balance, reserved = excluded.reserved, last = excluded.last,
        lots = excluded.lots, expires = excluded.expires
),
spent AS (
    INSERT INTO spending SELECT * FROM json_to_recordset($5::json) AS s(
        key text, account text, counts bigint[], reserved bigint)
    ON CONFLICT (key) DO UPDATE SET counts = excluded.counts, reserved = excluded.reserved
),
counted AS (UPDATE ledger_head SET entries = $7 WHERE $7::bigint IS NOT NULL)
INSERT INTO ledger SELECT * FROM json_to_recordset($6::json) AS e(
    number bigint, account text, kind text, amount bigint, balance bigint, previous bigint, created double precision,
    request text, key text, model text, provider text, usage json, price json, estimated boolean, uncollected bigint,
    reason text, expires double precision, grant_entry bigint, token text)
"""
ENTRY: Final = """
SELECT number, account, kind, amount, balance, previous, created, request, key, model, provider, usage, price,
    estimated, uncollected, reason, expires, grant_entry, token FROM ledger
"""
_PUT: Final[dict[type[Any], str]] = {
    Account: "INSERT INTO accounts (id, name, body) VALUES ($1, $2, $3) "
    "ON CONFLICT (id) DO UPDATE SET name = excluded.name, body = excluded.body",
    ApiKey: "INSERT INTO keys (id, account, hash, previous_hash, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) "
    "DO UPDATE SET account = excluded.account, hash = excluded.hash, previous_hash = excluded.previous_hash, "
    "body = excluded.body",
    ProviderKey: "INSERT INTO provider_keys (id, body) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE "
    "SET body = excluded.body",
}
KINDS: Final[dict[type[Any], str]] = {Account: "account", ApiKey: "key", ProviderKey: "provider_key"}
TABLES: Final = {"account": "accounts", "key": "keys", "provider_key": "provider_keys"}
CHANNEL: Final = "'nexeon_' || md5(current_schema())"


@dataclass(slots=True)
class Needs:
    """What is looked at, by id. `entries`: the ledger grows, surely; of `whole` accounts every reservation counts."""

    accounts: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    reservations: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    entries: bool = False

    def add(self, other: Needs) -> None:
        self.accounts |= other.accounts
        self.keys |= other.keys
        self.reservations |= other.reservations
        self.whole |= other.whole
        self.entries |= other.entries


class LedgerGrows(Exception):
    """No error: entries came up where none were expected, so it is done again with the ledger's end in hand."""


class Piece(MemoryStore):
    """One transaction's part of the state. It is thrown away afterwards, whatever became of it."""

    def __init__(self, clock: Callable[[], float], vault: Vault, owner: str) -> None:
        """`owner` is the gateway that new reservations are of."""
        super().__init__(clock=clock, vault=vault)
        self._owner = owner
        self._records: list[Put | Remove] = []
        self._head: int | None = None
        self._before_held: dict[str, Reservation] = {}
        self._before_wallets: dict[str, tuple[Any, ...]] = {}
        self._before_spending: dict[str, tuple[Any, ...]] = {}
        self._spender: dict[str, str] = {}
        self.tokens: dict[str, str] = {}

    # Reading

    async def load(self, connection: Any, needs: Needs, *, lock: bool = True) -> None:
        """Reads what is needed; with `lock`, nobody else may change it until the transaction ends."""
        accounts = list(needs.accounts)
        query = _WALLETS + (" FOR UPDATE" if lock else "")
        state = self._state
        for account, balance, reserved, last, lots in await connection.fetch(query, accounts):
            wallet = Wallet(balance, reserved, entry_id(last) if last else "")
            wallet.lots = [Lot(*lot) for lot in orjson.loads(lots)] if lots else []
            state.wallets[account] = wallet
            if wallet.lots:
                state.expiring[account] = None
            self._before_wallets[account] = wallet_facts(wallet)
        found = await connection.fetchrow(
            _LOAD,
            accounts,
            list(needs.reservations),
            list(needs.keys),
            self._clock(),
            list(needs.whole),
            needs.entries and lock,
        )
        for body in _list(found["accounts"]):
            state.apply(Put(build(Account, body)))
        for body in _list(found["keys"]):
            state.apply(Put(build(ApiKey, body)))
        for key, counts, reserved in _list(found["spending"]):
            state.spending[key] = Spending(*counts)
            state.spending[key].reserved = reserved
            self._before_spending[key] = (counts, reserved)
        for row in sorted(_list(found["held"]), key=lambda row: (row[4], row[0])):
            held = Reservation(*row)
            state.reservations[held.id] = self._before_held[held.id] = held
        self._head = found["entries"]
        state.count = self._head or 0

    async def load_records(self, connection: Any, record: Record) -> None:
        """What a record that is added, replaced or removed may contradict."""
        state = self._state
        if isinstance(record, Account):
            query = "SELECT body FROM accounts WHERE id = ANY($1::text[]) OR name = $2"
            for (body,) in await connection.fetch(query, [record.id, record.name], record.name):
                state.apply(Put(build(Account, orjson.loads(body))))
        elif isinstance(record, ApiKey):
            hashes = [value for value in (record.hash, record.previous_hash) if value]
            query = (
                "SELECT body FROM keys WHERE id = $1 OR hash = ANY($2::text[]) "
                "OR (previous_hash <> '' AND previous_hash = ANY($2::text[]))"
            )
            for (body,) in await connection.fetch(query, record.id, hashes):
                state.apply(Put(build(ApiKey, orjson.loads(body))))
        else:
            body = await connection.fetchval("SELECT body FROM provider_keys WHERE id = $1", record.id)
            if body is not None:
                state.apply(Put(build(ProviderKey, orjson.loads(body))))

    async def recall(self, connection: Any, tokens: Collection[str]) -> dict[str, LedgerEntry]:
        """The entries by their tokens, of reservations that are closed and of orders that were carried out before."""
        rows = await connection.fetch(ENTRY + "WHERE token = ANY($1::text[])", list(tokens))
        found = {row["token"]: entry_of(row) for row in rows}
        self._closed.update(found)
        return found

    def holds(self, reservation: str) -> Reservation | None:
        return self._state.reservations.get(reservation)

    # The hooks

    def _apply(self, change: Change) -> None:
        super()._apply(change)
        if isinstance(change, Put | Remove):
            self._records.append(change)
        elif isinstance(change, Close) and change.reservation and change.entries:
            self.tokens[change.entries[0].id] = change.reservation

    def _next(self) -> int:
        if self._head is None:
            raise LedgerGrows
        return super()._next()

    # What orders do beyond the contract

    def finish(self, reservations: Iterable[str], *, orphans: Collection[str]) -> int:
        """Closes those that have expired, and those of gateways that are gone; says how many."""
        now = self._clock()
        closed = 0
        for name in reservations:
            held = self._state.reservations.get(name)
            if held is not None and (held.expires <= now or name in orphans):
                self._finish_orphan(held, "its call was not heard of any more")
                closed += 1
        return closed

    def take_back(self, account: str) -> None:
        """Everything that is left of grants that have expired."""
        while account in self._state.accounts and self._state.wallets[account].expired(self._clock()):
            self._expire(account)

    # Writing

    async def write(self, connection: Any) -> None:
        """What has changed, in one statement; then the records, which rarely do."""
        state = self._state
        before, now = self._before_held, state.reservations
        made = [_held(held, self._owner) for name, held in now.items() if name not in before]
        dropped = [name for name in before if name not in now]
        changed = [
            {"id": name, "expires": held.expires, "started": held.started}
            for name, held in now.items()
            if name in before and held is not before[name]
        ]
        wallets = [
            {"account": account, **dict(zip(_WALLET, facts, strict=True))}
            for account, wallet in state.wallets.items()
            if (facts := wallet_facts(wallet)) != self._before_wallets.get(account)
        ]
        spending = [
            {"key": key, "account": state.keys[key].account, "counts": counts, "reserved": spent.reserved}
            for key, spent in state.spending.items()
            if ((counts := spent.counts()), spent.reserved) != self._before_spending.get(key) and key in state.keys
        ]
        entries = [row_of(entry, self.tokens.get(entry.id)) for entry in state.entries.values()]
        if made or dropped or changed or wallets or spending or entries:
            texts = [orjson.dumps(each).decode() for each in (made, changed, wallets, spending, entries)]
            await connection.execute(_WRITE, dropped, *texts, state.count if entries else None)
        for change in self._records:
            await _write_record(connection, change)
        if self._records:
            await connection.execute(f"SELECT pg_notify({CHANNEL}, '')")


async def put_record(connection: Any, record: Record) -> None:
    """Writes one record, and an account's wallet where it has none."""
    body = orjson.dumps(record).decode()
    if isinstance(record, Account):
        await connection.execute(_PUT[Account], record.id, record.name, body)
        await connection.execute("INSERT INTO wallets (account) VALUES ($1) ON CONFLICT DO NOTHING", record.id)
    elif isinstance(record, ApiKey):
        await connection.execute(_PUT[ApiKey], record.id, record.account, record.hash, record.previous_hash, body)
    else:
        await connection.execute(_PUT[ProviderKey], record.id, body)


async def _write_record(connection: Any, change: Put | Remove) -> None:
    if isinstance(change, Put):
        kind, name = KINDS[type(change.record)], change.record.id
        await put_record(connection, change.record)
    else:
        kind, name = change.kind, change.id
        await connection.execute(f"DELETE FROM {TABLES[kind]} WHERE id = $1", name)
        if kind == "account":
            await connection.execute("DELETE FROM keys WHERE account = $1", name)
        if kind != "provider_key":
            await connection.execute(f"DELETE FROM spending WHERE {kind} = $1", name)
    await connection.execute("INSERT INTO record_changes (kind, id) VALUES ($1, $2)", kind, name)


_WALLET: Final = ("balance", "reserved", "last", "lots", "expires")


def wallet_facts(wallet: Wallet) -> tuple[Any, ...]:
    """A copy of what is written of a wallet."""
    lots = [[lot.entry, lot.expires, lot.left] for lot in wallet.lots] or None
    return (wallet.balance, wallet.reserved, entry_number(wallet.last), lots, lots[0][1] if lots else None)


def _held(held: Reservation, owner: str) -> dict[str, Any]:
    return {
        "id": held.id, "account": held.account, "key": held.key, "amount": held.amount, "created": held.created,
        "expires": held.expires, "started": held.started, "detail": held.detail, "owner": owner,
    }  # fmt: skip


def row_of(entry: LedgerEntry, token: str | None) -> dict[str, Any]:
    """An entry as a row of the table."""
    return {
        "number": entry_number(entry.id), "account": entry.account, "kind": entry.kind, "amount": entry.amount,
        "balance": entry.balance, "previous": entry_number(entry.previous), "created": entry.created,
        "request": entry.request, "key": entry.key, "model": entry.model, "provider": entry.provider,
        "usage": entry.usage, "price": entry.price, "estimated": entry.estimated, "uncollected": entry.uncollected,
        "reason": entry.reason, "expires": entry.expires, "grant_entry": entry_number(entry.grant), "token": token,
    }  # fmt: skip


def entry_of(row: Any) -> LedgerEntry:
    """A row of the table, as ENTRY selects it."""
    facts = dict(row)
    del facts["token"]
    number, previous, grant = facts.pop("number"), facts.pop("previous"), facts.pop("grant_entry")
    facts["usage"], facts["price"] = orjson.loads(facts["usage"]), orjson.loads(facts["price"])
    return LedgerEntry(
        id=entry_id(number),
        previous=entry_id(previous) if previous else "",
        grant=entry_id(grant) if grant else "",
        **facts,
    )


def _list(text: str | None) -> list[Any]:
    found: list[Any] = orjson.loads(text) if text else []
    return found
