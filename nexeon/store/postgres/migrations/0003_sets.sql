-- The usual orders again, as sets: what a statement costs is paid once for all orders that come together, not for each.
-- `carry_out` goes on to do what is not as simple: an account whose credit may not last for all of them, or a charge
-- above what was reserved for it.

-- Every query over it reads all of the few rows that there are.
DROP INDEX reservations_expires;

-- The parallel arrays of `r` are reservations, of `s` settlements; `x` are released, `b` have begun. No id may be closed
-- twice. `fine` are the accounts whose orders were carried out, but for the reservations `refused` (their keys have
-- budgets), and for settlements that are not among `charged`, whose entries are `numbers`, with the balance after each and
-- the entry before. The credit of those that are `scarce` does not cover all of their reservations.
CREATE FUNCTION book(
    at double precision, gateway text,
    r_id text[], r_account text[], r_key text[], r_amount bigint[], r_created double precision[],
    r_expires double precision[], r_detail text[],
    s_id text[], s_account text[], s_key text[], s_amount bigint[], s_estimated boolean[], s_request text[], s_model text[],
    s_provider text[], s_usage text[], s_price text[], s_reason text[],
    x_id text[], x_account text[], b_id text[], b_account text[],
    OUT fine text[], OUT scarce text[], OUT refused text[],
    OUT charged text[], OUT numbers bigint[], OUT balances bigint[], OUT before bigint[]
) LANGUAGE plpgsql
-- Plans are made once, for a handful of orders, whatever the tables held at that time.
SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    asked text[] := r_account || s_account || x_account || b_account;
    head bigint;
    accounts text[];
    spenders text[];
    held bigint[];
    taken bigint[];
    last bigint[];
    more_accounts text[];
    more_spenders text[];
    more_held bigint[];
    today bigint := floor(at / 86400)::bigint;
