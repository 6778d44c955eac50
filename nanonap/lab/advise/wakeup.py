"""What one timer wake-up costs on this machine, and how late it is: measured here, for a second or two."""

import bisect
import ctypes
import math
import os
import select
import time
from dataclasses import dataclass
from statistics import median

from patcher import SystemIncomplete

_EPOLL_PWAIT2 = 441  # the same on every architecture
_SET_SLACK, _GET_SLACK = 29, 30  # linux/prctl.h
#: Waits whose cost is measured, ns: after a longer one caches are colder, and the processor sleeps deeper.
_LENGTHS = (60_000, 200_000, 1_000_000, 3_000_000, 6_000_000)
_BLOCKS, _FEWEST, _MOST, _TAKES_NS = 10, 10, 25, 60_000_000  # calls of a block, and what they may take


@dataclass(frozen=True)
class Wakeup:
    """Of a thread's sleep and its wake-up by a timer, by how long it slept (ns, ascending): CPU time, and how late it
    wakes with a slack of 1 ns, both in ns.
    """

    costs: tuple[tuple[int, float], ...]
    late: tuple[tuple[int, float], ...]

    def cpu_ns(self, length_ns: float) -> float:
        """Of a sleep of that length."""
        return _between(self.costs, length_ns)

    def late_ns(self, length_ns: float) -> float:
        """After a sleep of that length."""
        return _between(self.late, length_ns)


def _between(measured: tuple[tuple[int, float], ...], length_ns: float) -> float:
    """Between two lengths that were measured by the logarithm of the length; beyond them as the nearest."""
    after = bisect.bisect_left(measured, (length_ns, 0.0))
    if after in (0, len(measured)):
        return measured[min(after, len(measured) - 1)][1]
    (short, low), (long, high) = measured[after - 1 : after + 1]
    return low + (high - low) * math.log(length_ns / short) / math.log(long / short)


def measure() -> Wakeup:
    """Medians over blocks that alternate: waits of a while, and the same call that does not wait.

    Raises SystemIncomplete on a kernel without epoll_pwait2.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    slack = libc.prctl(_GET_SLACK, 0, 0, 0, 0)
    event = ctypes.create_string_buffer(12)
    costs: dict[int, list[float]] = {each: [] for each in _LENGTHS}
    late: dict[int, list[float]] = {each: [] for each in _LENGTHS}
    with select.epoll() as epoll:
        try:
            libc.prctl(_SET_SLACK, 1, 0, 0, 0)
            for _ in range(_BLOCKS):
                looking, calling = _block(libc, epoll.fileno(), event, 0)
                for length_ns in _LENGTHS:
                    waiting, latest = _block(libc, epoll.fileno(), event, length_ns)
                    costs[length_ns].append(waiting - looking)
                    late[length_ns].append(latest - calling)
        finally:
            libc.prctl(_SET_SLACK, max(1, slack), 0, 0, 0)
    return Wakeup(_medians(costs), _medians(late))


def _medians(measured: dict[int, list[float]]) -> tuple[tuple[int, float], ...]:
    return tuple((length_ns, max(0.0, median(each))) for length_ns, each in measured.items())


def _block(libc: ctypes.CDLL, epoll: int, event: ctypes.Array[ctypes.c_char], wait_ns: int) -> tuple[float, float]:
    """CPU time of a call in ns, and how late the median one ended."""
    timeout = (ctypes.c_int64 * 2)(0, wait_ns)
    late, calls = [], max(_FEWEST, min(_MOST, _TAKES_NS // max(1, wait_ns)))
    cpu = time.thread_time_ns()
    for _ in range(calls):
        begin = time.monotonic_ns()
        if libc.syscall(_EPOLL_PWAIT2, epoll, event, 1, timeout, None, ctypes.c_size_t(8)) < 0:
            raise SystemIncomplete(f"epoll_pwait2: {os.strerror(ctypes.get_errno())}; Linux 5.11 and later have it")
        late.append(time.monotonic_ns() - begin - wait_ns)
    return (time.thread_time_ns() - cpu) / calls, median(late)
