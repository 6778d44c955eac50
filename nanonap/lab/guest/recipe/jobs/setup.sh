#!/bin/sh
# Runs as mmdebstrap's extract hook: $1 is a folder with the packages unpacked, which has the recipe as /recipe. They may
# be of another processor, so nothing of them is run here.
# Leaves tree (what the guest has in memory), vmlinuz and packages.txt in $1/out.
set -eu

root=$1
recipe=$root/recipe
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$root/out"
cd "$work"

. "$recipe/kernel.sh"
unpack_kernel
cp "$work"/unpacked/boot/vmlinuz-* "$root/out/vmlinuz"
# What is unpacked is listed nowhere: nothing is installed.
for package in "$root"/var/cache/apt/archives/*.deb; do
    dpkg-deb --field "$package" Package Version | sed 's/^[A-Za-z]*: //' | paste -d ' ' - -
done | cat "$work/packages.txt" - > "$root/out/packages.txt"

tree=$root/out/tree
mkdir "$tree"
tar -C "$root" --exclude=./out --exclude=./recipe --exclude=./var --exclude=./dev --exclude='./usr/lib/*/gconv' \
    --exclude=./usr/share --exclude=./etc --exclude=./tmp -cf - . | tar -C "$tree" -xpf -
mkdir -p "$tree/dev" "$tree/proc" "$tree/sys" "$tree/run" "$tree/tmp" "$tree/jobs" "$tree/etc" "$tree/root"
cp "$recipe/jobs/init.sh" "$tree/init"
chmod 755 "$tree/init"
