"""Whether a patched program still waits in whole milliseconds: the runtime's waits of its work, as strace sees them."""

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nanonap.trials.errors import CorpusIncomplete

#: strace's options for the waits alone.
TRACED = ("-e", "trace=epoll_pwait,epoll_pwait2", "-e", "signal=none")
_PATIENCE_S = 60
# Of the runtime alone, which has room for 128 events (runtime/netpoll_epoll.go); strace(1) shows them so.
_STOCK = re.compile(r"^epoll_pwait\(\d+, .*, 128, (\d+), NULL, \d+\) ", re.MULTILINE)
_PRECISE = re.compile(r"^epoll_pwait2\(\d+, .*, 128, \{.*\}, NULL, \d+\) += (-?\d+)(?: (E\w+))?", re.MULTILINE)


@dataclass(frozen=True)
class Waits:
    """How often the runtime waited with a timeout: in epoll_pwait, whole milliseconds, and in epoll_pwait2."""

    milliseconds: int
    precise: int


def tracing(log: Path) -> tuple[str, ...]:
    """The words before a command that have its waits written to ``log``.NUMBER, one file per thread.

    The tracer lies in a session of its own: the command keeps its process number, and its tracer lives to write what it
    saw when the command is killed. Raises CorpusIncomplete without strace.
    """
    if shutil.which("strace") is None:
        raise CorpusIncomplete("strace is not on PATH: apt-get install strace")
    return ("strace", "-DDD", "-qq", "-ff", *TRACED, "-o", str(log))


def waits_in(log: Path) -> Waits:
    """What the tracers wrote, once all of them have ended.

    Raises CorpusIncomplete where none wrote, or where epoll_pwait2 is refused: then whole milliseconds are right.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while any(True for _ in _writers(log)):
        if time.monotonic() > deadline:
            raise CorpusIncomplete(f"{log}: strace does not end")
        time.sleep(0.05)
    return waits_told([each.read_text(encoding="utf-8", errors="replace") for each in _files(log)])


def waits_told(logs: list[str]) -> Waits:
    """What is in the files of strace -ff. Raises as ``waits_in``."""
    if not logs:
        raise CorpusIncomplete("strace wrote nothing: may this user trace processes (ptrace(2))?")
    text = "".join(logs)
    answers = _PRECISE.findall(text)
    if any(error in ("ENOSYS", "EPERM") for _, error in answers):
        raise CorpusIncomplete("the kernel or a sandbox refuses epoll_pwait2: every wait is in whole milliseconds here")
    return Waits(sum(int(each) > 0 for each in _STOCK.findall(text)), len(answers))


def _files(log: Path) -> Iterator[Path]:
    return log.parent.glob(f"{log.name}.*")


def _writers(log: Path) -> Iterator[str]:
    """The processes that have one of the files open (proc_pid_fd(5))."""
    for process in Path("/proc").glob("[0-9]*"):
        if any(name.startswith(f"{log}.") for name in _open_files(process)):
            yield process.name


def _open_files(process: Path) -> Iterator[str]:
    """The names of what a process of /proc has open; it may end, or close one, meanwhile."""
    with contextlib.suppress(OSError):
        for each in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(each.readlink())
