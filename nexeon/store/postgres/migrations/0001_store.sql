-- Accounts, keys and money. Records are the JSON that every engine writes; money is integer nano-USD, times are Unix
-- seconds. Whoever changes a wallet, or anything of its account's calls, holds the wallet's row.

CREATE TABLE accounts (
    id text PRIMARY KEY,
    place bigint GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL UNIQUE,
    body json NOT NULL
);

CREATE TABLE keys (
    id text PRIMARY KEY,
    place bigint GENERATED ALWAYS AS IDENTITY,
    account text NOT NULL,
    hash text NOT NULL,
    previous_hash text NOT NULL,
    body json NOT NULL
);
CREATE INDEX keys_account ON keys (account);
CREATE INDEX keys_hash ON keys (hash);
CREATE INDEX keys_previous_hash ON keys (previous_hash) WHERE previous_hash <> '';

CREATE TABLE provider_keys (
    id text PRIMARY KEY,
    place bigint GENERATED ALWAYS AS IDENTITY,
    body json NOT NULL
);

-- What every gateway must read anew. `writer` is the transaction, so that none is missed that commits late.
CREATE TABLE record_changes (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    writer xid8 NOT NULL DEFAULT pg_current_xact_id(),
    made timestamptz NOT NULL DEFAULT now(),
    kind text NOT NULL,
    id text NOT NULL
);
CREATE INDEX record_changes_writer ON record_changes (writer);

-- `lots` is what is left of grants that expire: [[entry, expires, left], …], the earliest first.
CREATE TABLE wallets (
    account text PRIMARY KEY,
    balance bigint NOT NULL DEFAULT 0,
    reserved bigint NOT NULL DEFAULT 0,
    last bigint NOT NULL DEFAULT 0,
    lots json,
    expires double precision
) WITH (fillfactor = 70);
CREATE INDEX wallets_expires ON wallets (expires) WHERE expires IS NOT NULL;

-- What keys have spent by period; `counts` are the fields of a Spending, but for what is reserved.
CREATE TABLE spending (
    key text PRIMARY KEY,
    account text NOT NULL,
    counts bigint[] NOT NULL,
    reserved bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX spending_account ON spending (account);

-- Gateways that are alive; `seen` is told anew every few seconds.
CREATE TABLE gateways (
    id text PRIMARY KEY,
    words text NOT NULL,
    seen timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE reservations (
    id text PRIMARY KEY,
    account text NOT NULL,
    key text NOT NULL,
    amount bigint NOT NULL,
    created double precision NOT NULL,
    expires double precision NOT NULL,
    started boolean NOT NULL,
    detail json NOT NULL,
    owner text NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX reservations_account ON reservations (account);
CREATE INDEX reservations_expires ON reservations (expires);

-- How many entries the ledger has. Its row is held by whoever appends, so that numbers come in the order of commits.
CREATE TABLE ledger_head (
    entries bigint NOT NULL
);
INSERT INTO ledger_head VALUES (0);

-- Append-only. `token` is the reservation that an entry closes, or what a repeated order is known by.
CREATE TABLE ledger (
    number bigint PRIMARY KEY,
    account text NOT NULL,
    kind text NOT NULL,
    amount bigint NOT NULL,
    balance bigint NOT NULL,
    previous bigint NOT NULL,
    created double precision NOT NULL,
    request text NOT NULL,
    key text NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    usage json NOT NULL,
    price json NOT NULL,
    estimated boolean NOT NULL,
    uncollected bigint NOT NULL,
    reason text NOT NULL,
    expires double precision,
    grant_entry bigint NOT NULL,
    token text
);
CREATE INDEX ledger_account ON ledger (account, number);
CREATE UNIQUE INDEX ledger_token ON ledger (token) WHERE token IS NOT NULL;

CREATE FUNCTION ledger_stays() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$;
CREATE TRIGGER ledger_stays BEFORE UPDATE OR DELETE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION ledger_stays();

-- Small facts of the whole store, such as a text that only the right NEXEON_SECRET_KEY opens.
CREATE TABLE facts (
    name text PRIMARY KEY,
    value text NOT NULL
);
