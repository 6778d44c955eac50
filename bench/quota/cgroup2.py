"""Quota by cgroup v2, directly: cpu.max, below the root or a delegated group.

Written against Documentation/admin-guide/cgroup-v2.rst.
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import ClassVar

from bench.errors import QuotaUnavailable
from bench.quota.base import Group, Quota, Throttling
from bench.quota.cgroup import CgroupBackend, CgroupGroup, own_folder, refused, unescape

_ROOT_REMEDY = "run as root, or inside a delegated group: `systemd-run --user --scope -p Delegate=cpu COMMAND`"


class Cgroup2Group(CgroupGroup):
    """cpu.max is ``QUOTA PERIOD`` or ``max PERIOD`` in µs; throttled_usec is in µs."""

    backend: ClassVar[str] = "cgroup2"

    def write_limit(self, quota: Quota) -> None:
        """Both values in one write."""
        self.write("cpu.max", f"{(quota.quota_ns or 0) // 1_000} {quota.period_ns // 1_000}")

    def read_limit(self) -> Quota:
        """``max`` is no limit."""
        quota_us, period_us = self.read("cpu.max").split()
        return Quota(None if quota_us == "max" else int(quota_us) * 1_000, int(period_us) * 1_000)

    def counters(self) -> Throttling:
        """cpu.stat."""
        return self.stat(("nr_periods", "nr_throttled", "throttled_usec"), unit_ns=1_000)


class Cgroup2Backend(CgroupBackend):
    """Groups below the nearest cgroup, from the caller's upwards, that can give its children the cpu controller."""

    name: ClassVar[str] = "cgroup2"

    def __init__(self) -> None:
        """Nothing is changed yet."""
        self._enabled: Path | None = None

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
        self._enabled = folder

    def open(self, quota: Quota) -> Group:
        """A new group. Raises QuotaUnavailable."""
        return Cgroup2Group(self.parent, quota)

    def close(self) -> None:
        """Take the cpu controller back from the parent's children if this backend gave it to them."""
        if self._enabled is not None:
            # Refused while another's group below uses it: then it stays, as it must.
            with contextlib.suppress(OSError):
                (self._enabled / "cgroup.subtree_control").write_text("-cpu", encoding="ascii")
            self._enabled = None


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
