#!/usr/bin/env bash
# Makes a root of what Debian's packages have put on this machine, installs a package into it, and
# boots it with systemd. Run by `unshare`, in namespaces of its own: nothing leads out of them.
#
#     boot.sh WORK PACKAGE
#
# WORK is a folder to mount on; WORK/share is the booted system's /share.
set -euo pipefail
work=$1 package=$2
root=$work/root

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/.mem" "$root"/{proc,sys,dev,run,srv,share,tmp,root,home,mnt,media,opt,boot}
chmod 1777 "$root/tmp"
for name in bin sbin lib lib32 lib64 libx32; do
    if [[ -L /$name ]]; then
        cp -P "/$name" "$root/$name"
    fi
done
for name in usr etc var; do
    mkdir -p "$root/$name" "$root/.mem/$name/upper" "$root/.mem/$name/work"
    mount -t overlay overlay "$root/$name" \
        -o "lowerdir=/$name,upperdir=$root/.mem/$name/upper,workdir=$root/.mem/$name/work"
done
mount -t tmpfs -o mode=755 tmpfs "$root/usr/local" # what did not come in a package
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount --bind "$work/share" "$root/share"
# The machine's kernel is not this system's to change.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup" 2>/dev/null && umount "$root/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
ip link set lo up

# Of the machine's services only the journal is to run.
rm -rf "$root"/etc/systemd/system/*.wants "$root"/usr/lib/systemd/system/*.target.wants
mkdir -p "$root/usr/lib/systemd/system/sysinit.target.wants"
ln -s ../systemd-journald.service "$root/usr/lib/systemd/system/sysinit.target.wants/"
rm -rf "$root"/var/log/journal
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nAudit=no\nReadKMsg=no\n' >"$root/etc/systemd/journald.conf.d/test.conf"

rm -f "$root"/etc/dpkg/dpkg.cfg.d/* # container images leave manual pages out

chroot "$root" dpkg --force-depends -i "$package" >"$work/share/dpkg.log" 2>&1
cd "$root"
mkdir .old
pivot_root . .old
umount -l .old
exec env -i container=torsync-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal
