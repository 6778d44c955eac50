"""What a service costs while its load runs, from outside and without slowing it: its clock, and /proc."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct

from nanonap.base.processes import cpu_time_ns, switches

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Cost(Struct, frozen=True, kw_only=True):
    """Of the processes of a service while its load ran; None where this machine does not tell.

    ``wakeups``: threads had given up their CPU to wait and were woken (voluntary_ctxt_switches, proc_pid_status(5)), of
    threads that lived until the load's end. ``threads`` and ``rss_bytes`` are those at its end.
    """

    cpu_ns: int | None
    wakeups: int | None
    threads: int | None
    rss_bytes: int | None


@dataclass
class Reading:
    """The counters at an instant: CPU time by process, switches by thread."""

    cpu_ns: dict[int, int] = field(default_factory=dict)
    switches: dict[int, int] = field(default_factory=dict)
    rss_bytes: int = 0

    def since(self, before: "Reading") -> Cost:
        """What was spent from one reading to this one."""
        return Cost(
            cpu_ns=_grown(self.cpu_ns, before.cpu_ns),
            wakeups=_grown(self.switches, before.switches),
            threads=len(self.switches) or None,
            rss_bytes=self.rss_bytes or None,
        )


def _grown(now: dict[int, int], before: dict[int, int]) -> int | None:
    return sum(value - before.get(number, 0) for number, value in now.items()) if now else None


def read(pids: Iterable[int]) -> Reading:
    """The counters of these processes now; what has gone meanwhile is left out."""
    found = Reading()
    for pid in pids:
        with contextlib.suppress(OSError, ValueError):
            found.cpu_ns[pid] = cpu_time_ns(pid)
            found.switches |= switches(pid)
            found.rss_bytes += int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    return found


def session_of(leader: int) -> list[int]:
    """The processes of a session (field 6 of proc_pid_stat(5)): a service with its wrappers and its workers."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            fields = (each / "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[3]) == leader and fields[0] != b"Z":
                found.append(int(each.name))
    return found
