"""The CPU limits that others set on the groups above a run: read, never written.

A quota stops all that is in the group and below (Documentation/scheduler/sched-bwc.rst), whoever set it: a container
engine, a service manager, a batch system. A run in a group of ours is limited by the groups above that one, a run in
none by the groups that this process is in.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nanonap.lab.ground.host import cpus_allowed
from nanonap.lab.quota import cgroup1, cgroup2
from nanonap.lab.quota.base import Backend, Group, StatFiles, Throttling
from nanonap.lab.quota.cgroup import Mount, fields_of, mounts, seen_folder, throttled_ns_of
from nanonap.lab.quota.limits import Limits, Quota

# What the link /proc/self/ns/cgroup says in the namespace of the machine (PROC_CGROUP_INIT_INO, linux/proc_ns.h).
_INITIAL_NAMESPACE = "cgroup:[4026531835]"


@dataclass(frozen=True)
class Bound:
    """A group above with a quota. ``group`` is its path as seen from here."""

    group: str
    version: int
    quota: Quota
    cpu_stat: Path

    def counters(self) -> Throttling | None:
        """What the group counted so far; None where that cannot be read."""
        try:
            fields = fields_of(self.cpu_stat.read_text(encoding="ascii"))
        except OSError:
            return None
        return cgroup1.throttling_of(fields) if self.version == 1 else cgroup2.throttling_of(fields)


@dataclass(frozen=True)
class Above:
    """What limits a run from above.

    ``bounds`` are the groups with a quota, the innermost first. ``unseen`` says which groups cannot be looked at from
    here, None if all can. ``stopped`` is the innermost group's cpu.stat.local (Linux 6.6), which counts for how long
    that group was stopped by itself or by any group above, seen or not; None where there is none. ``cpuset`` is the
    list of CPUs that the groups allow.
    """

    bounds: tuple[Bound, ...] = ()
    unseen: str | None = None
    stopped: Path | None = None
    cpuset: str | None = None

    def stops_of(self, group: Group) -> Path | None:
        """The file that counts for how long a run in the group is stopped, by the group or by these; None without one.

        Where both can be, that is the run's own cpu.stat.local; a kernel without it counts the stops of one group each.
        """
        own = None if group.stat_files is None else group.stat_files.cpu_stat
        if not self.bounds and self.unseen is None:
            return own
        local = self.stopped if own is None else own.with_name("cpu.stat.local")
        if local is not None and local.exists():
            return local
        return own or next((each.cpu_stat for each in self.bounds), None)

    def counters(self) -> tuple[list[Throttling | None], int | None]:
        """(of each bound, time stopped in all in ns) so far."""
        return [each.counters() for each in self.bounds], None if self.stopped is None else _stopped_ns(self.stopped)

    def told(self, before: tuple[list[Throttling | None], int | None] | None = None) -> "LimitsAbove":
        """As results keep it; with an earlier ``counters`` those of the time since, else of all time so far."""
        now, stopped_ns = self.counters()
        olds, old_ns = before if before is not None else ([Throttling(0, 0, 0)] * len(now), 0)
        return LimitsAbove(
            groups=[_quota_above(*each) for each in zip(self.bounds, now, olds, strict=True)],
            stopped_ns=None if stopped_ns is None or old_ns is None else stopped_ns - old_ns,
            unseen=self.unseen,
            cpus=cpus_allowed(),
            cpus_online=os.sysconf("SC_NPROCESSORS_ONLN"),
            cpuset=self.cpuset,
        )


@dataclass(frozen=True)
class QuotaAbove:
    """A group above with a quota, and what it counted meanwhile; None where that was not seen. Times in ns."""

    group: str
    version: int
    quota_ns: int
    period_ns: int
    burst_ns: int
    nr_periods: int | None
    nr_throttled: int | None
    throttled_ns: int | None

    def __post_init__(self) -> None:
        """Raise ValueError for what is no quota: results are not trusted."""
        if self.period_ns <= 0:
            raise ValueError(f"a period of {self.period_ns} ns")


@dataclass(frozen=True)
class LimitsAbove:
    """What limited a run from above, as ``Above`` has it, with the CPUs that could be used."""

    groups: list[QuotaAbove]
    stopped_ns: int | None
    unseen: str | None
    cpus: int
    cpus_online: int
    cpuset: str | None


def _quota_above(bound: Bound, now: Throttling | None, before: Throttling | None) -> QuotaAbove:
    used = now.since(before) if now is not None and before is not None else None
    counters = (used.nr_periods, used.nr_throttled, used.throttled_ns) if used else (None, None, None)
    quota = bound.quota
    return QuotaAbove(bound.group, bound.version, quota.quota_ns or 0, quota.period_ns, quota.burst_ns, *counters)


def _stopped_ns(path: Path) -> int | None:
    try:
        return throttled_ns_of(path.read_text(encoding="ascii"))
    except OSError:
        return None


def above_group(group: Group) -> Above:
    """What limits a group's runs beside its own limits."""
    files = group.stat_files
    # A group that this host does not show is none, or is in a guest, whose process is where this one is.
    return above_process() if files is None else _above_files(files)


