#!/bin/sh
# Pure rooms do no I/O and read no clock: what their archives import must be defined in one of these archives
# or stand in an allow-list. The check first proves on an object of its own that it can fail.
#
# Usage: pure-check.sh ARCHIVE...     (all pure archives at once: they may import from each other)
set -eu

[ $# -gt 0 ] || {
    echo "usage: pure-check.sh ARCHIVE..." >&2
    exit 2
}

# Functions of libc that compute and nothing else; what compilers add by themselves; the checksum library.
allowed='memcpy memmove memset memcmp memchr memrchr strlen strnlen strcmp strncmp strcpy strncpy strchr strrchr strstr
snprintf vsnprintf strtoul strtoull __isoc23_strtoul __isoc23_strtoull qsort bsearch abort
bcmp stpcpy __errno_location __ctype_b_loc __ctype_tolower_loc __ctype_toupper_loc
__strcpy_chk __strncpy_chk __memcpy_chk __memmove_chk __memset_chk __snprintf_chk __vsnprintf_chk
__stack_chk_fail _GLOBAL_OFFSET_TABLE_
XXH3_64bits XXH3_64bits_withSeed XXH3_64bits_reset XXH3_64bits_reset_withSeed XXH3_64bits_update
XXH3_64bits_digest'

# What one object of common may import besides: the allocator; the line before an abort; the crash points of test builds.
only='alloc.c.o:realloc alloc.c.o:calloc alloc.c.o:free
base.c.o:fprintf base.c.o:__fprintf_chk base.c.o:stderr
crash.c.o:getenv crash.c.o:open crash.c.o:close crash.c.o:access crash.c.o:kill crash.c.o:getpid
crash.c.o:nanosleep crash.c.o:fprintf crash.c.o:__fprintf_chk crash.c.o:stderr'

# Prints "archive:object imports symbol" for every import that is not allowed, then "~ " and how many archives
# were read.
offences() {
    nm -A "$@" 2>/dev/null | awk -v allowed="$allowed" -v only="$only" '
        BEGIN {
            split(allowed, list, /[ \n]+/)
            for (i in list) ok[list[i]] = 1
            split(only, list, /[ \n]+/)
            for (i in list) { split(list[i], pair, ":"); ok[pair[1] SUBSEP pair[2]] = 1 }
        }
        NF < 2 { next } # nm puts empty lines between archives
        {
            symbol = $NF; type = $(NF - 1)
            split($1, part, ":") # path/lib.a:object.c.o:address; an import has no address
            where = part[1] ":" part[2]
            archives[part[1]] = 1
            if (type ~ /^[TDBRCV]$/) defined[symbol] = 1
            if (type != "U" && type != "w") next
            place[where, symbol] = where
            name[where, symbol] = symbol
            object[where, symbol] = (part[1] ~ /libassent_common\.a$/) ? part[2] : ""
        }
        END {
            for (k in name) {
                s = name[k]
                if (s in defined || s in ok || (object[k] SUBSEP s) in ok) continue
                if (s ~ /^__(sanitizer_cov_|sancov_|(start|stop)___sancov_)/) continue # fuzz builds count their branches
                print place[k] " imports " s
            }
            for (a in archives) seen++
            print "~ " seen + 0 # sorts last: says that this program came to its end
        }' | LC_ALL=C sort
}

# A pure object that reads a clock and one that only computes: the first must be found, the second not.
self_check() {
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    cat >"$scratch/impure.c" <<'SOURCE'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
time_t impure(const char *text) { void *p = malloc(strlen(text)); puts(text); return p ? time(NULL) : 0; }
SOURCE
    cat >"$scratch/pure.c" <<'SOURCE'
#include <string.h>
size_t pure(const char *text) { return strlen(text); }
SOURCE
    for what in pure impure; do
        "${CC:-cc}" -O1 -fno-builtin -c -o "$scratch/$what.c.o" "$scratch/$what.c"
        ar rc "$scratch/lib$what.a" "$scratch/$what.c.o"
    done
    found=$(offences "$scratch/libpure.a" "$scratch/libimpure.a" | awk '{ print $NF }' | tr '\n' ' ')
    [ "$found" = "malloc puts time 2 " ] || {
        echo "pure-check: does not find what it must: \"$found\"" >&2
        exit 1
    }
    found=$(offences "$scratch/libpure.a")
    [ "$found" = "~ 1" ] || {
        echo "pure-check: finds what is allowed: $found" >&2
        exit 1
    }
}

self_check
found=$(offences "$@")
[ "$found" = "~ $#" ] || {
    echo "$found" | sed 's/^~ \(.*\)/\1 of '$#' archives read/; s/^/pure-check: /' >&2
    exit 1
}
echo "pure-check: $# archives import nothing that does I/O"
