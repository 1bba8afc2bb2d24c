-- What assent-agent keeps in a database that it serves. The agent runs this by itself where its login has the right
-- CREATE on the database; otherwise an administrator runs it once and grants what stands at the end.

CREATE SCHEMA IF NOT EXISTS assent;

-- Who this database is (docs/protocol.md, "identity"): one row, written by agents. The token changes when the database
-- was restored, promoted or rolled back, so that a transaction id is never looked up in another history.
CREATE TABLE IF NOT EXISTS assent.identity (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    token uuid NOT NULL,
    counter bigint NOT NULL,        -- grows at every start of an agent
    system_id bigint NOT NULL,      -- pg_control_system() when the token was written
    timeline bigint NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);

-- Where a participant has "proof = marker": each branch inserts its gid in its own transaction, so that the row is there
-- if and only if the branch has committed. Agents remove rows older than seven days.
CREATE TABLE IF NOT EXISTS assent.marker (
    gid text PRIMARY KEY,
    created timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS marker_created ON assent.marker USING brin (created);

COMMENT ON SCHEMA assent IS 'Assent, transactions across databases: kept by assent-agent';

-- For an agent whose login is "app":
--   GRANT USAGE ON SCHEMA assent TO app;
--   GRANT SELECT, INSERT, UPDATE ON assent.identity TO app;
--   GRANT SELECT, INSERT, DELETE ON assent.marker TO app;
