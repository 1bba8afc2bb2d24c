#!/usr/bin/env bash
# Process 1 of the test's namespaces: mounts what a machine has and becomes systemd. boot.sh BASE RUN
set -euo pipefail
base=$1 run=$2 root=$2/root

mount -t overlay overlay -o "lowerdir=$base,upperdir=$run/upper,workdir=$run/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
mkdir "$root/sys/fs/cgroup/systemd"
mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
hostname bare
echo bare >"$root/etc/hostname"
echo '127.0.0.1 localhost bare' >"$root/etc/hosts"
: >"$root/etc/machine-id"

# Not chroot: a process whose root is not that of its mount namespace may not make user namespaces (PrivateUsers).
mkdir -p "$root/outside"
cd "$root"
pivot_root . outside
exec env -i container=assent-package-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /bin/sh -c \
    'umount --lazy /outside; rmdir /outside; exec /lib/systemd/systemd --log-target=journal'
