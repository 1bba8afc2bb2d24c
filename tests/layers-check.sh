#!/bin/sh
# A room includes only from rooms left of it (docs/architecture.md, "Layers"), and pure rooms no I/O header.
set -eu
cd "$(dirname "$0")/.."
bad=0

# check ROOM "ALLOWED FOLDERS": every quoted include must be a plain file of the room, assent/..., or in the list.
check() {
    room=$1
    allowed="assent $2"
    for file in "$room"/*.c "$room"/*.h; do
        [ -e "$file" ] || continue
        for include in $(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file"); do
            folder=$(dirname "$include")
            [ "$folder" = . ] && continue
            [ "$folder" = "$room" ] && continue
            case " $allowed " in *" $folder "*) continue ;; esac
            echo "layers: $file includes $include, but $room may include only: $allowed" >&2
            bad=1
        done
    done
}

# tests/pure-check.sh looks at what is really imported; this names the line. crash.c is in test builds only.
pure() {
    for room in "$@"; do
        if grep -nE '#include *<(uv|microhttpd|cjson/cJSON|cJSON|libpq-fe|time|unistd|sys/.*|pthread|netinet/.*)\.h>' \
            "$room"/*.c "$room"/*.h 2>/dev/null | grep -v '^common/crash\.c:' >&2; then
            echo "layers: $room is pure and includes an I/O header" >&2
            bad=1
        fi
    done
}

check common ""
check common/uv "common"
check coordinator/raft "common"
check coordinator/txn "common"
check coordinator/log "common"
check participant/branch "common"
check coordinator/node "common coordinator/txn coordinator/log coordinator/raft"
check participant/agent "common participant/branch"
check coordinator/api "common common/uv coordinator/node coordinator/txn coordinator/log coordinator/raft"
check participant/postgres "common common/uv"
check participant/host "common common/uv participant/agent participant/postgres"
check coordinator/shell "common common/uv coordinator/node coordinator/log coordinator/txn coordinator/raft coordinator/api participant/host participant/agent"
check participant/shell "common common/uv participant/host participant/agent"
check cli "common common/uv coordinator/node coordinator/txn coordinator/log coordinator/raft"
pure common coordinator/raft coordinator/txn coordinator/log coordinator/node participant/branch participant/agent

[ "$bad" = 0 ] && echo "layers: every room includes only from its left"
exit "$bad"
