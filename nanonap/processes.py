"""Which process is which: a number may be given to another process later, number and start time may not."""

import os
from pathlib import Path


def started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (field 22 of proc_pid_stat(5)); None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])  # the name in brackets may hold blanks and brackets


def identity(pid: int | None = None) -> str:
    """``PID-START`` of a living process (the caller), for the names of what belongs to it."""
    number = os.getpid() if pid is None else pid
    return f"{number}-{started(number) or 0}"


def is_alive(text: str) -> bool:
    """Whether the process of an ``identity`` is still there."""
    pid, _, start = text.partition("-")
    return started(int(pid)) == int(start)
