"""Quota by a cgroup v1 cpu controller (Documentation/scheduler/sched-bwc.rst)."""

import os
from pathlib import Path
from typing import ClassVar

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.base import Group, StatFiles, Throttling
from nanonap.lab.quota.cgroup import CgroupBackend, CgroupGroup, mounts, new_name, no_burst, own_folder
from nanonap.lab.quota.limits import Limits, Quota

_SHARES_OF_WEIGHT_100 = 1024
_NO_MEMORY_LIMIT = 1 << 62  # PAGE_COUNTER_MAX in bytes, whatever its exact value; no machine has so much


class Cgroup1Group(CgroupGroup):
    """cpu.cfs_quota_us, cpu.cfs_period_us, cpu.cfs_burst_us, cpu.shares; throttled_time is in ns.

    CPU time and memory are counted in hierarchies that may be others: ``usage`` and ``memory`` are the group's folders
    there, None where there is none.
    """

    backend: ClassVar[str] = "cgroup1"
    usage: Path | None = None
    memory: Path | None = None

    def __init__(self, parent: Path, limits: Limits, usage: Path | None, memory: Path | None) -> None:
        """A group below ``parent``, and below the parents in the other hierarchies. Raises QuotaUnavailable."""
        name, parents = new_name(), [parent]
        if usage is not None:
            self.usage = usage / name
            parents += [usage] if usage != parent else []
        if memory is not None:
            self.memory = memory / name
            parents.append(memory)
        super().__init__(parents, limits, name)

    def write_limits(self, limits: Limits) -> None:
        """Period first, quota next: each is checked against the ones before."""
        if limits.quota.limited:
            self.write("cpu.cfs_period_us", str(limits.quota.period_ns // 1_000))
            self.write("cpu.cfs_quota_us", str((limits.quota.quota_ns or 0) // 1_000))
        if limits.quota.burst_ns:
            if not (self.folder / "cpu.cfs_burst_us").exists():
                raise no_burst(self.backend)
            self.write("cpu.cfs_burst_us", str(limits.quota.burst_ns // 1_000))
        if limits.weight is not None:
            self.write("cpu.shares", str(_shares(limits.weight)))
        if limits.memory_bytes is not None and self.memory is not None:
            (self.memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes), encoding="ascii")

    def read_limits(self) -> Limits:
        """A quota of -1 is no limit."""
        memory = None
        if self.memory is not None:
            memory = int((self.memory / "memory.limit_in_bytes").read_text(encoding="ascii"))
        return Limits(
            read_quota(self.folder),
            round(int(self.read("cpu.shares")) * 100 / _SHARES_OF_WEIGHT_100),
            memory if memory is not None and memory < _NO_MEMORY_LIMIT else None,
        )

    def counters(self) -> Throttling:
        """cpu.stat and cpuacct.usage."""
        fields = self.fields()
        usage = None if self.usage is None else int((self.usage / "cpuacct.usage").read_text(encoding="ascii"))
        return throttling_of(fields, usage)

    @property
    def stat_files(self) -> StatFiles:
        """Those of the folders."""
        return StatFiles(self.folder / "cpu.stat", 1, None if self.usage is None else self.usage / "cpuacct.usage")


def read_quota(folder: Path) -> Quota:
    """The quota of a cgroup v1 folder; -1 is none. Raises OSError."""
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    quota_us, period_us = (int((folder / name).read_text(encoding="ascii")) for name in names)
    burst = folder / "cpu.cfs_burst_us"
    burst_us = int(burst.read_text(encoding="ascii")) if burst.exists() else 0
    return Quota() if quota_us < 0 else Quota(quota_us * 1_000, period_us * 1_000, burst_us * 1_000)


def throttling_of(fields: dict[str, int], usage_ns: int | None = None) -> Throttling:
    """The counters of a cgroup v1 cpu.stat, whose times are in ns."""
    return Throttling(
        fields.get("nr_periods", 0),
        fields.get("nr_throttled", 0),
        fields.get("throttled_time", 0),
        fields.get("nr_bursts"),
        fields.get("burst_time"),
        usage_ns,
    )


def _shares(weight: int) -> int:
    """cpu.shares for a weight: 1024 stands for 100 (sched_prio_to_weight and CGROUP_WEIGHT_DFL)."""
    return max(2, round(weight * _SHARES_OF_WEIGHT_100 / 100))


class Cgroup1Backend(CgroupBackend):
    """Groups below the caller's own cgroup in the v1 hierarchy that has the cpu controller."""

    name: ClassVar[str] = "cgroup1"
    version: ClassVar[str | None] = "v1"
    memory: Path | None = None
    usage: Path | None = None

    def prepare(self) -> None:
        """Find the hierarchy. Raises QuotaUnavailable."""
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        mount = find_mount(text, "cpu")
        if mount is None:
            reason = "no cgroup v1 hierarchy with the cpu controller is mounted"
            remedy = "nothing to do where cgroup v2 has it; else `mount -t cgroup -o cpu cgroup DIR` as root"
            raise QuotaUnavailable(self.name, reason, remedy)
        own = own_path(Path("/proc/self/cgroup").read_text(encoding="utf-8"), "cpu")
        self.parent = own_folder(mount[0], mount[1], own)
        if not (self.parent / "cpu.cfs_quota_us").exists():
            reason = f"{self.parent} has no cpu.cfs_quota_us"
            raise QuotaUnavailable(self.name, reason, "use a kernel with CONFIG_CFS_BANDWIDTH")
        self.memory, self.usage = _other_folder(text, "memory"), _other_folder(text, "cpuacct")
        self.others = tuple(each for each in (self.memory, self.usage) if each is not None)
        self.remove_stale()

    def open(self, limits: Limits) -> Group:
        """A new group. Raises QuotaUnavailable."""
        if limits.memory_bytes is not None and self.memory is None:
            reason = "memory is asked for, and no cgroup v1 hierarchy with the memory controller can be written here"
            raise QuotaUnavailable(self.name, reason, "leave --memory-max out, or mount it as root")
        return Cgroup1Group(self.parent, limits, self.usage, self.memory if limits.memory_bytes is not None else None)


def _other_folder(mountinfo: str, controller: str) -> Path | None:
    mount = find_mount(mountinfo, controller)
    if mount is None:
        return None
    folder = own_folder(*mount, own_path(Path("/proc/self/cgroup").read_text(encoding="utf-8"), controller))
    return folder if os.access(folder, os.W_OK) else None


def find_mount(mountinfo: str, controller: str) -> tuple[str, str] | None:
    """(root, mount point) of a controller's v1 hierarchy, in the text of /proc/self/mountinfo."""
    found = (each for each in mounts(mountinfo) if each.kind == "cgroup" and controller in each.options)
    return next(((each.root, each.point) for each in found), None)


def own_path(cgroups: str, controller: str) -> str:
    """The caller's path in a controller's hierarchy, from the text of /proc/self/cgroup; / if it names none."""
    for line in cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return "/"
