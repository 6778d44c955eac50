"""Which process is which: a number may be given to another process later, number and start time may not.

In another PID namespace (pid_namespaces(7)) the same number is another process's, which cannot be looked at from here.
"""

import contextlib
import os
import stat
import time
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
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as stream:  # noqa: PTH123 - Path.open takes longer, and a process may stand still until this is read
            text = stream.read()
    except OSError:
        return None
    return int(text.rpartition(b")")[2].split()[19])  # the name in brackets may hold blanks and brackets


def cpu_time_ns(pid: int) -> int:
    """CPU time of a process so far, of its ended threads too. Raises OSError where there is none.

    Its clock is made of its number: CPUCLOCK_SCHED of clock_getcpuclockid(3).
    """
    return time.clock_gettime_ns(~pid << 3 | 2)


def switches(pid: int) -> dict[int, int]:
    """Of each thread how often it gave its CPU up to wait (voluntary_ctxt_switches, proc_pid_status(5))."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):  # it ended
            status = (task / "status").read_bytes()
            found[int(task.name)] = int(status.rpartition(b"\nvoluntary_ctxt_switches:")[2].split()[0])
    return found


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
