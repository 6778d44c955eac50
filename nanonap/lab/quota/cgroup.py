"""What both cgroup versions share: folders named after their owner, processes moved in before exec, removal."""

import contextlib
import errno
import itertools
import os
import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nanonap.base.processes import identity, is_alive
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.groups import processes_in, remove_group
from nanonap.lab.ground.watchdog import guard
from nanonap.lab.quota.base import Backend, Group, Throttling
from nanonap.lab.quota.limits import Limits, Quota

ENTER_FAILED = 97
"""The exit status of a command that could not be moved into its group; no program measured here uses it."""
# The shell moves itself in and then becomes the command, so that all of the command's CPU time is inside.
_ENTER = (
    'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit '
    + str(ENTER_FAILED)
    + '; shift; done; shift; exec "$@"'
)
_NAME = re.compile(r"nanonap-([0-9]+-[0-9]+)-[0-9]+")
_numbers = itertools.count(1)


def new_name() -> str:
    """A group's name: it tells whose it is, and no two of them are the same."""
    return f"nanonap-{identity()}-{next(_numbers)}"


def owner_of(name: str) -> str | None:
    """The identity of the process that a group's name tells, or None if it is no name of ours."""
    match = _NAME.fullmatch(name)
    return match[1] if match else None


def is_left_behind(name: str) -> bool:
    """Whether a group's name is one of ours, and its process is dead."""
    owner = owner_of(name)
    return owner is not None and not is_alive(owner)


def unescape(field: str) -> str:
    r"""A field of /proc/self/mountinfo with its octal escapes (``\040``) undone (proc_pid_mountinfo(5))."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


@dataclass(frozen=True)
class Mount:
    """A mounted cgroup file system: ``kind`` is ``cgroup`` or ``cgroup2``, ``root`` the group at its top."""

    kind: str
    root: str
    point: str
    options: tuple[str, ...]


def mounts(mountinfo: str) -> Iterator[Mount]:
    """The cgroup file systems in the text of /proc/self/mountinfo."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            root, point = before.split(" ")[3:5]
            yield Mount(kind, unescape(root), unescape(point), tuple(options.split(",")))


def own_folder(mount_root: str, mount_point: str, own_path: str) -> Path:
    """Where the caller's own cgroup is seen, else the top of the mount."""
    return seen_folder(mount_root, mount_point, own_path) or Path(mount_point)


def seen_folder(mount_root: str, mount_point: str, own_path: str) -> Path | None:
    """Where a group of the caller is seen below a mount, whose root may lie deep in the hierarchy; None if it is not.

    Both paths are as the caller's cgroup namespace shows them: ``/..`` is the group above the namespace's root
    (cgroup_namespaces(7)). What lies between such a root and the namespace's has no name there, and is found by the
    caller's being in it.
    """
    (mount_ups, mount_names), (own_ups, own_names) = _parts(mount_root), _parts(own_path)
    if mount_ups == own_ups and own_names[: len(mount_names)] == mount_names:
        return Path(mount_point, *own_names[len(mount_names) :])
    if mount_ups > own_ups and not mount_names:
        pattern = "/".join([*["*"] * (mount_ups - own_ups), *own_names])
        return next((each for each in Path(mount_point).glob(pattern) if os.getpid() in processes_in(each)), None)
    return None


def _parts(path: str) -> tuple[int, list[str]]:
    """How many groups above the namespace's root it begins, and the names from there on."""
    names = [name for name in path.split("/") if name]
    ups = sum(name == ".." for name in names)
    return ups, names[ups:]


def fields_of(stat: str) -> dict[str, int]:
    """The text of a cpu.stat as numbers by name."""
    return {key: int(value) for key, value in (line.split() for line in stat.splitlines())}


def throttled_ns_of(stat: str) -> int | None:
    """Throttled time in the text of a cpu.stat or cpu.stat.local, of v1 (ns) or v2 (µs); None where it has none."""
    fields = fields_of(stat)
    if "throttled_time" in fields:
        return fields["throttled_time"]
    return fields["throttled_usec"] * 1_000 if "throttled_usec" in fields else None


