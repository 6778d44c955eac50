"""Quota by cgroup v2, directly: cpu.max, below the root or a delegated group.

Written against Documentation/admin-guide/cgroup-v2.rst.
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import ClassVar

from bench.errors import QuotaUnavailable
from bench.quota.base import Group, StatFiles, Throttling
from bench.quota.cgroup import CgroupBackend, CgroupGroup, no_burst, own_folder, refused, unescape
from bench.quota.limits import Limits, Quota

_ROOT_REMEDY = "run as root, or inside a delegated group: `systemd-run --user --scope -p Delegate=cpu COMMAND`"


class Cgroup2Group(CgroupGroup):
    """cpu.max is ``QUOTA PERIOD`` or ``max PERIOD`` in µs, as cpu.max.burst is; cpu.weight; memory.max in bytes."""

    backend: ClassVar[str] = "cgroup2"

    def write_limits(self, limits: Limits) -> None:
        """Quota and period in one write; then the burst, which is checked against them."""
        if limits.quota.limited:
            self.write("cpu.max", f"{(limits.quota.quota_ns or 0) // 1_000} {limits.quota.period_ns // 1_000}")
        if limits.quota.burst_ns:
            if not (self.folder / "cpu.max.burst").exists():
                raise no_burst(self.backend)
            self.write("cpu.max.burst", str(limits.quota.burst_ns // 1_000))
        if limits.weight is not None:
            self.write("cpu.weight", str(limits.weight))
        if limits.memory_bytes is not None:
            if not (self.folder / "memory.max").exists():
                reason = "memory is asked for, and the group's parent has no memory controller to give"
                raise QuotaUnavailable(self.backend, reason, "leave --memory-max out, or delegate the controller")
            self.write("memory.max", str(limits.memory_bytes))

    def read_limits(self) -> Limits:
        """``max`` is no limit."""
        return read_limits(self.folder)

    def counters(self) -> Throttling:
        """cpu.stat."""
        return throttling_of(self.fields())

    @property
    def stat_files(self) -> StatFiles:
        """cpu.stat of the folder, which has the usage too."""
        return StatFiles(self.folder / "cpu.stat", 2)


def read_limits(folder: Path) -> Limits:
    """What a cgroup v2 folder is limited to. Raises OSError."""
    texts = {
        name: path.read_text(encoding="ascii").strip() if (path := folder / name).exists() else None
        for name in ("cpu.max", "cpu.max.burst", "cpu.weight", "memory.max")
    }
    quota_us, period_us = (texts["cpu.max"] or "max 100000").split()
    burst_ns = int(texts["cpu.max.burst"] or "0") * 1_000
    weight, memory = texts["cpu.weight"], texts["memory.max"]
    return Limits(
        Quota() if quota_us == "max" else Quota(int(quota_us) * 1_000, int(period_us) * 1_000, burst_ns),
        None if weight is None else int(weight),
        None if memory in (None, "max") else int(memory or 0),
    )


def throttling_of(fields: dict[str, int]) -> Throttling:
    """The counters of a cgroup v2 cpu.stat, whose times are in µs."""
    burst_us, usage_us = fields.get("burst_usec"), fields.get("usage_usec")
    return Throttling(
        fields.get("nr_periods", 0),
        fields.get("nr_throttled", 0),
        fields.get("throttled_usec", 0) * 1_000,
        fields.get("nr_bursts"),
        None if burst_us is None else burst_us * 1_000,
        None if usage_us is None else usage_us * 1_000,
    )


class Cgroup2Backend(CgroupBackend):
    """Groups below the nearest cgroup, from the caller's upwards, that can give its children the cpu controller."""

    name: ClassVar[str] = "cgroup2"

    def __init__(self) -> None:
        """Nothing is changed yet."""
        self._enabled: list[tuple[Path, str]] = []

    def prepare(self) -> None:
        """Find the parent and give its children the cpu controller. Raises QuotaUnavailable."""
        mount = find_mount(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
        if mount is None:
            remedy = "boot with systemd.unified_cgroup_hierarchy=1, or use cgroup1"
            raise QuotaUnavailable(self.name, "no cgroup v2 file system is mounted", remedy)
        root, point = mount
        if "cpu" not in _words(Path(point, "cgroup.controllers")):
            reason = f"the cgroup v2 hierarchy at {point} has no cpu controller (a v1 hierarchy may hold it)"
            remedy = "boot with systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all, or use cgroup1"
            raise QuotaUnavailable(self.name, reason, remedy)
        own = own_folder(root, point, own_path(Path("/proc/self/cgroup").read_text(encoding="utf-8")))
        self.parent = self._choose_parent(own, Path(point))
        self.remove_stale()

    def _choose_parent(self, own: Path, top: Path) -> Path:
        # A group with processes of its own cannot hand out controllers (EBUSY, "no internal processes"),
        # the root excepted; so the caller's own group mostly cannot, and one further up can.
        last: QuotaUnavailable | None = None
        for folder in [own, *own.parents]:
            try:
                self._enable(folder)
                return folder
            except OSError as error:
                last = refused(self.name, f"handing the cpu controller to the children of {folder}", error)
            if folder == top:
                break
        reason = last.reason if last is not None else f"no usable group above {own}"
        raise QuotaUnavailable(self.name, reason, _ROOT_REMEDY)

    def _enable(self, folder: Path) -> None:
        if not os.access(folder, os.W_OK) or not os.access(folder / "cgroup.procs", os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if "cpu" in _words(folder / "cgroup.subtree_control"):
            return
        (folder / "cgroup.subtree_control").write_text("+cpu", encoding="ascii")
        self._enabled.append((folder, "cpu"))

    def open(self, limits: Limits) -> Group:
        """A new group. Raises QuotaUnavailable."""
        control = self.parent / "cgroup.subtree_control"
        if limits.memory_bytes is not None and "memory" not in _words(control):
            with contextlib.suppress(OSError):  # where it cannot be had the group says so
                control.write_text("+memory", encoding="ascii")
                self._enabled.append((self.parent, "memory"))
        return Cgroup2Group([self.parent], limits)

    def close(self) -> None:
        """Take the controllers back from the children if this backend gave them."""
        for folder, controller in reversed(self._enabled):
            # Refused while another's group below uses it: then it stays, as it must.
            with contextlib.suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"-{controller}", encoding="ascii")
        self._enabled.clear()


def find_mount(mountinfo: str) -> tuple[str, str] | None:
    """(root, mount point) of the first cgroup2 file system in the text of /proc/self/mountinfo."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if after.split(" ", 1)[0] == "cgroup2":
            root, point = before.split(" ")[3:5]
            return unescape(root), unescape(point)
    return None


def own_path(cgroups: str) -> str:
    """The caller's path in the v2 hierarchy, from the text of /proc/self/cgroup (its line ``0::PATH``)."""
    for line in cgroups.splitlines():
        if line.startswith("0::"):
            return line[3:]
    return "/"


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []
