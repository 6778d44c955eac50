"""A group's own files, for what no backend's face offers: a lone value written, a group within a group.

Standard library and the project's own that do with it.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.groups import remove_group
from nanonap.lab.quota.base import Backend, Group
from nanonap.lab.quota.cgroup import ENTER_FAILED, new_name
from nanonap.lab.quota.choose import make_backend
from nanonap.lab.quota.limits import Quota


@contextmanager
def prepared(name: str) -> Iterator[Backend]:
    """The backend, ready, and closed afterwards. Raises QuotaUnavailable."""
    backend = make_backend(name)
    try:
        backend.prepare()
        yield backend
    finally:
        backend.close()


def folder_of(group: Group, backend: str) -> Path:
    """The cgroup's folder. Raises QuotaUnavailable where this machine does not show it."""
    files = group.stat_files
    if files is None:
        remedy = "choose --backend cgroup1, cgroup2 or guest"
        raise QuotaUnavailable(backend, "its groups' files are not seen on this machine", remedy)
    return files.cpu_stat.parent


def is_v2(folder: Path) -> bool:
    """Whether the cgroup is of version 2."""
    return (folder / "cpu.max").exists()


def write_quota(folder: Path, quota: str, period_us: int, *, only_quota: bool = False) -> None:
    """Write a quota (µs, or the word as given) and a period into the folder's files. Raises OSError.

    ``only_quota``: v1 has a file for each, and the period is left as it is; v2 writes both at once.
    """
    if is_v2(folder):
        (folder / "cpu.max").write_text(f"{quota} {period_us}", encoding="ascii")
        return
    if not only_quota:
        (folder / "cpu.cfs_period_us").write_text(str(period_us), encoding="ascii")
    (folder / "cpu.cfs_quota_us").write_text(quota, encoding="ascii")


def read_quota(folder: Path) -> str:
    """Quota and period as the kernel shows them."""
    if is_v2(folder):
        return (folder / "cpu.max").read_text(encoding="ascii").strip()
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    return " ".join((folder / name).read_text(encoding="ascii").strip() for name in names)


def quota_us(quota: Quota, folder: Path) -> str:
    """The quota as the folder's version writes it."""
    if quota.quota_ns is None:
        return "max" if is_v2(folder) else "-1"
    return str(quota.quota_ns // 1_000)


@contextmanager
def nested(folder: Path) -> Iterator[Path]:
    """A group within the group, removed afterwards with all that runs in it. Raises OSError."""
    if is_v2(folder):
        (folder / "cgroup.subtree_control").write_text("+cpu", encoding="ascii")
    child = folder / new_name()
    child.mkdir()
    try:
        yield child
    finally:
        remove_group(child)


def entering(folder: Path, argv: list[str]) -> list[str]:
    """The argument vector of a shell that moves itself into the folder's group and becomes ``argv``."""
    script = f'echo $$ > "$0/cgroup.procs" || exit {ENTER_FAILED}; exec "$@"'
    return ["/bin/sh", "-c", script, str(folder), *argv]


def refusal_of(error: OSError) -> str:
    """The name of the error's number: ``EINVAL``."""
    return errno.errorcode.get(error.errno or 0, os.strerror(error.errno or 0))