def refused(backend: str, action: str, error: OSError) -> QuotaUnavailable:
    """The error for a write that the kernel refused, with the remedy that fits its number."""
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = "run as root, or have a cgroup with the cpu controller delegated to this user"
    elif error.errno == errno.EROFS:
        remedy = (
            "remount the cgroup file system read-write (a container needs --privileged or its own cgroup namespace)"
        )
    elif error.errno == errno.EINVAL:
        remedy = "ask for no more than the group above this process allows"
    else:
        remedy = "check the group above this process"
    return QuotaUnavailable(backend, f"{action} was refused ({error.strerror})", remedy)


class CgroupGroup(Group):
    """A folder in a cgroup hierarchy, or one in each of several (v1). Subclasses say how its version sets limits."""

    backend: ClassVar[str]

    def __init__(self, parents: Sequence[Path], limits: Limits, name: str | None = None) -> None:
        """Make the folder, set the limits, read them back. Raises QuotaUnavailable; nothing is left then."""
        name = name or new_name()
        self.folders = [parent / name for parent in parents]
        self.folder = self.folders[0]
        try:
            for folder in self.folders:
                guard.watch_group(folder)
                folder.mkdir()
        except OSError as error:
            self.close()
            raise refused(self.backend, f"making a group in {folder.parent}", error) from error
        try:
            self.write_limits(limits)
            self.effective = self.read_limits()
        except OSError as error:
            self.close()
            raise refused(self.backend, f"setting {limits} in {self.folder}", error) from error
        except QuotaUnavailable:
            self.close()
            raise
        if not limits.kept_by(self.effective):
            self.close()
            reason = f"asked for {limits}, the kernel says {self.effective}"
            raise QuotaUnavailable(self.backend, reason, "choose values that the kernel keeps")

    @abstractmethod
    def write_limits(self, limits: Limits) -> None:
        """Set what is asked for; OSError as the kernel gives it, QuotaUnavailable for what it does not know."""

    @abstractmethod
    def read_limits(self) -> Limits:
        """The limits in effect."""

    @abstractmethod
    def counters(self) -> Throttling | None:
        """The counters now."""

    def set_quota(self, quota: Quota) -> None:
        """By its files, as at first."""
        self.write_limits(Limits(quota))

    def command(self, argv: Sequence[str]) -> list[str]:
        """A shell that enters the group and becomes ``argv``."""
        return ["/bin/sh", "-c", _ENTER, "sh", *map(str, self.folders), "--", *argv]

    def write(self, name: str, value: str) -> None:
        """One value into one of the group's files."""
        (self.folder / name).write_text(value, encoding="ascii")

    def read(self, name: str) -> str:
        """One of the group's files."""
        return (self.folder / name).read_text(encoding="ascii").strip()

    def fields(self) -> dict[str, int]:
        """cpu.stat. Raises QuotaUnavailable."""
        try:
            return fields_of(self.read("cpu.stat"))
        except OSError as error:
            raise refused(self.backend, f"reading {self.folder / 'cpu.stat'}", error) from error

    def close(self) -> None:
        """End leftover processes and remove the folders. Raises QuotaUnavailable for one that stays busy."""
        for folder in self.folders:
            try:
                remove_group(folder)
            except OSError as error:  # the watchdog tries again at the end, and the next start
                raise refused(self.backend, f"removing {folder}", error) from error
            guard.forget_group(folder)


def no_burst(backend: str) -> QuotaUnavailable:
    """The error for burst on a kernel that does not know it."""
    remedy = "boot Linux 5.14 or later, or use --backend guest"
    return QuotaUnavailable(backend, "this kernel has no burst", remedy)


class CgroupBackend(Backend):
    """A backend whose groups are folders under ``parent``, and under ``others`` for what other hierarchies limit."""

    parent: Path
    others: tuple[Path, ...] = ()

    def remove_stale(self) -> None:
        """Remove groups whose owner is dead (a bench that was killed leaves them)."""
        for parent in (self.parent, *self.others):
            for folder in parent.glob("nanonap-*"):
                if is_left_behind(folder.name):
                    # Another user's group is theirs to remove, and another's start may remove it first.
                    with contextlib.suppress(OSError):
                        remove_group(folder)

    def close(self) -> None:
        """Nothing was changed outside of the groups."""
