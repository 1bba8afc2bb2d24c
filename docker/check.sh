#!/usr/bin/env bash
# Proves, from the databases alone and the journal of what clients were told, that nothing was lost, doubled or left
# behind. The load must be stopped: while money moves, three databases cannot be read at one moment.
#
#   docker compose stop load && ./check.sh; docker compose start load
set -euo pipefail
. "$(dirname "$0")/lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

say() { # well? text
    if [ "$1" = 1 ]; then
        echo "proved: $2"
    else
        echo "NOT PROVED: $2"
        bad=1
    fi
}

# --- what must come to an end first ---

[ "$(state_of load)" != running ] || die "the load is running: docker compose stop load"

prepared() {
    local database count sum=0
    for database in "${databases[@]}"; do
        count=$(query "$database" "SELECT count(*) FROM pg_prepared_xacts") || return 1
        sum=$((sum + count))
    done
    echo "$sum"
}
nothing_prepared() { [ "$(prepared)" = 0 ]; }
seconds=${CHECK_SECONDS:-60}
if (wait_for "$seconds" "pg_prepared_xacts becomes empty" nothing_prepared) 2>/dev/null; then
    say 1 "pg_prepared_xacts is empty in all ${#databases[@]} databases"
else
    say 0 "after $seconds s there are prepared transactions: $(prepared)"
fi

# --- the ledgers and the journal ---

docker cp "$(container load)":/var/lib/assent/journal - | tar -xO >"$work/journal"
for database in "${databases[@]}"; do
    query "$database" "SELECT txn, amount FROM ledger" | sed "s/^/$database /" >>"$work/ledger"
done

# Words that are not the journal's belong to a line that was torn by a kill. What is in no journal was under way when the
# load was killed: all or nothing holds for that, too.
awk '
    FILENAME == ARGV[1] { if ($2 ~ /^(committed|aborted|unsettled)$/) told[$1] = $2; next }
    { rows[$2]++; sum[$2] += $3; if (where[$2] == $1) twice[$2] = 1; where[$2] = $1 }
    function wrong(what, id) { if (!bad++) print "0 " what ": " id }
    END {
        for (id in rows)
            if (rows[id] != 2 || sum[id] != 0 || id in twice)
                wrong("not exactly once in exactly two databases", id)
        for (id in told) {
            count[told[id]]++
            if (told[id] == "committed" && !(id in rows)) wrong("acknowledged as committed, but in no database", id)
            if (told[id] == "aborted" && id in rows) wrong("acknowledged as aborted, but in a database", id)
        }
        for (id in rows) if (!(id in told)) unknown++
        if (!count["committed"]) wrong("no transfer was committed at all", "the journal is empty")
        if (bad) exit
        print "1 " count["committed"] " transfers acknowledged as committed are in two databases exactly once"
        print "1 " count["aborted"] + 0 " transfers acknowledged as aborted are in none"
        print "1 " count["unsettled"] + unknown " others (aborted after having been sent again, or under way when the load" \
              " was killed) are in two databases or in none"
    }' "$work/journal" "$work/ledger" >"$work/said"
while read -r well text; do say "$well" "$text"; done <"$work/said"

# --- the money ---

sum=0 start=0
for database in "${databases[@]}"; do
    read -r balance accounts < <(query "$database" "SELECT sum(balance), count(*) FROM accounts")
    sum=$((sum + balance)) start=$((start + accounts * 1000)) # bank_seed(1000, 1000) in database.sh
done
say $((sum == start)) "the money in all databases: $start at the start, $sum now"

# --- what the coordinators say ---

odd=0
for node in "${nodes[@]}"; do
    odd=$((odd + $(api viewer "$node" /metrics --fail |
        awk '/^(assent_heuristic|assent_alarms_total)[ {]/ { sum += $NF } END { print sum + 0 }')))
done
say $((odd == 0)) "heuristic outcomes and alarms that the coordinators tell: $odd"

exit $bad
