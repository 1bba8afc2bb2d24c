#!/bin/sh
# The first process of a database's container: the first time it makes the server and the demo's bank in it; ever after
# it becomes PostgreSQL at once.
#
#   ASSENT_DATABASE   this server's name in the network, for the password file
#
# /var/lib/postgresql is its volume; /secret is one that it shares with its agent.
set -eu
data=/var/lib/postgresql/data new=/var/lib/postgresql/new

settings() {
    cat <<'CONF'
listen_addresses = '*'
max_prepared_transactions = 64
shared_buffers = 64MB
# A session whose agent was cut off must not hold its locks for the two hours of the system's own keepalive.
tcp_keepalives_idle = 10
tcp_keepalives_interval = 5
tcp_keepalives_count = 3
tcp_user_timeout = 20000
CONF
}

# The agent's login owns the database, so that it may make its schema there; it is no superuser.
fill() {
    psql -qX -v ON_ERROR_STOP=1 postgres >/dev/null <<'SQL'
\set password `cut -d : -f 5 /secret/pgpass`
CREATE ROLE assent LOGIN PASSWORD :'password';
CREATE DATABASE bank OWNER assent;
\connect bank
SET ROLE assent;
\i /usr/local/share/assent/bank.sql
SELECT bank_seed(1000, 1000);
\i /usr/local/share/assent/monitoring.sql
SQL
}

# Beside the place where it belongs, and moved there when it is whole: a start that was cut short begins anew.
make() {
    rm -rf "$new"
    if [ ! -s /secret/pgpass ]; then
        password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
        (umask 077 && echo "${ASSENT_DATABASE:?}:5432:bank:assent:$password" >/secret/pgpass)
    fi
    initdb --pgdata="$new" --username=postgres --auth-local=peer --auth-host=scram-sha-256 --locale=C.UTF-8 \
        --data-checksums >/dev/null
    settings >>"$new/postgresql.conf"
    echo 'host bank assent all scram-sha-256' >>"$new/pg_hba.conf"
    pg_ctl --pgdata="$new" --wait --silent -o '-c listen_addresses=' start
    fill
    pg_ctl --pgdata="$new" --wait --silent stop
    sync
    mv "$new" "$data"
}

[ -e "$data" ] || make
exec postgres -D "$data"
