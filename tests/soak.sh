#!/usr/bin/env bash
# A cluster of three and its agents at half of what they can do, for a long time: memory, descriptors and log must stay
# flat once the tables are full. Samples are judged by quarters of the time after the warm-up.
# Usage: soak.sh DIRECTORY-OF-BINARIES [--minutes N] [--json]
set -euo pipefail

bin=$1
shift
minutes=30 json=""
while [ $# -gt 0 ]; do
    case "$1" in
    --minutes) minutes=${2:?--minutes needs a number}; shift ;;
    --json) json=yes ;;
    *) echo "soak: unknown option $1" >&2; exit 2 ;;
    esac
    shift
done

# The bounds. Memory may differ between first and last quarter by what an allocator may have in fragments.
memory_kib=4096 memory_percent=3 # of medians: whichever is more
descriptors=8                    # of maxima
log_kib=8192                     # of maxima: two segments
# Tables that are full within minutes, so that what grows after that grows without bound: the outcomes, and the newest log in
# memory, which is 16 MiB and what comes between two snapshots.
outcomes=20000
settings=(limits.outcomes_max=$outcomes limits.retention_ms=5000 log.segment_kib=4096 log.snapshot_kib=8192)
clients=16 sample_s=5 warmup_s_max=900 warmup_bytes=$((36 << 20))

