"""What one timer wake-up costs on this machine, and how late it is: measured here, for a second or two."""

import ctypes
import os
import select
import time
from dataclasses import dataclass
from statistics import median

from patcher import SystemIncomplete

_EPOLL_PWAIT2 = 441  # the same on every architecture
_SET_SLACK, _GET_SLACK = 29, 30  # linux/prctl.h
_WAIT_NS = 200_000
_BLOCKS, _CALLS = 24, 100


@dataclass(frozen=True)
class Wakeup:
    """CPU time in ns of a thread's sleep and its wake-up by a timer, and how late it wakes with a slack of 1 ns."""

    cpu_ns: float
    late_ns: float


def measure() -> Wakeup:
    """Medians over blocks that alternate: waits of a while, and the same call that does not wait.

    Raises SystemIncomplete on a kernel without epoll_pwait2.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    slack = libc.prctl(_GET_SLACK, 0, 0, 0, 0)
    event = ctypes.create_string_buffer(12)
    costs, late = [], []
    with select.epoll() as epoll:
        try:
            libc.prctl(_SET_SLACK, 1, 0, 0, 0)
            for _ in range(_BLOCKS):
                waiting, latest = _block(libc, epoll.fileno(), event, _WAIT_NS)
                looking, _ = _block(libc, epoll.fileno(), event, 0)
                costs.append(waiting - looking)
                late.append(latest)
        finally:
            libc.prctl(_SET_SLACK, max(1, slack), 0, 0, 0)
    return Wakeup(max(0.0, median(costs)), max(0.0, median(late)))


def _block(libc: ctypes.CDLL, epoll: int, event: ctypes.Array[ctypes.c_char], wait_ns: int) -> tuple[float, float]:
    """CPU time of a call in ns, and how late the median one ended."""
    timeout = (ctypes.c_int64 * 2)(0, wait_ns)
    late = []
    cpu = time.thread_time_ns()
    for _ in range(_CALLS):
        begin = time.monotonic_ns()
        if libc.syscall(_EPOLL_PWAIT2, epoll, event, 1, timeout, None, ctypes.c_size_t(8)) < 0:
            raise SystemIncomplete(f"epoll_pwait2: {os.strerror(ctypes.get_errno())}; Linux 5.11 and later have it")
        late.append(time.monotonic_ns() - begin - wait_ns)
    return (time.thread_time_ns() - cpu) / _CALLS, median(late)
