"""A program that waits as the claim has it: it arms a timerfd and reads it (timerfd_create(2)), again and again.

``python -m nanonap.lab.experiments.skew.probe NS COUNT``, on the first CPU: of others some kernels' tracefs does not
have what idle tasks do. Python knows the calls from 3.13 on only, so they are libc's.
Standard library only.
"""

import ctypes
import os
import struct
import sys

_CLOCK_MONOTONIC = 1


def main(ns: int, count: int) -> None:
    """``count`` waits of ``ns``. Raises OSError."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.timerfd_create(_CLOCK_MONOTONIC, 0)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    # struct itimerspec: no interval, then the time until it expires.
    once = struct.pack("qqqq", 0, 0, *divmod(ns, 1_000_000_000))
    for _ in range(count):
        if libc.timerfd_settime(descriptor, 0, once, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        os.read(descriptor, 8)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
