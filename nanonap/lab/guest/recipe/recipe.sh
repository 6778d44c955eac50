#!/bin/sh
# Runs as mmdebstrap's customize hook: $1 is the guest's root folder, which has this folder as /recipe; then the
# kernel's modules that the initramfs loads, in their order.
# Leaves root.ext4, vmlinuz, initrd and packages.txt in $1/out; the kernel is unpacked, never installed.
set -eu

root=$1
shift
recipe=$root/recipe
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$root/out"
# Where mmdebstrap was started another user may not be, and this may run as one (its mode unshare).
cd "$work"

. "$recipe/kernel.sh"
unpack_kernel busybox-static
cp "$work"/unpacked/boot/vmlinuz-* "$root/out/vmlinuz"
chroot "$root" dpkg-query --show --showformat '${Package} ${Version}\n' | cat "$work/packages.txt" - > "$root/out/packages.txt"

initrd=$work/initrd
mkdir -p "$initrd/bin" "$initrd/modules" "$initrd/root"
cp "$work"/unpacked/bin/busybox "$initrd/bin/busybox"
cp "$recipe/initramfs.sh" "$initrd/init"
chmod 755 "$initrd/init"
for name in "$@"; do
    module=$(find "$work/unpacked" -path '*/lib/modules/*' -name "$name.ko*")
    case $module in
    *.ko) cp "$module" "$initrd/modules/" ;;
    *.ko.xz) "$initrd/bin/busybox" unxz -c "$module" > "$initrd/modules/$name.ko" ;;
    *) # Newer kernels have some built in.
        find "$work/unpacked" -name modules.builtin -exec grep "/$name.ko\$" {} +
        continue
        ;;
    esac
    echo "$name" >> "$initrd/modules/order"
done
(cd "$initrd" && find . | "$initrd/bin/busybox" cpio -o -H newc) > "$root/out/initrd"

# An account without rights, for what a user without root can do.
chroot "$root" useradd --create-home --shell /bin/sh user
mkdir -p "$root/usr/lib/nanonap"
cp "$recipe/boot.py" "$root/usr/lib/nanonap/boot.py"
cp "$recipe/nanonap-agent.service" "$root/etc/systemd/system/nanonap-agent.service"
chroot "$root" systemctl enable nanonap-agent.service
# Nothing may wake up in the middle of a measurement; the root is read-only.
chroot "$root" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer systemd-update-utmp.service \
    systemd-update-utmp-runlevel.service systemd-random-seed.service systemd-pstore.service getty.target \
    systemd-remount-fs.service systemd-tmpfiles-setup-dev.service dev-hugepages.mount dev-mqueue.mount \
    sys-kernel-config.mount sys-fs-fuse-connections.mount modprobe@configfs.service modprobe@fuse.service \
    modprobe@drm.service modprobe@efi_pstore.service
# The identifier of a machine is made at first boot, which is every boot here.
: > "$root/etc/machine-id"

# A copy without what mmdebstrap has mounted inside (/proc, /sys, and without root the devices).
tree=$work/tree
mkdir "$tree"
tar -C "$root" --one-file-system --exclude=./dev --exclude=./out --exclude=./recipe --exclude=./var/lib/apt/lists \
    --exclude=./var/cache/apt --numeric-owner -cf - . | tar -C "$tree" --numeric-owner -xpf -
mkdir -p "$tree/dev" "$tree/proc" "$tree/sys" "$tree/run" "$tree/tmp"
size_mib=$(($(du -sm "$tree" | cut -f 1) * 5 / 4 + 32))
mke2fs -q -t ext4 -d "$tree" -O ^has_journal -m 0 -L nanonap "$work/root.ext4" "${size_mib}M"
mv "$work/root.ext4" "$root/out/root.ext4"