def above_backend(backend: Backend) -> Above:
    """What limits the runs that a backend puts into groups. Raises QuotaUnavailable."""
    with backend.open(Limits()) as group:
        return above_group(group)


def above_process(root: Path = Path("/")) -> Above:
    """What limits this process. ``root`` is where /proc and the mounts are looked for."""
    try:
        cgroups = (root / "proc/self/cgroup").read_text(encoding="utf-8")
        mounted = list(mounts((root / "proc/self/mountinfo").read_text(encoding="utf-8")))
    except FileNotFoundError:  # a kernel without cgroups has none of the first
        seen = (root / "proc/self/mountinfo").exists()
        return Above(unseen=None if seen else "this process's groups, since /proc is not mounted")
    except OSError as error:
        return Above(unseen=f"this process's groups ({error.strerror})")
    kind, own = _hierarchy(cgroups, "cpu")
    place = _place(mounted, kind, own, root)
    cpuset = _cpuset(mounted, cgroups, root)
    if place is not None:
        return _walk(*place, cpuset)
    if own == "/" and _is_initial(root):
        return Above(cpuset=cpuset)
    return Above(unseen=f"the groups of this process (no file system mounted here shows {own})", cpuset=cpuset)


def _hierarchy(cgroups: str, controller: str) -> tuple[str, str]:
    """(kind and controller of the hierarchy, this process's path there): v1 where one holds the controller, else v2."""
    for line in cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return controller, path
    return "", cgroup2.own_path(cgroups)


def _place(mounted: list[Mount], controller: str, own: str, root: Path) -> tuple[Path, Mount, Path] | None:
    """(this process's folder, the mount that shows it and the most above it, the mount's top); None if none does."""
    found = []
    for mount in {mount.point: mount for mount in mounted}.values():  # a later mount at a point hides an earlier one
        top = root / mount.point.lstrip("/")
        if mount.kind != ("cgroup" if controller else "cgroup2") or (controller and controller not in mount.options):
            continue
        folder = seen_folder(mount.root, str(top), own)
        if folder is not None and all((each / "cgroup.procs").exists() for each in (top, folder)):  # not hidden
            found.append((folder, mount, top))
    return max(found, key=lambda each: len(each[0].relative_to(each[2]).parts), default=None)


def _above_files(files: StatFiles) -> Above:
    """What limits a group from above: its parent and what is above that."""
    parent = files.cpu_stat.parent.parent
    kind = "cgroup" if files.version == 1 else "cgroup2"
    mounted = list(mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8")))
    tops = [each for each in mounted if each.kind == kind and parent.is_relative_to(each.point)]
    cpuset = _cpuset(mounted, Path("/proc/self/cgroup").read_text(encoding="utf-8"), Path("/"))
    if not tops:  # the group is the top of what is mounted
        return Above(unseen=f"the groups above {files.cpu_stat.parent}", cpuset=cpuset)
    mount = max(tops, key=lambda each: len(each.point))
    return _walk(parent, mount, Path(mount.point), cpuset)


def _walk(folder: Path, mount: Mount, top: Path, cpuset: str | None) -> Above:
    version = 1 if mount.kind == "cgroup" else 2
    bounds = []
    for each in _upwards(folder, top):
        try:
            quota = cgroup1.read_quota(each) if version == 1 else cgroup2.read_limits(each).quota
        except FileNotFoundError:  # v1 without CONFIG_CFS_BANDWIDTH
            quota = Quota()
        if quota.limited:
            bounds.append(Bound(_name(each, mount, top), version, quota, each / "cpu.stat"))
    local = folder / "cpu.stat.local"
    name = _name(top, mount, top)
    unseen = None if _is_root(top, version) else f"the groups above {name}, the top of what is mounted here"
    return Above(tuple(bounds), unseen, local if local.exists() else None, cpuset)


def _upwards(folder: Path, top: Path) -> Iterator[Path]:
    yield folder
    while folder != top:
        folder = folder.parent
        yield folder


def _name(folder: Path, mount: Mount, top: Path) -> str:
    """A group's path. A mount whose top lies outside of the cgroup namespace (``/..``) names it by its folders."""
    above = "/" if mount.root.startswith("/..") else mount.root
    return str(Path(above, folder.relative_to(top)))


def _is_root(top: Path, version: int) -> bool:
    """Whether a mount's top is the hierarchy's root: release_agent is there only, cgroup.type everywhere else.

    (CFTYPE_ONLY_ON_ROOT and CFTYPE_NOT_ON_ROOT in kernel/cgroup/.)
    """
    return (top / "release_agent").exists() if version == 1 else not (top / "cgroup.type").exists()


def _is_initial(root: Path) -> bool:
    try:
        return str((root / "proc/self/ns/cgroup").readlink()) == _INITIAL_NAMESPACE
    except OSError:
        return False


def _cpuset(mounted: list[Mount], cgroups: str, root: Path) -> str | None:
    """The CPUs that the groups leave to this process, as a list (``0-1,4``); None where that is not seen."""
    place = _place(mounted, *_hierarchy(cgroups, "cpuset"), root)
    for folder in _upwards(place[0], place[2]) if place is not None else ():
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus"):
            if (folder / name).exists():
                return (folder / name).read_text(encoding="ascii").strip() or None
    return None
