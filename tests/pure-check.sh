#!/bin/sh
# Pure rooms do no I/O and read no clock: what their archives import must stand in this allow-list.
# Usage: pure-check.sh ARCHIVE...
set -eu

# Memory comes from common/alloc.c alone; it is the one file that may name libc's allocator.
allowed='memcpy memmove memset memcmp memchr strlen strnlen strcmp strncmp strcpy snprintf vsnprintf
qsort bsearch abort __stack_chk_fail __assert_fail __memcpy_chk __snprintf_chk __errno_location
__ctype_b_loc strtoull _GLOBAL_OFFSET_TABLE_'
bad=0
for archive in "$@"; do
    for symbol in $(nm -u "$archive" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u); do
        case "$symbol" in
        as_* | txn_* | log_* | node_* | agent_* | branch_* | XXH*) continue ;;
        esac
        found=0
        for name in $allowed; do
            [ "$symbol" = "$name" ] && found=1 && break
        done
        if [ "$found" = 0 ]; then
            object=$(nm -A -u "$archive" | awk -v s="$symbol" '$NF == s { sub(/:.*/, "", $1); print $1 }' | head -n 1)
            case "$archive:$symbol" in
            # alloc.c is the allocator; crash.c exists in test builds only; base.c prints a failed assertion.
            *libassent_common.a:malloc | *libassent_common.a:calloc | *libassent_common.a:realloc | *libassent_common.a:free) continue ;;
            *libassent_common.a:fprintf | *libassent_common.a:stderr) continue ;;
            esac
            echo "pure-check: $archive imports $symbol ($object), which is not in the allow-list" >&2
            bad=1
        fi
    done
done
[ "$bad" = 0 ] && echo "pure-check: $# archives import no system call"
exit "$bad"
