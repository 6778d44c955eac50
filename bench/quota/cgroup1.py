"""Quota by a cgroup v1 cpu controller (Documentation/scheduler/sched-bwc.rst)."""

from pathlib import Path
from typing import ClassVar

from bench.errors import QuotaUnavailable
from bench.quota.base import Group, Quota, Throttling
from bench.quota.cgroup import CgroupBackend, CgroupGroup, own_folder, unescape


class Cgroup1Group(CgroupGroup):
    """cpu.cfs_quota_us and cpu.cfs_period_us; throttled_time is in ns."""

    backend: ClassVar[str] = "cgroup1"

    def write_limit(self, quota: Quota) -> None:
        """Period first: the quota is checked against it."""
        self.write("cpu.cfs_period_us", str(quota.period_ns // 1_000))
        self.write("cpu.cfs_quota_us", str((quota.quota_ns or 0) // 1_000))

    def read_limit(self) -> Quota:
        """-1 is no limit."""
        quota_us, period_us = int(self.read("cpu.cfs_quota_us")), int(self.read("cpu.cfs_period_us"))
        return Quota(None if quota_us < 0 else quota_us * 1_000, period_us * 1_000)

    def counters(self) -> Throttling:
        """cpu.stat."""
        return self.stat(("nr_periods", "nr_throttled", "throttled_time"), unit_ns=1)


class Cgroup1Backend(CgroupBackend):
    """Groups below the caller's own cgroup in the v1 hierarchy that has the cpu controller."""

    name: ClassVar[str] = "cgroup1"

    def prepare(self) -> None:
        """Find the hierarchy. Raises QuotaUnavailable."""
        mount = find_cpu_mount(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
        if mount is None:
            reason = "no cgroup v1 hierarchy with the cpu controller is mounted"
            remedy = "nothing to do where cgroup v2 has it; else `mount -t cgroup -o cpu cgroup DIR` as root"
            raise QuotaUnavailable(self.name, reason, remedy)
        own = own_cpu_path(Path("/proc/self/cgroup").read_text(encoding="utf-8"))
        self.parent = own_folder(mount[0], mount[1], own)
        if not (self.parent / "cpu.cfs_quota_us").exists():
            reason = f"{self.parent} has no cpu.cfs_quota_us"
            raise QuotaUnavailable(self.name, reason, "use a kernel with CONFIG_CFS_BANDWIDTH")
        self.remove_stale()

    def open(self, quota: Quota) -> Group:
        """A new group. Raises QuotaUnavailable."""
        return Cgroup1Group(self.parent, quota)


def find_cpu_mount(mountinfo: str) -> tuple[str, str] | None:
    """(root, mount point) of the v1 cpu hierarchy in the text of /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup" and "cpu" in options.split(","):
            root, point = before.split(" ")[3:5]
            return unescape(root), unescape(point)
    return None


def own_cpu_path(cgroups: str) -> str:
    """The caller's path in the cpu hierarchy, from the text of /proc/self/cgroup (cgroups(7)); / if it names none."""
    for line in cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            return path
    return "/"
