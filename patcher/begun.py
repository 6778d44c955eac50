"""A child process that is made before it is known for which file, and loads meanwhile what takes long to load.

It confines itself first, as every child does, and is told the file by its request alone; or it is told which file may
be meant, looks at that meanwhile, and its answer is taken where it was.
"""

import atexit
import contextlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from nanonap.base.interrupts import HELD
from patcher.answers import encode
from patcher.child import Limits, Request, serve_later

#: By the job: the child, where to it is asked, where it answers, and what it expects to be asked.
_waiting: dict[str, tuple[int, int, int, Request | None]] = {}


def begin(job: str, prepare: Callable[[], object], path: Path | None = None) -> None:
    """Make the child of the next call of a job ("module:function"), which calls ``prepare``. Only in a process of one
    thread. Raises OSError where there can be no child.

    ``path``: the file that will be meant, most likely; the call is one without arguments.
    """
    parent, (asking, asked), (reading, writing) = os.getpid(), os.pipe(), os.pipe()
    guess = None if path is None else Request(path, job, json.dumps({}), Limits.for_file(path), parent, None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)  # the child's too, until it ignores them
    try:
        pid = os.fork()
        if not pid:
            others = (each for _, *both, _ in _waiting.values() for each in both)
            for each in (asked, reading, *others):  # else a request would not end while this one lives
                os.close(each)
            serve_later(parent, prepare, guess, asking, writing)
        _waiting[job] = pid, asked, reading, guess
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
    pid, asked, reading, guess = _waiting.pop(request.job)
    if guess not in (None, request):
        _drop(pid, asked, reading)
        return None
    with contextlib.suppress(BrokenPipeError), os.fdopen(asked, "wb") as stream:  # its end tells why it has ended
        stream.write(json.dumps(encode(request)).encode())
    return pid, reading


@atexit.register
def _end() -> None:
    """A command that came to nothing leaves no process."""
    while _waiting:
        _, (pid, asked, reading, _) = _waiting.popitem()
        _drop(pid, asked, reading)


def _drop(pid: int, asked: int, reading: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(asked)
    os.close(reading)
