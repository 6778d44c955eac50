#!/bin/busybox sh
# /init of the initramfs: the modules, the root read-only, then nanonap_init (from the kernel's command line).
b=/bin/busybox
while read -r module; do
    $b insmod /modules/$module.ko || echo "nanonap: module $module is not loaded"
done < /modules/order
$b mkdir -p /dev
$b mount -t devtmpfs dev /dev
$b mount -t ext4 -o ro,noatime /dev/vda /root || { echo "nanonap: no root file system"; exit 1; }
$b mount -o move /dev /root/dev
# What must be writable; systemd takes them as they are.
$b mount -t tmpfs -o mode=1777 tmp /root/tmp
$b mount -t tmpfs -o mode=1777 tmp /root/var/tmp
$b mount -t tmpfs -o mode=755 state /root/var/lib/systemd
case $nanonap_init in
/usr/lib/nanonap/*)
    # Without systemd: what it would mount.
    $b mount -t proc proc /root/proc
    $b mount -t sysfs sys /root/sys
    $b mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
    $b mount -t tracefs tracefs /root/sys/kernel/tracing
    $b mount -t debugfs debugfs /root/sys/kernel/debug
    $b mount -t tmpfs -o mode=755 run /root/run
    $b ifconfig lo up
    set -- /usr/bin/python3 /usr/lib/nanonap/boot.py
    ;;
*) set -- "$nanonap_init" ;;
esac
exec $b switch_root /root "$@"
