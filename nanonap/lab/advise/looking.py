"""What can be told without the right to trace: the system calls that threads stand in, looked at now and then.

/proc/PID/task/TID/syscall names a call and its arguments (proc(5)); it takes the right to look into the process. Where
that is missing too, the counts of /proc/PID/status are left.
"""

import contextlib
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nanonap.base.processes import cpu_time_ns, switches
from nanonap.lab.advise.log import Used
from nanonap.lab.advise.probing import Target
from patcher import NoSuchProcess

_EVERY_S, _SELDOM = 0.02, 50
_EPOLL_PWAIT = {"x86_64": "281", "aarch64": "22"}
_TIMEOUT = 4  # of epoll_pwait(2), behind the call's number; an int in a register
_MOST_THREADS = 256


@dataclass(frozen=True)
class Glances:
    """Of so many ``looks`` (0: the calls may not be seen), in how many a thread stood in epoll_pwait with a time limit,
    and with one of a millisecond. Rates are per second, ``cpu`` in parts of a core. ``reason``: why no more is told.
    """

    looks: int
    timed: int
    one_ms: int
    switches_per_s: float
    cpu: float
    reason: str

    @property
    def sentence(self) -> str:
        """What follows from it, as far as something does."""
        if not self.looks:
            return "cannot be told: neither tracing nor the process's system calls are open to this user"
        if not self.one_ms:
            return f"perhaps little to gain: in none of {self.looks} looks did it wait for a millisecond"
        return (
            f"perhaps worth it: in {self.one_ms / self.looks:.0%} of {self.looks} looks it waited for a millisecond, "
            "which a shorter wait lasts as well"
        )

    def to_json(self) -> dict[str, Any]:
        """The fields and the sentence; the verdict is open."""
        return {"verdict": "not measured", "sentence": self.sentence, **asdict(self)}


def glance(target: Target, length_s: float, reason: str, tick: Callable[[float], None]) -> Glances:
    """Look for so many seconds, or until the process ends. Raises NoSuchProcess where it ends before the first look."""
    looks = timed = one_ms = 0
    begin, last, counts = time.monotonic_ns(), time.monotonic_ns(), [_counts(target.pid)]
    while target.lives and (last := time.monotonic_ns()) - begin < length_s * 1e9:
        tick((last - begin) / 1e9)
        limits = _limits(target.pid)
        looks += limits is not None
        timed += any(each > 0 for each in limits or ())
        one_ms += 1 in (limits or ())
        counts[1:] = [_counts(target.pid)] if looks % _SELDOM == 0 or limits is None else counts[1:]
        time.sleep(_EVERY_S)
    if target.lives:
        counts[1:] = [_counts(target.pid)]
    if len(counts) < 2:
        raise NoSuchProcess(f"process {target.pid}: ended before anything was seen")
    (cpu_before, before), (cpu_after, after) = counts
    woken = sum(count - before.get(thread, 0) for thread, count in after.items())
    used = Used(last - begin, max(0, cpu_after - cpu_before))
    return Glances(looks, timed, one_ms, woken / max(1, used.length_ns) * 1e9, used.share, reason)


def _counts(pid: int) -> tuple[int, dict[int, int]]:
    with contextlib.suppress(OSError):
        return cpu_time_ns(pid), switches(pid)
    return 0, {}


def _limits(pid: int) -> list[int] | None:
    """The time limits in ms of the threads that stand in epoll_pwait; None where that may not be seen."""
    found, seen = [], False
    for task in list(Path(f"/proc/{pid}/task").iterdir())[:_MOST_THREADS]:
        with contextlib.suppress(OSError):
            words = (task / "syscall").read_text(encoding="ascii").split()
            seen = True
            if words[0] == _EPOLL_PWAIT.get(platform.machine()):
                found.append(int(words[_TIMEOUT], 16) & 0xFFFFFFFF)
    return [each if each < 1 << 31 else -1 for each in found] if seen else None
