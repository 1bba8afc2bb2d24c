-- The demo's bank: accounts whose money moves between databases. Install it in each of them and seed it:
--   psql -f bank.sql -c "SELECT bank_seed(100000, 1000)"

CREATE TABLE IF NOT EXISTS accounts (
    id bigint PRIMARY KEY,
    balance bigint NOT NULL CHECK (balance >= 0)
);

-- Accounts 1 to `count`, each with `amount`; what was there is replaced. Returns the total.
CREATE OR REPLACE FUNCTION bank_seed(count bigint, amount bigint) RETURNS bigint
LANGUAGE sql AS $$
    DELETE FROM accounts;
    INSERT INTO accounts (id, balance) SELECT i, amount FROM generate_series(1, count) AS i;
    SELECT coalesce(sum(balance), 0)::bigint FROM accounts;
$$;

-- What no transfer may change, whatever died under way.
CREATE OR REPLACE VIEW bank_total AS
SELECT count(*) AS accounts, coalesce(sum(balance), 0)::bigint AS total FROM accounts;
