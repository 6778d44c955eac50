"""Which process is which: a number may be given to another process later, number and start time may not.

In another PID namespace (pid_namespaces(7)) the same number is another process's, which cannot be looked at from here.
"""

import os
import stat
from pathlib import Path

from nanonap.base.errors import SystemIncomplete


def check_system() -> None:
    """Raises SystemIncomplete where /proc is not this process's, or where there is no null device."""
    try:
        own = str(Path("/proc/self").readlink()) == str(os.getpid())
    except OSError:
        own = False
    if not own:
        raise SystemIncomplete(
            "/proc: no process file system of this PID namespace; mount it (mount -t proc proc /proc)"
        )
    try:
        null = stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    except OSError:
        null = False
    if not null:
        raise SystemIncomplete(f"{os.devnull}: no null device there; make it (mknod -m 666 {os.devnull} c 1 3)")


def started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (field 22 of proc_pid_stat(5)); None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])  # the name in brackets may hold blanks and brackets


_MOST_TICKS = 10**12  # some three hundred years


def identity(pid: int | None = None) -> str:
    """``PID-NUMBER`` of a living process (the caller), for the names of what belongs to it.

    The number holds the PID namespace and the start time.
    """
    number = os.getpid() if pid is None else pid
    return f"{number}-{_namespace() * _MOST_TICKS + (started(number) or 0)}"


def is_alive(text: str) -> bool:
    """Whether the process of an ``identity`` is still there. True for one of another namespace: it may be."""
    pid, _, number = text.partition("-")
    namespace, start = divmod(int(number), _MOST_TICKS)
    return namespace != _namespace() or started(int(pid)) == start


def _namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
