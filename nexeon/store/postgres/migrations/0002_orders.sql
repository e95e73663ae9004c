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

CREATE FUNCTION carry_out(orders json, at double precision, gateway text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    item record;
    seen record;
    answers json[] := '{}';
    answer json;
    head bigint;
    first bigint;
    today bigint := floor(at / 86400)::bigint;
BEGIN
    -- In one order in all gateways, so that none waits for another that waits for it.
    PERFORM FROM wallets
        WHERE account IN (SELECT account FROM json_to_recordset(orders) AS o(account text))
        ORDER BY account FOR UPDATE;
    FOR item IN
        SELECT * FROM ROWS FROM (json_to_recordset(orders) AS (
            verb text, id text, account text, key text, amount bigint, created double precision,
            expires double precision, detail json,
            request text, model text, provider text, usage json, price json, reason text, estimated boolean
        )) WITH ORDINALITY ORDER BY ordinality
    LOOP
        answer := NULL;
        IF item.verb = 'reserve' THEN
            SELECT w.lots IS NULL AND w.balance - w.reserved + a.overdraft >= item.amount AS covered,
                k.id IS NOT NULL AS known, k.budget IS NULL AS free
            INTO seen
            FROM wallets AS w JOIN accounts AS a ON a.id = w.account LEFT JOIN keys AS k ON k.id = item.key
            WHERE w.account = item.account;
            IF FOUND AND seen.covered AND seen.free THEN
                INSERT INTO reservations
                VALUES (
                    item.id, item.account, item.key, item.amount, item.created, item.expires, false, item.detail, gateway
                )
                ON CONFLICT DO NOTHING;
                -- Where it is there, the order is repeated, because its answer was lost.
                IF FOUND THEN
                    UPDATE wallets SET reserved = reserved + item.amount WHERE account = item.account;
                    IF seen.known THEN
                        INSERT INTO spending VALUES (item.key, item.account, '{0,0,0,0,0,0,0}', item.amount)
                        ON CONFLICT (key) DO UPDATE SET reserved = spending.reserved + excluded.reserved;
                    END IF;
                END IF;
                answer := 'true';
            END IF;
        ELSIF item.verb = 'settle' THEN
            SELECT r.amount, r.key, w.balance, w.last,
                w.lots IS NULL
                    AND item.amount <= greatest(w.balance - w.reserved + r.amount + a.overdraft, r.amount) AS covered
            INTO seen
            FROM reservations AS r JOIN wallets AS w ON w.account = r.account JOIN accounts AS a ON a.id = r.account
            WHERE r.id = item.id;
            IF FOUND AND seen.covered THEN
                IF head IS NULL THEN
                    SELECT entries INTO head FROM ledger_head FOR UPDATE;
                    first := head;
                END IF;
                head := head + 1;
                DELETE FROM reservations WHERE id = item.id;
                INSERT INTO ledger VALUES (
                    head, item.account, 'charge', -item.amount, seen.balance - item.amount, seen.last, at,
                    item.request, seen.key, item.model, item.provider, item.usage, item.price, item.estimated, 0,
                    item.reason, NULL, 0, item.id
                );
                UPDATE wallets
                SET balance = balance - item.amount, reserved = reserved - seen.amount, last = head
                WHERE account = item.account;
                UPDATE spending
                SET reserved = reserved - seen.amount, counts = spent(counts, today, item.amount)
                WHERE key = seen.key;
                IF NOT FOUND THEN
                    INSERT INTO spending
                    SELECT seen.key, item.account, spent('{0,0,0,0,0,0,0}', today, item.amount), 0
                    FROM keys WHERE id = seen.key;
                END IF;
                answer := json_build_object(
                    'number', head, 'balance', seen.balance - item.amount, 'previous', seen.last, 'key', seen.key,
                    'created', at
                );
            END IF;
        ELSIF item.verb = 'begin' THEN
            UPDATE reservations SET started = true WHERE id = item.id;
            answer := 'true';
        ELSE
            DELETE FROM reservations WHERE id = item.id RETURNING amount, key INTO seen;
            IF FOUND THEN
                UPDATE wallets SET reserved = reserved - seen.amount WHERE account = item.account;
                UPDATE spending SET reserved = reserved - seen.amount WHERE key = seen.key;
            END IF;
            answer := 'true';
        END IF;
        answers := answers || coalesce(answer, 'null'::json);
    END LOOP;
    IF head > first THEN
        UPDATE ledger_head SET entries = head;
    END IF;
    RETURN array_to_json(answers);
END $$;
