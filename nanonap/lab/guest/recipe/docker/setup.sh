#!/bin/sh
# Runs as mmdebstrap's customize hook before recipe.sh: $1 is the guest's root folder, which has the recipe as /recipe.
# The engine is started by docker.socket when it is first asked for something, so that a boot takes no longer.
set -eu

root=$1
# The root is read-only: what the engine would make itself, and memory where it keeps its things.
mkdir -p "$root/etc/docker" "$root/etc/cni/net.d" "$root/opt/containerd" "$root/var/lib/docker" "$root/var/lib/containerd"
cp "$root/recipe/docker/daemon.json" "$root/etc/docker/daemon.json"
printf 'state /var/lib/%s tmpfs mode=711 0 0\n' docker containerd >> "$root/etc/fstab"
chroot "$root" systemctl disable docker.service containerd.service
chroot "$root" systemctl enable docker.socket
