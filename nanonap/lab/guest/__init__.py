"""A small QEMU guest with a real cgroup v2 and, if asked for, a real systemd: booted, filled, used, ended."""
