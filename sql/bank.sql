-- The demo's bank: accounts, and a ledger that tells which transfers are in this database. Money moves between
-- databases, so the sum of all balances over all of them never changes.

CREATE TABLE accounts (
    id bigint PRIMARY KEY,
    balance bigint NOT NULL CHECK (balance >= 0)
) WITH (fillfactor = 50); -- room for updated rows beside the old ones (HOT)

-- One row of each transfer in each of its databases. No unique key: a transfer that came twice must show.
CREATE TABLE ledger (
    txn text NOT NULL,
    account bigint NOT NULL,
    amount bigint NOT NULL
);

-- Accounts 1 to `accounts`, each with `amount`; what was there is replaced. Returns the total.
CREATE FUNCTION bank_seed(accounts bigint, amount bigint) RETURNS bigint
LANGUAGE sql AS $$
    DELETE FROM ledger;
    DELETE FROM accounts;
    INSERT INTO accounts (id, balance) SELECT i, $2 FROM generate_series(1, $1) AS i;
    SELECT coalesce(sum(balance), 0)::bigint FROM accounts;
$$;
