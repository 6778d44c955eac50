"""A child process that is made before it is known for which file, and loads meanwhile what takes long to load.

It confines itself first, as every child does. It may be told which file will be meant, most likely, and look at that
meanwhile; where another one is, or this one was written to meanwhile, the call has another child.
"""

import atexit
import contextlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from nanonap.base.files import state_of
from nanonap.base.interrupts import HELD
from patcher.answers import encode
from patcher.child import Limits, Request, serve_later

#: The file that is expected, and its state when the child was made; what the child may use for it.
_Expected = tuple[Path, tuple[int, ...], Limits]
#: By the job: the child, where to it is asked, where it answers, what it expects.
_waiting: dict[str, tuple[int, int, int, _Expected | None]] = {}


def begin(job: str, prepare: Callable[[], object], path: Path | None = None) -> None:
    """Make the child of the next call of a job ("module:function"), which calls ``prepare``. Only in a process of one
    thread. Raises OSError where there can be no child.

    ``path``: the file that will be meant, which ``prepare`` may read.
    """
    parent, (asking, asked), (reading, writing) = os.getpid(), os.pipe(), os.pipe()
    expected = None if path is None else (path, state_of(path), Limits.for_file(path))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)  # the child's too, until it ignores them
    try:
        pid = os.fork()
        if not pid:
            others = (each for _, *both, _ in _waiting.values() for each in both)
            for each in (asked, reading, *others):  # else a request would not end while this one lives
                os.close(each)
            serve_later(parent, prepare, expected and expected[2], asking, writing)
        _waiting[job] = pid, asked, reading, expected
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
    pid, asked, reading, expected = _waiting.pop(request.job)
    if expected not in (None, (request.path, state_of(request.path), request.limits)):
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