BEGIN
    -- In one order in all gateways, so that none waits for another that waits for it.
    PERFORM FROM wallets WHERE account = ANY(asked) ORDER BY account FOR UPDATE;
    SELECT array_agg(c.account) FILTER (WHERE c.covered), array_agg(c.account) FILTER (WHERE NOT c.covered)
    INTO fine, scarce
    FROM (
        SELECT w.account, coalesce((
            SELECT sum(o.amount) FROM unnest(r_account, r_amount) AS o(account, amount) WHERE o.account = w.account
        ) <= w.balance - w.reserved + a.overdraft, true) AS covered
        FROM wallets AS w JOIN accounts AS a ON a.id = w.account WHERE w.account = ANY(asked) AND w.lots IS NULL
    ) AS c;
    IF fine IS NULL THEN
        RETURN;
    END IF;
    IF cardinality(b_id) > 0 THEN
        UPDATE reservations AS r SET started = true
        FROM unnest(b_id, b_account) AS o(id, account) WHERE r.id = o.id AND o.account = ANY(fine);
    END IF;
    IF cardinality(s_id) > 0 THEN
        SELECT entries INTO head FROM ledger_head FOR UPDATE;
        WITH closed AS (
            DELETE FROM reservations AS r
            USING unnest(
                s_id, s_account, s_key, s_amount, s_estimated, s_request, s_model, s_provider, s_usage, s_price, s_reason
            ) AS o(id, account, key, amount, estimated, request, model, provider, usage, price, reason)
            WHERE r.id = o.id AND o.account = ANY(fine) AND o.amount <= r.amount
            RETURNING o.*, r.amount AS held
        ),
        numbered AS (SELECT *, head + row_number() OVER (ORDER BY account) AS number FROM closed),
        lines AS (
            SELECT n.*, w.balance - (sum(n.amount) OVER line)::bigint AS balance,
                lag(n.number, 1, w.last) OVER line AS previous
            FROM numbered AS n JOIN wallets AS w ON w.account = n.account
            WINDOW line AS (PARTITION BY n.account ORDER BY n.number)
        ),
        written AS (
            INSERT INTO ledger
            SELECT number, account, 'charge', -amount, balance, previous, at, request, key, model, provider, usage::json,
                price::json, estimated, 0, reason, NULL, 0, id
            FROM lines
        )
        SELECT array_agg(id), array_agg(number), array_agg(balance), array_agg(previous), array_agg(account),
            array_agg(key), array_agg(-l.held), array_agg(amount)
        INTO charged, numbers, balances, before, accounts, spenders, held, taken
        FROM lines AS l;
        last := numbers;
        IF charged IS NOT NULL THEN
            UPDATE ledger_head SET entries = head + cardinality(numbers);
        END IF;
    END IF;
    IF cardinality(r_id) > 0 THEN
        WITH made AS (
            INSERT INTO reservations
            SELECT o.id, o.account, o.key, o.amount, o.created, o.expires, false, o.detail::json, gateway
            FROM unnest(r_id, r_account, r_key, r_amount, r_created, r_expires, r_detail)
                AS o(id, account, key, amount, created, expires, detail)
            WHERE o.account = ANY(fine) AND NOT EXISTS (SELECT FROM keys WHERE id = o.key AND budget IS NOT NULL)
            -- Where it is there, the order is repeated, because its answer was lost.
            ON CONFLICT DO NOTHING RETURNING account, key, amount
        )
        SELECT array_agg(account), array_agg(key), array_agg(amount) INTO more_accounts, more_spenders, more_held FROM made;
        IF coalesce(cardinality(more_accounts), 0) < cardinality(r_id) THEN
            SELECT array_agg(o.id) INTO refused
            FROM unnest(r_id, r_account, r_key) AS o(id, account, key)
            WHERE o.account = ANY(fine) AND EXISTS (SELECT FROM keys WHERE id = o.key AND budget IS NOT NULL);
        END IF;
        accounts := accounts || more_accounts;
        spenders := spenders || more_spenders;
        held := held || more_held;
    END IF;
    IF cardinality(x_id) > 0 THEN
        WITH gone AS (
            DELETE FROM reservations AS r USING unnest(x_id, x_account) AS o(id, account)
            WHERE r.id = o.id AND o.account = ANY(fine) RETURNING r.account, r.key, r.amount
        )
        SELECT array_agg(account), array_agg(key), array_agg(-amount) INTO more_accounts, more_spenders, more_held FROM gone;
        accounts := accounts || more_accounts;
        spenders := spenders || more_spenders;
        held := held || more_held;
    END IF;
    IF accounts IS NULL THEN
        RETURN;
    END IF;
    -- What is in no settlement takes nothing and has no number: its arrays are longer.
    UPDATE wallets AS w SET balance = w.balance - d.taken, reserved = w.reserved + d.held,
        last = coalesce(d.last, w.last)
    FROM (
        SELECT account, sum(o.held)::bigint AS held, coalesce(sum(o.taken), 0)::bigint AS taken, max(o.last) AS last
        FROM unnest(accounts, held, taken, last) AS o(account, held, taken, last) GROUP BY account
    ) AS d
    WHERE w.account = d.account;
    INSERT INTO spending
    SELECT k.id, k.account,
        CASE WHEN d.taken IS NULL THEN coalesce(s.counts, '{0,0,0,0,0,0,0}')
            ELSE spent(coalesce(s.counts, '{0,0,0,0,0,0,0}'), today, d.taken) END,
        coalesce(s.reserved, 0) + d.held
    FROM (
        SELECT key, sum(o.held)::bigint AS held, sum(o.taken)::bigint AS taken
        FROM unnest(spenders, held, taken) AS o(key, held, taken) GROUP BY key
    ) AS d JOIN keys AS k ON k.id = d.key LEFT JOIN spending AS s ON s.key = d.key
    ON CONFLICT (key) DO UPDATE SET counts = excluded.counts, reserved = excluded.reserved;
END $$;
