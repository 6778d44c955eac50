"""A child process that is made before it is known for which file, and loads meanwhile what takes long to load.

It confines itself first, as every child does, and is told the file by its request alone.
"""

import atexit
import contextlib
import json
import os
import signal
from collections.abc import Callable

from nanonap.base.interrupts import HELD
from patcher.answers import encode
from patcher.child import Request, serve_later

_waiting: dict[str, tuple[int, int, int]] = {}  # by the job: the child, where to it is asked, where it answers


def begin(job: str, prepare: Callable[[], object]) -> None:
    """Make the child of the next call of a job ("module:function"), which calls ``prepare``. Only in a process of one
    thread. Raises OSError where there can be no child.
    """
    parent, (asking, asked), (reading, writing) = os.getpid(), os.pipe(), os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)  # the child's too, until it ignores them
    try:
        pid = os.fork()
        if not pid:
            others = (each for _, *both in _waiting.values() for each in both)
            for each in (asked, reading, *others):  # else a request would not end while this one lives
                os.close(each)
            serve_later(parent, prepare, asking, writing)
        _waiting[job] = pid, asked, reading
    finally:
        os.close(asking)
        os.close(writing)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def take(request: Request) -> tuple[int, int] | None:
    """The child that waits for such a request, which it is told, and the descriptor of its answer; None without one.

    It has no descriptor of this process's, and writes no file.
    """
    if request.keep is not None or request.limits.file_size or request.job not in _waiting:
        return None
    pid, asked, reading = _waiting.pop(request.job)
    with contextlib.suppress(BrokenPipeError), os.fdopen(asked, "wb") as stream:  # its end tells why it has ended
        stream.write(json.dumps(encode(request)).encode())
    return pid, reading


@atexit.register
def _end() -> None:
    """A command that came to nothing leaves no process."""
    while _waiting:
        _, (pid, asked, reading) = _waiting.popitem()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(asked)
        os.close(reading)
