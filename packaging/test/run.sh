#!/usr/bin/env bash
# ./dev package-test: the packages in a bare Debian 12 with systemd as its process 1, in namespaces of its own.
#
#   run.sh DIR PACKAGES UPGRADE [KEEP]   DIR: the bare root is kept there for the next time. PACKAGES: a folder of .deb
#                                        files; UPGRADE: the same of a later release
#
# systemd-nspawn is not needed: unshare makes the namespaces, boot.sh what it finds in them, inside.sh tests. The machine
# inside has no network, so whatever it installs is downloaded beforehand.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
work=$(cd "$1" && pwd) packages=$(cd "$2" && pwd) upgrade=$(cd "$3" && pwd)
base=$work/base
name=assent-package-test-$$
run=$work/$name

die() {
    echo "package-test: $*" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || die "this needs root: it makes namespaces and mounts"

# The mirror that this machine uses itself.
mirror() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(ORIGIN)' |
        awk '$2 == "bookworm" && $3 == "Debian" { print $1; exit }'
}

make_base() {
    [ ! -e "$base.made" ] || return 0
    rm -rf "$base"
    echo "package-test: making a bare Debian 12 (once)" >&2
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus bookworm "$base" "$(mirror)" >"$work/debootstrap.log" ||
        die "debootstrap failed: $work/debootstrap.log"
    touch "$base.made"
}

# What the packages and the test's database need, so that apt finds it without a network.
download() {
    local made
    made=$(cat "$packages"/*.deb | sha256sum | cut -d' ' -f1)
    [ "$(cat "$base.downloaded" 2>/dev/null)" != "$made" ] || return 0
    echo "package-test: downloading what the packages depend on" >&2
    mkdir -p "$base/tmp/packages"
    cp "$packages"/*.deb "$base/tmp/packages"
    cp /etc/resolv.conf "$base/etc/resolv.conf"
    chroot "$base" apt-get update -qq
    chroot "$base" sh -c 'apt-get install -y -qq --download-only --no-install-recommends /tmp/packages/*.deb' >"$work/download.log"
    chroot "$base" apt-get install -y -qq --download-only --no-install-recommends postgresql-15 >>"$work/download.log"
    rm -rf "$base/tmp/packages"
    echo "$made" >"$base.downloaded"
}

# A cgroup of its own is what systemd takes for the root of the tree.
cgroup=/sys/fs/cgroup/systemd/$name
own_cgroup() {
    [ -d /sys/fs/cgroup/systemd ] || return 0
    mkdir "$cgroup"
}

init=
cleanup() {
    [ -z "$init" ] || kill -9 "$init" 2>/dev/null || true
    wait 2>/dev/null || true
    if [ -d "$cgroup" ]; then
        # Its processes died with their process 1; the kernel may take a moment to let go of them.
        for _ in $(seq 50); do
            ! find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || break
            sleep 0.1
        done
    fi
    rm -rf "$run"
}

make_base
download
mkdir -p "$run"/{upper,work,root}
mkdir -p "$run/upper/packages" "$run/upper/upgrade"
cp "$packages"/*.deb "$run/upper/packages"
cp "$upgrade"/*.deb "$run/upper/upgrade"
cp "$here/inside.sh" "$run/upper/inside.sh"
trap cleanup EXIT
own_cgroup
(
    [ ! -d "$cgroup" ] || echo "$BASHPID" >"$cgroup/cgroup.procs"
    exec unshare --mount --pid --fork --kill-child --ipc --uts --net --cgroup --propagation private \
        "$here/boot.sh" "$base" "$run"
) >"$work/boot.log" 2>&1 &
shell=$!

# The namespaces' process 1 is the only child of unshare.
for _ in $(seq 300); do
    kill -0 "$shell" 2>/dev/null || die "it did not start: $work/boot.log"
    read -r init <"/proc/$shell/task/$shell/children" 2>/dev/null || true
    [ -n "$init" ] && [ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ] && break
    init=
    sleep 0.1
done
[ -n "$init" ] || die "systemd did not start: $work/boot.log"
nsenter --target "$init" --mount --pid --ipc --uts --net --cgroup --root --wd -- \
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive bash /inside.sh
