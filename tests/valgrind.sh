#!/bin/sh
# Runs coordinator and agents under valgrind while money moves and things fail, stops them gracefully, and demands
# that no block is lost and no error was seen.
# Usage: valgrind.sh DIRECTORY-OF-BINARIES
set -eu
bin=$1
dir=$(mktemp -d "${TMPDIR:-/tmp}/assent-valgrind-XXXXXX")
chmod 755 "$dir" # the servers' user must pass
trap 'kill "$sandbox" 2>/dev/null || true; wait "$sandbox" 2>/dev/null || true; rm -rf "$dir"' EXIT INT TERM

mkfifo "$dir/ready"
# Valgrind makes everything fifty times slower, so a leader is given more time to be heard.
"$bin/assent" sandbox --dir "$dir/sandbox" --json --accounts 1000 --nodes 3 \
    --set cluster.heartbeat_ms=200 --set cluster.election_min_ms=2000 --set cluster.election_max_ms=4000 \
    --wrap "valgrind -q --leak-check=full --show-leak-kinds=definite,indirect,possible --error-exitcode=99 --log-file=$dir/valgrind.%p" \
    >"$dir/ready" 2>"$dir/output" &
sandbox=$!
# One line when all is ready; the end of the file when it failed.
if ! read -r description <"$dir/ready"; then
    cat "$dir/output" >&2
    exit 1
fi
api=$(echo "$description" | sed 's/.*"api":\["\([^"]*\)".*/\1/')
"$bin/assent" bench --api "$api" --clients 8 --seconds 5 --warmup 1 --accounts 1000 >"$dir/bench"
# An abort, a bad request, reads.
"$bin/assent" txn run - --api "$api" <<'JSON' >/dev/null 2>&1 || true
{"id":"v-1","branches":[{"participant":"bank_a","statements":[{"sql":"SELECT 1"}]},{"participant":"bank_b","statements":[{"sql":"SELECT nothing"}]}]}
JSON
echo '{' | "$bin/assent" txn run - --api "$api" >/dev/null 2>&1 || true
"$bin/assent" txn list --api "$api" >/dev/null
"$bin/assent" participant list --api "$api" >/dev/null
"$bin/assent" sandbox stop --dir "$dir/sandbox"
wait "$sandbox" || true
found=0
for report in "$dir"/valgrind.*; do
    if [ -s "$report" ]; then
        cat "$report" >&2
        found=1
    fi
done
if [ "$found" = 1 ]; then
    echo "valgrind: something was found (above)" >&2
    exit 1
fi
echo "valgrind: no error and no leak in $(ls "$dir"/valgrind.* | wc -l) processes"
