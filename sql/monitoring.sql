-- Views for operators: Assent's prepared transactions in this server, with their age and what they hold back. Install in any
-- database that assent-agent serves (or in postgres): psql -f monitoring.sql. Reading them needs no special right; the
-- counts of locks are those that pg_locks shows to everybody.

CREATE SCHEMA IF NOT EXISTS assent;

-- One row for each prepared transaction of Assent in the whole server. `xmin_age` is how many transactions old it is: vacuum
-- cannot remove what has died since. `local` says whether it belongs to this database.
CREATE OR REPLACE VIEW assent.prepared AS
SELECT p.gid,
       split_part(p.gid, '/', 2) AS cluster,
       split_part(p.gid, '/', 3) AS incarnation,
       split_part(p.gid, '/', 4) AS attempt,
       split_part(p.gid, '/', 5)::integer AS branch,
       split_part(p.gid, '/', 6) AS id,
       p.database,
       p.database = current_database() AS local,
       p.owner,
       p.transaction AS xid,
       age(p.transaction) AS xmin_age,
       p.prepared AS prepared_at,
       clock_timestamp() - p.prepared AS age,
       (SELECT count(*) FROM pg_locks l JOIN pg_locks x USING (virtualtransaction)
        WHERE l.pid IS NULL AND x.pid IS NULL AND x.transactionid = p.transaction) AS locks
FROM pg_prepared_xacts p
WHERE p.gid ~ '^assent/[a-z0-9-]{1,32}/[0-9a-f]{16}/[0-9]+\.[0-9]+/[0-9]+/[A-Za-z0-9._:-]{1,64}$';

-- Who waits for whom: sessions of this server that are blocked by a prepared transaction. PostgreSQL itself shows such a
-- holder as process 0.
CREATE OR REPLACE VIEW assent.blocked AS
SELECT a.pid,
       a.usename AS username,
       a.datname AS database,
       clock_timestamp() - a.query_start AS waiting,
       p.gid,
       p.age AS holder_age,
       a.query
FROM pg_stat_activity a
JOIN pg_locks w ON w.pid = a.pid AND NOT w.granted
JOIN assent.prepared p ON w.locktype = 'transactionid' AND w.transactionid = p.xid
WHERE 0 = ANY (pg_blocking_pids(a.pid));

-- One row of figures, for alerts. Alert on oldest_age: a branch stays prepared for milliseconds as a rule.
CREATE OR REPLACE VIEW assent.summary AS
SELECT (SELECT count(*) FROM assent.prepared) AS prepared,
       (SELECT count(*) FROM assent.prepared WHERE age > interval '10 seconds') AS older_than_10s,
       (SELECT max(age) FROM assent.prepared) AS oldest_age,
       (SELECT count(*) FROM pg_prepared_xacts) - (SELECT count(*) FROM assent.prepared) AS of_others,
       (SELECT count(*) FROM pg_prepared_xacts) AS slots_used,
       current_setting('max_prepared_transactions')::integer AS slots,
       (SELECT count(*) FROM assent.blocked) AS blocked_sessions;
