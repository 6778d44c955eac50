"""Quota by cgroup v2, directly: cpu.max, below the root or a delegated group.

Written against Documentation/admin-guide/cgroup-v2.rst.
"""

import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from typing import ClassVar

from nanonap.base.processes import identity, is_alive
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.watchdog import guard
from nanonap.lab.quota.base import Group, StatFiles, Throttling
from nanonap.lab.quota.cgroup import CgroupBackend, CgroupGroup, mounts, no_burst, own_folder, owner_of, refused
from nanonap.lab.quota.limits import Limits, Quota

# No name that ``owner_of`` knows: what is in a leaf is to live on, when its owner is dead too.
_LEAF = "nanonap-leaf-"
_PUT_BACK = "import sys; from nanonap.lab.quota.cgroup2 import put_back; put_back(*sys.argv[1:])"
_PATIENCE_S = 5.0
_ROOT_REMEDY = "run as root, or inside a delegated group: `systemd-run --user --scope -p Delegate=cpu COMMAND`"


class Cgroup2Group(CgroupGroup):
    """cpu.max is ``QUOTA PERIOD`` or ``max PERIOD`` in µs, as cpu.max.burst is; cpu.weight; memory.max in bytes."""

    backend: ClassVar[str] = "cgroup2"

    def write_limits(self, limits: Limits) -> None:
        """Quota and period in one write; then the burst, which is checked against them."""
        if not _is_domain(self.folder):
            reason = f"{self.folder} can hold no processes (a process is in the group above it, or that is threaded)"
            raise QuotaUnavailable(self.backend, reason, "keep other processes out of that group")
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
    version: ClassVar[str | None] = "v2"

    def __init__(self) -> None:
        """Nothing is changed yet."""
        self._enabled: list[tuple[Path, str]] = []
        self._leaf: Path | None = None

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
        if own.name.startswith(_LEAF) and own != top:  # made by a bench that this one was started beside
            self._leaf, own = own, own.parent
        around = [own, *own.parents]
        tries = [(self._enable, folder) for folder in around[: around.index(top) + 1 if top in around else None]]
        if self._leaf is None:
            # A delegated group is there to be arranged; in another one processes are moved only if nothing else helps.
            tries.insert(0 if _is_delegated(own) else len(tries), (self._empty_and_enable, own))
        last: QuotaUnavailable | None = None
        for enable, folder in tries:
            try:
                enable(folder)
                return folder
            except OSError as error:
                last = refused(self.name, f"handing the cpu controller to the children of {folder}", error)
        reason = last.reason if last is not None else f"no usable group above {own}"
        raise QuotaUnavailable(self.name, reason, _ROOT_REMEDY)

    def _enable(self, folder: Path) -> None:
        _check_access(folder)
        # The root may have processes beside groups with controllers. In any other group the kernel lets cpu, a
        # threaded controller, be handed out beside processes too, but then no child can hold a process (EOPNOTSUPP).
        if not _is_domain(folder):
            raise OSError(errno.EBUSY, "it is threaded")
        if (folder / "cgroup.type").exists() and _words(folder / "cgroup.procs"):
            raise OSError(errno.EBUSY, "it has processes of its own")
        if "cpu" in _words(folder / "cgroup.subtree_control"):
            return
        (folder / "cgroup.subtree_control").write_text("+cpu", encoding="ascii")
        self._enabled.append((folder, "cpu"))

    def _empty_and_enable(self, folder: Path) -> None:
        # Its processes, the caller among them, wait in a leaf until ``close``.
        _check_access(folder)
        if not (folder / "cgroup.type").exists() or not _is_domain(folder):
            raise OSError(errno.EBUSY, "it is the root, or threaded")
        if "cpu" not in _words(folder / "cgroup.controllers"):
            raise OSError(errno.ENOENT, "the group above it hands out no cpu controller")
        leaf = folder / f"{_LEAF}{identity()}"
        guard.watch_command(_put_back_command(leaf))
        self._leaf = leaf
        try:
            leaf.mkdir(exist_ok=True)
            _move_processes(folder, leaf)
            self._enable(folder)
        except BaseException:
            self.close()
            raise

    def open(self, limits: Limits) -> Group:
        """A new group. Raises QuotaUnavailable."""
        control = self.parent / "cgroup.subtree_control"
        if limits.memory_bytes is not None and "memory" not in _words(control):
            with contextlib.suppress(OSError):  # where it cannot be had the group says so
                control.write_text("+memory", encoding="ascii")
                self._enabled.append((self.parent, "memory"))
        return Cgroup2Group([self.parent], limits)

    def close(self) -> None:
        """Take the controllers back from the children if this backend gave them, and undo the leaf."""
        for folder, controller in reversed(self._enabled):
            # Refused while another's group below uses it: then it stays, as it must.
            with contextlib.suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"-{controller}", encoding="ascii")
        self._enabled.clear()
        if self._leaf is not None:
            # Where it cannot be undone the processes stay in the leaf, which is no harm to them.
            with contextlib.suppress(OSError):
                put_back(str(self._leaf), identity())
            guard.forget_command(_put_back_command(self._leaf))
            self._leaf = None


def put_back(leaf: str, who: str) -> None:
    """Move the processes of a leaf back into the group around it, and remove it; not while another bench is there.

    ``who`` is the identity of the bench that asks. Raises OSError.
    """
    folder = Path(leaf).parent
    owners = {owner_of(each.name) for each in folder.glob("nanonap-*")} | {Path(leaf).name.removeprefix(_LEAF)}
    if not Path(leaf).exists() or any(owner and owner != who and is_alive(owner) for owner in owners):
        return
    # A group with processes that could be moved into a leaf handed out nothing before.
    given = _words(folder / "cgroup.subtree_control")
    (folder / "cgroup.subtree_control").write_text(" ".join(f"-{name}" for name in given), encoding="ascii")
    _move_processes(Path(leaf), folder)
    Path(leaf).rmdir()


def _put_back_command(leaf: Path) -> list[str]:
    return [sys.executable, "-c", _PUT_BACK, str(leaf), identity()]


def _move_processes(source: Path, target: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while pids := _words(source / "cgroup.procs"):  # again for those that were forked meanwhile
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, "processes keep appearing in it")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (target / "cgroup.procs").write_text(pid, encoding="ascii")


def _check_access(folder: Path) -> None:
    if not os.access(folder, os.W_OK) or not os.access(folder / "cgroup.procs", os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _is_domain(folder: Path) -> bool:
    # The root has no cgroup.type.
    return _words(folder / "cgroup.type") in ([], ["domain"])


def _is_delegated(folder: Path) -> bool:
    # How the system's manager marks a group (systemd's CGROUP_DELEGATION). A user's manager marks none (seen in
    # version 252): there the slice around is used, which is the user's as well.
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def find_mount(mountinfo: str) -> tuple[str, str] | None:
    """(root, mount point) of the first cgroup2 file system in the text of /proc/self/mountinfo."""
    return next(((each.root, each.point) for each in mounts(mountinfo) if each.kind == "cgroup2"), None)


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
