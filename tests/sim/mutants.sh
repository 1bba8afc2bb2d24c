#!/usr/bin/env bash
# Plants each bug of tests/sim/mutants/*.patch into a copy of the files it touches, links them before the archives of
# the release build, and lets the simulator look for it. Measures the simulator, not the code.
#
# A mutant's search ends at the first seed that finds it. The seed that found it before, kept in tests/data/sim/mutants, is
# played first; the unmutated build plays all of these, and the others, without finding anything.
# ASSENT_GOLDEN_REWRITE=1 in the environment keeps what was found in that file.
#
# Usage: mutants.sh BUILD_DIR [SEEDS [NAME...]]     (BUILD_DIR: a tree with assent_sim built)
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
build=$(realpath "$1")
seeds=${2:-3000}
shift $(($# < 2 ? $# : 2))
work=$build/mutants
commands=$work/commands
kept=$root/tests/data/sim/mutants
mkdir -p "$work"
ninja -C "$build" -t commands assent_sim >"$commands"

# The command that compiled a file, now for the copy, into the mutant's own object. Copies keep their own line numbers.
compile() { # COPY FILE OBJECT
    local command
    command=$(grep -F -- "-c $root/$2" "$commands" | head -1)
    [ -n "$command" ] || {
        echo "mutants: no command compiles $2" >&2
        return 1
    }
    command=$(sed -E "s| -MD -MT [^ ]+ -MF [^ ]+||; s| -o [^ ]+ -c [^ ]+| -w -Wno-error -o $3 -c $1|" <<<"$command")
    (cd "$build" && eval "$command")
}

link_with() { # PROGRAM OBJECTS
    local command
    command=$(tail -1 "$commands" | sed -E "s| -o tests/sim/assent_sim | -o $1 $2 |")
    (cd "$build" && eval "$command")
}

one() { # NAME: builds and runs it; prints "found|MISSED name ..."
    local name=$1 patch=$root/tests/sim/mutants/$1.patch dir=$work/$1 objects="" file
    rm -rf "$dir"
    mkdir -p "$dir"
    for file in $(sed -n 's|^+++ b/||p' "$patch"); do
        mkdir -p "$dir/$(dirname "$file")"
        cp "$root/$file" "$dir/$file"
    done
    patch -s -p1 -d "$dir" <"$patch" || { echo "BROKEN $name: the patch does not apply"; return; }
    for file in $(sed -n 's|^+++ b/||p' "$patch"); do
        compile "$dir/$file" "$file" "$dir/$(tr / _ <<<"$file").o" || { echo "BROKEN $name: it does not compile"; return; }
        objects="$objects $dir/$(tr / _ <<<"$file").o"
    done
    link_with "$dir/assent_sim" "$objects" || { echo "BROKEN $name: it does not link"; return; }
    awk -v name="$name" '$2 == name' "$kept" >"$dir/kept"
    "$dir/assent_sim" --kept "$dir/kept" --seeds "$seeds" >"$dir/out" 2>"$dir/err" || true
    if grep -q '^sim: FAILED' "$dir/out"; then
        sed -nE "s/^sim: FAILED, seed ([0-9]+) after [0-9]+ seeds: ([^:]*): (.*)/\1\t\2\t\3/p" "$dir/out" |
            while IFS=$'\t' read -r seed rule message; do
                printf 'found  %-28s seed %6s  %-12s %s\n' "$name" "$seed" "$rule" "${message:0:100}"
            done
    else
        echo "MISSED $name: $(head -1 "$patch")"
    fi
}
export -f one compile link_with
export root build seeds work commands kept

names=("$@")
[ ${#names[@]} -gt 0 ] || names=($(basename -s .patch tests/sim/mutants/*.patch))
echo "mutants: the unmutated build, $seeds seeds and those that found a mutant before"
"$build/tests/sim/assent_sim" --kept "$kept" --seeds "$seeds" -j "$(nproc)"
printf '%s\n' "${names[@]}" | xargs -P "$(nproc)" -I{} bash -c 'one {}' | tee "$work/result"
found=$(grep -c '^found' "$work/result" || true)
if [ -n "${ASSENT_GOLDEN_REWRITE:-}" ]; then
    {
        grep '^#' "$kept"
        awk '/^found/ {print $4, $2}' "$work/result" | cat - "$kept" | awk '!/^#/ && !seen[$2]++' | sort -k2
    } >"$work/kept"
    cp "$work/kept" "$kept"
fi
echo "mutants: found $found of ${#names[@]}"
[ "$found" = "${#names[@]}" ]
