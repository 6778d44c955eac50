"""What both cgroup versions share: folders named after their owner, processes moved in before exec, removal."""

import contextlib
import errno
import itertools
import os
import re
import signal
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from bench.errors import QuotaUnavailable
from bench.quota.base import Backend, Group, Quota, Throttling

ENTER_FAILED = 97
"""The exit status of a command that could not be moved into its group; no program measured here uses it."""
# The shell moves itself in and then becomes the command, so that all of the command's CPU time is inside.
_ENTER = f'echo $$ > "$1/cgroup.procs" || exit {ENTER_FAILED}; shift; exec "$@"'
_NAME = re.compile(r"nanonap-([0-9]+)-[0-9]+")
_numbers = itertools.count(1)


def unescape(field: str) -> str:
    r"""A field of /proc/self/mountinfo with its octal escapes (``\040``) undone (proc_pid_mountinfo(5))."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def own_folder(mount_root: str, mount_point: str, own_path: str) -> Path:
    """Where the caller's own cgroup is seen: below the mount, whose root may itself lie deep in the hierarchy."""
    if own_path.startswith("/.."):
        return Path(mount_point)
    relative = os.path.relpath(own_path, mount_root)
    return Path(mount_point) if relative.startswith("..") else Path(mount_point, relative)


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
    """A folder in a cgroup hierarchy. Subclasses say how its version writes and reads the limit."""

    backend: ClassVar[str]

    def __init__(self, parent: Path, quota: Quota) -> None:
        """Make the folder, set the quota, read it back. Raises QuotaUnavailable; nothing is left then."""
        self.folder = parent / f"nanonap-{os.getpid()}-{next(_numbers)}"
        try:
            self.folder.mkdir()
        except OSError as error:
            raise refused(self.backend, f"making a group in {parent}", error) from error
        try:
            if quota.limited:
                self.write_limit(quota)
            self.effective = self.read_limit()
        except OSError as error:
            self.close()
            raise refused(self.backend, f"setting {quota} in {self.folder}", error) from error
        if self.effective.quota_ns != quota.quota_ns or (quota.limited and self.effective != quota):
            self.close()
            reason = f"asked for {quota}, the kernel says {self.effective}"
            raise QuotaUnavailable(self.backend, reason, "choose a quota that the kernel keeps")

    @abstractmethod
    def write_limit(self, quota: Quota) -> None:
        """Set the limit; OSError as the kernel gives it."""

    @abstractmethod
    def read_limit(self) -> Quota:
        """The limit in effect."""

    @abstractmethod
    def counters(self) -> Throttling | None:
        """The counters now."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """A shell that enters the group and becomes ``argv``."""
        return ["/bin/sh", "-c", _ENTER, "sh", str(self.folder), *argv]

    def write(self, name: str, value: str) -> None:
        """One value into one of the group's files."""
        (self.folder / name).write_text(value, encoding="ascii")

    def read(self, name: str) -> str:
        """One of the group's files."""
        return (self.folder / name).read_text(encoding="ascii").strip()

    def stat(self, names: tuple[str, str, str], unit_ns: int) -> Throttling:
        """cpu.stat's three throttling counters under their version's names, times in ``unit_ns``."""
        try:
            fields = dict(line.split(maxsplit=1) for line in self.read("cpu.stat").splitlines())
        except OSError as error:
            raise refused(self.backend, f"reading {self.folder / 'cpu.stat'}", error) from error
        periods, throttled, time_stopped = (int(fields.get(name, "0")) for name in names)
        return Throttling(periods, throttled, time_stopped * unit_ns)

    def close(self) -> None:
        """End leftover processes and remove the folder."""
        remove_group(self.folder)


class CgroupBackend(Backend):
    """A backend whose groups are folders under ``parent``."""

    parent: Path

    def remove_stale(self) -> None:
        """Remove groups whose owner is dead (a bench that was killed leaves them)."""
        for folder in self.parent.glob("nanonap-*-*"):
            match = _NAME.fullmatch(folder.name)
            if match is not None and not _alive(int(match[1])):
                # Another user's group is theirs to remove.
                with contextlib.suppress(PermissionError):
                    remove_group(folder)

    def close(self) -> None:
        """Nothing was changed outside of the groups."""


def remove_group(folder: Path, patience_s: float = 5.0) -> None:
    """End every process in the group and remove it; a missing one is fine. Raises OSError if it stays busy."""
    deadline = time.monotonic() + patience_s
    while folder.exists():
        for pid in _processes(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            # A killed process leaves its group a moment after it is signalled; until then rmdir(2) says EBUSY.
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _processes(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text(encoding="ascii").split()]
    except OSError:
        return []


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