dir=$(mktemp -d "${TMPDIR:-/tmp}/assent-soak-XXXXXX")
chmod 755 "$dir" # the servers' user must pass
sandbox="" load=""
cleanup() {
    [ -z "$load" ] || kill "$load" 2>/dev/null || true
    [ -z "$sandbox" ] || kill "$sandbox" 2>/dev/null || true
    wait 2>/dev/null || true
    [ -z "${SOAK_KEEP:-}" ] || cp "$dir/samples" "$SOAK_KEEP" || true
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { echo "soak: $*" >&2; }
fail() { say "$*"; exit 1; }

mkfifo "$dir/ready"
args=()
for setting in "${settings[@]}"; do args+=(--set "$setting"); done
"$bin/assent" sandbox --dir "$dir/sandbox" --json --nodes 3 "${args[@]}" >"$dir/ready" 2>"$dir/output" &
sandbox=$!
read -r description <"$dir/ready" || { cat "$dir/output" >&2; exit 1; }
apis=$(grep -o '"api":"[^"]*"' <<<"$description" | sed 's/"api":"\(.*\)"/\1/' | paste -sd,)
# "node-1 PID" and "agent-bank_a PID"
processes=$(grep -o '"name":"node-[0-9]*","pid":[0-9]*' <<<"$description" | sed 's/"name":"\([^"]*\)","pid":/\1 /'
    sed 's/.*"agents":\[\({[^]]*\)\].*/\1/' <<<"$description" | grep -o '"participant":"[^"]*","pid":[0-9]*' |
        sed 's/"participant":"\([^"]*\)","pid":/agent-\1 /')
[ "$(wc -l <<<"$processes")" = 5 ] || fail "five processes were expected, not: $processes"

metric() { # of the node that has most of it; of the one that has least: NAME [least]
    local most="" api value
    for api in ${apis//,/ }; do
        value=$(curl -sf --max-time 10 "$api/metrics" | awk -v name="$1" '$1 == name { print int($2) }') || value=0
        value=${value:-0}
        if [ -z "$most" ] || { [ "${2:-}" = least ] && [ "$value" -lt "$most" ]; } ||
            { [ -z "${2:-}" ] && [ "$value" -gt "$most" ]; }; then
            most=$value
        fi
    done
    echo "$most"
}

# run_load PAUSE-MS: in the background
run_load() {
    "$bin/assent" load --api "$apis" --journal "$dir/journal" --clients $clients --pause-ms "$1" --every 60 >"$dir/load" 2>&1 &
    load=$!
}
stop_load() {
    kill "$load"
    wait "$load" || { cat "$dir/load" >&2; fail "the load ended with an error (above)"; }
    load=""
    rm -f "$dir/journal"
}

say "measuring what it can do"
run_load 0
sleep 5
before=$(metric assent_decisions_committed_total) begin=$(date +%s%N)
sleep 15
capacity=$(awk -v n=$(($(metric assent_decisions_committed_total) - before)) -v ns=$(($(date +%s%N) - begin)) \
    'BEGIN { printf "%d", n / ns * 1e9 }')
[ "$capacity" -gt 0 ] || fail "nothing was committed"
say "$capacity commits a second; warm-up: until $outcomes outcomes and $warmup_bytes bytes of log"
is_warm() {
    [ "$(metric assent_outcomes least)" -ge "$outcomes" ] && [ "$(metric assent_log_bytes_total least)" -ge "$warmup_bytes" ]
}
for ((waited = 0; waited < warmup_s_max; waited += sample_s)); do
    ! is_warm || break
    sleep $sample_s
done
is_warm || fail "the tables did not fill within $warmup_s_max s"
stop_load
# A closed loop: with no pause each of the clients takes clients/capacity seconds; with as much pause again, half as many.
pause=$((clients * 1000 / capacity))
[ "$pause" -gt 0 ] || pause=1
say "$clients clients pause for $pause ms each, for $minutes minutes"
run_load "$pause"
sleep $sample_s

# sample SECONDS: lines "SECONDS NAME rss fds", and "SECONDS log-node-1 KIB"
sample() {
    local name pid rss fds
    while read -r name pid; do
        rss=$(awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status" 2>/dev/null || true)
        [ -n "$rss" ] || fail "$name (pid $pid) is gone: $(tail -n 3 "$dir/sandbox/log/$name.log")"
        fds=$(ls "/proc/$pid/fd" | wc -l)
        echo "$1 $name $rss $fds"
        case "$name" in
        node-*) echo "$1 log-$name $(du -sk "$dir/sandbox/$name" 2>/dev/null | cut -f1) 0" ;;
        esac
    done <<<"$processes"
}

before=$(metric assent_decisions_committed_total)
begin=$SECONDS
while ((SECONDS - begin < minutes * 60)); do
    sample $((SECONDS - begin)) >>"$dir/samples"
    kill -0 "$load" 2>/dev/null || { cat "$dir/load" >&2; fail "the load has ended (above)"; }
    sleep $sample_s
done
took=$((SECONDS - begin))
committed=$(($(metric assent_decisions_committed_total) - before))
stop_load
[ "$committed" -gt 0 ] || fail "nothing was committed"

sort -k2,2 -s "$dir/samples" | awk -v json="$json" -v took="$took" -v capacity="$capacity" -v committed="$committed" \
    -v memory_kib=$memory_kib -v memory_percent=$memory_percent -v descriptors=$descriptors -v log_kib=$log_kib '
    function median(from, to,   i, j, n, t, list) {
        for (i = from; i <= to; i++) list[n++] = rss[i]
        for (i = 1; i < n; i++) { t = list[i]; for (j = i; j > 0 && list[j - 1] > t; j--) list[j] = list[j - 1]; list[j] = t }
        return list[int(n / 2)]
    }
    function most(values, from, to,   i, m) { for (i = from; i <= to; i++) if (values[i] > m) m = values[i]; return m }
    function judge(   quarter, first, last, allowed, what, fds_first, fds_last, good, slope, i, mx, my, xy, xx) {
        if (!count) return
        quarter = int(count / 4) < 1 ? 1 : int(count / 4)
        for (i = 1; i <= count; i++) { mx += at[i] / count; my += rss[i] / count }
        for (i = 1; i <= count; i++) { xy += (at[i] - mx) * (rss[i] - my); xx += (at[i] - mx) ^ 2 }
        slope = xx ? xy / xx * 3600 : 0
        if (name ~ /^log-/) {
            what = "log"; first = most(rss, 1, quarter * 2); last = most(rss, count - quarter * 2 + 1, count); allowed = log_kib
            good = last - first <= allowed
        } else {
            what = "memory"; first = median(1, quarter); last = median(count - quarter + 1, count)
            allowed = first * memory_percent / 100; if (allowed < memory_kib) allowed = memory_kib
            fds_first = most(fds, 1, quarter); fds_last = most(fds, count - quarter + 1, count)
            good = last - first <= allowed && fds_last - fds_first <= descriptors
        }
        bad += !good
        if (json)
            printf "%s{\"name\":\"%s\",\"what\":\"%s\",\"first_kib\":%d,\"last_kib\":%d,\"max_kib\":%d,\"allowed_kib\":%d,\"kib_an_hour\":%d,\"descriptors_first\":%d,\"descriptors_last\":%d,\"flat\":%s}",
                comma, name, what, first, last, most(rss, 1, count), allowed, slope, fds_first, fds_last, good ? "true" : "false"
        else
            printf "%-16s %9d %9d %9d %9d %9d %6s %6s  %s\n", name, first, last, last - first, allowed, most(rss, 1, count),
                what == "log" ? "-" : fds_first, what == "log" ? "-" : fds_last, good ? "flat" : "GROWS"
        comma = ","; count = 0
    }
    BEGIN {
        if (json)
            printf "{\"seconds\":%d,\"capacity_per_s\":%d,\"committed\":%d,\"commits_per_s\":%d,\"measured\":[", took, capacity, committed, committed / took
        else {
            printf "%d s, %d commits, %d a second of %d\n\n", took, committed, committed / took, capacity
            printf "%-16s %9s %9s %9s %9s %9s %6s %6s\n", "KIB OF", "FIRST", "LAST", "GROWN", "ALLOWED", "MOST", "FDS", "LAST"
        }
    }
    $2 != name { judge(); name = $2 }
    { count++; at[count] = $1; rss[count] = $3; fds[count] = $4 }
    END {
        judge()
        if (json) printf "],\"flat\":%s}\n", bad ? "false" : "true"
        exit bad > 0
    }'
