-- The usual orders in one statement, so that an account's row is held for no longer than the database itself takes:
-- between a statement and the next one a busy gateway may let others wait for a long time.
--
-- Usual is: no grant of the account expires, the key has no budget, and the wallet covers it. Whatever is not is
-- answered with null, and is done by the gateway, whose rules these are (`MemoryStore`).

ALTER TABLE accounts ADD COLUMN overdraft bigint NOT NULL
    GENERATED ALWAYS AS (coalesce((body ->> 'overdraft')::bigint, 0)) STORED;
ALTER TABLE keys ADD COLUMN budget bigint GENERATED ALWAYS AS ((body ->> 'budget')::bigint) STORED;

-- As `Spending.add`: counts are day, week, month, in_day, in_week, in_month, total.
CREATE FUNCTION spent(counts bigint[], day bigint, amount bigint) RETURNS bigint[] LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    week bigint := (day + 3) / 7;
    date date := date '1970-01-01' + day::integer;
    month bigint := extract(year FROM date)::bigint * 12 + extract(month FROM date)::bigint - 1;
BEGIN
    IF day > counts[1] THEN
        IF week > counts[2] THEN counts[2] := week; counts[5] := 0; END IF;
        IF month > counts[3] THEN counts[3] := month; counts[6] := 0; END IF;
        counts[1] := day;
        counts[4] := amount;
        counts[5] := counts[5] + amount;
        counts[6] := counts[6] + amount;
    ELSE
        IF day = counts[1] THEN counts[4] := counts[4] + amount; END IF;
        IF week = counts[2] THEN counts[5] := counts[5] + amount; END IF;
        IF month = counts[3] THEN counts[6] := counts[6] + amount; END IF;
    END IF;
    counts[7] := counts[7] + amount;
    RETURN counts;
END $$;

-- Orders of one account, and of one key of it, come one after the other: its wallet and its spending are read once, and
-- written once.
CREATE FUNCTION carry_out(orders json, at double precision, gateway text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    item record;
    wallet record;
    spender record;
    held bigint;
    answers json[] := array_fill(NULL::json, ARRAY[json_array_length(orders)]);
    reserved_before bigint;
    charges bigint;
    last_before bigint;
    head bigint;
    first bigint;
    today bigint := floor(at / 86400)::bigint;
BEGIN
    -- In one order in all gateways, so that none waits for another that waits for it.
    PERFORM FROM wallets
        WHERE account IN (SELECT account FROM json_to_recordset(orders) AS o(account text))
        ORDER BY account FOR UPDATE;
    FOR item IN
        SELECT *, lead(account) OVER w IS DISTINCT FROM account AS account_ends,
            (lead(account) OVER w, lead(key) OVER w) IS DISTINCT FROM (account, key) AS key_ends,
            lag(account) OVER w IS DISTINCT FROM account AS account_begins,
            (lag(account) OVER w, lag(key) OVER w) IS DISTINCT FROM (account, key) AS key_begins
        FROM ROWS FROM (json_to_recordset(orders) AS (
            verb text, id text, account text, key text, amount bigint, created double precision,
            expires double precision, detail json,
            request text, model text, provider text, usage json, price json, reason text, estimated boolean
        )) WITH ORDINALITY
        WINDOW w AS (ORDER BY account, key, ordinality) ORDER BY account, key, ordinality
    LOOP
        IF item.account_begins THEN
            SELECT w.balance, w.reserved, w.last, w.lots IS NULL AS plain, a.overdraft, true AS there INTO wallet
            FROM wallets AS w JOIN accounts AS a ON a.id = w.account WHERE w.account = item.account;
            IF NOT FOUND THEN
                SELECT 0::bigint AS balance, 0::bigint AS reserved, 0::bigint AS last, false AS plain,
                    0::bigint AS overdraft, false AS there INTO wallet;
            END IF;
            reserved_before := wallet.reserved;
            last_before := wallet.last;
        END IF;
        IF item.key_begins THEN
            SELECT k.id IS NOT NULL AS known, k.budget IS NULL AS free,
                coalesce(s.counts, '{0,0,0,0,0,0,0}') AS counts, coalesce(s.reserved, 0) AS reserved, false AS changed
            INTO spender
            FROM (SELECT item.key AS key) AS asked LEFT JOIN keys AS k ON k.id = asked.key
                LEFT JOIN spending AS s ON s.key = asked.key;
            charges := NULL;
        END IF;
        IF NOT wallet.there THEN
            NULL;
        ELSIF item.verb = 'reserve' THEN
            IF wallet.plain AND spender.free AND item.amount <= wallet.balance - wallet.reserved + wallet.overdraft THEN
                INSERT INTO reservations VALUES (
                    item.id, item.account, item.key, item.amount, item.created, item.expires, false, item.detail, gateway
                ) ON CONFLICT DO NOTHING;
                -- Where it is there, the order is repeated, because its answer was lost.
                IF FOUND THEN
                    wallet.reserved := wallet.reserved + item.amount;
                    spender.reserved := spender.reserved + item.amount;
                    spender.changed := true;
                END IF;
                answers[item.ordinality] := 'true';
            END IF;
        ELSIF item.verb = 'settle' THEN
            IF wallet.plain THEN
                DELETE FROM reservations WHERE id = item.id
                    AND item.amount <= greatest(wallet.balance - wallet.reserved + amount + wallet.overdraft, amount)
                RETURNING amount INTO held;
                IF FOUND THEN
                    IF head IS NULL THEN
                        SELECT entries INTO head FROM ledger_head FOR UPDATE;
                        first := head;
                    END IF;
                    head := head + 1;
                    wallet.balance := wallet.balance - item.amount;
                    wallet.reserved := wallet.reserved - held;
                    INSERT INTO ledger VALUES (
                        head, item.account, 'charge', -item.amount, wallet.balance, wallet.last, at, item.request,
                        item.key, item.model, item.provider, item.usage, item.price, item.estimated, 0, item.reason,
                        NULL, 0, item.id
                    );
                    answers[item.ordinality] := json_build_array(head, wallet.balance, wallet.last, at);
                    wallet.last := head;
                    spender.reserved := spender.reserved - held;
                    spender.changed := true;
                    charges := coalesce(charges, 0) + item.amount;
                END IF;
            END IF;
        ELSIF item.verb = 'begin' THEN
            UPDATE reservations SET started = true WHERE id = item.id;
            answers[item.ordinality] := 'true';
        ELSE
            DELETE FROM reservations WHERE id = item.id RETURNING amount INTO held;
            IF FOUND THEN
                wallet.reserved := wallet.reserved - held;
                spender.reserved := spender.reserved - held;
                spender.changed := true;
            END IF;
            answers[item.ordinality] := 'true';
        END IF;
        IF item.key_ends AND spender.known AND spender.changed THEN
            IF charges IS NOT NULL THEN
                spender.counts := spent(spender.counts, today, charges);
            END IF;
            INSERT INTO spending VALUES (item.key, item.account, spender.counts, spender.reserved)
            ON CONFLICT (key) DO UPDATE SET counts = excluded.counts, reserved = excluded.reserved;
        END IF;
        IF item.account_ends AND (wallet.reserved <> reserved_before OR wallet.last <> last_before) THEN
            UPDATE wallets SET balance = wallet.balance, reserved = wallet.reserved, last = wallet.last
            WHERE account = item.account;
        END IF;
    END LOOP;
    IF head > first THEN
        UPDATE ledger_head SET entries = head;
    END IF;
    RETURN array_to_json(answers);
END $$;
