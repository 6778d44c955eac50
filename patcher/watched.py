"""A child at work, watched: what it sends, its memory, whether it does anything."""

import contextlib
import os
import resource
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from patcher.child import Limits, too_large
from patcher.errors import ReaderTooLarge, ReaderTooSlow

_MIB = 1 << 20
_OWN_MEMORY = 100 * _MIB  # what the libraries take before any file is read; a larger host process is no leak of ours
_LONGEST_ANSWER = 4 * _MIB  # a manifest has some kilobytes, the longest inspection some hundred
_WATCH_MS = 10
_END_MS = 1
_MOST_IDLE_MS = 60_000  # without any CPU time, counted while this process runs: a reader waits for nobody


class Reader:
    """A child at work, and what it has sent; its memory is watched (RLIMIT_RSS does nothing on Linux), and whether it
    does anything: one that was taken over may wait for ever, or leave its pipe to a child of its own.
    """

    def __init__(
        self, reading: int, statm: int, pid: int, ended: Callable[[], int], path: Path, limits: Limits
    ) -> None:
        """``ended`` waits for its end and gives its status."""
        self.ended, self.answer, self.done, self.all_read = ended, bytearray(), False, False
        self._reading, self._statm, self._pid, self._path = reading, statm, pid, path
        self._idle_ms, self._used_ns = 0, -1
        with statm_of(os.getpid()) as own:
            self._allowed = limits.memory + max(0, _resident(own.fileno()) - _OWN_MEMORY)

    def register(self, poll: select.poll) -> None:
        """Wake up for what it sends."""
        poll.register(self._reading, select.POLLIN)

    def look(self, waited_ms: int, poll: select.poll) -> None:
        """Take what it sends; it is ``done`` once it has ended. Raises ReaderTooSlow or ReaderTooLarge."""
        over = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if not self.all_read and any(descriptor == self._reading for descriptor, _ in poll.poll(0)):
            piece = os.read(self._reading, _MIB)
            self.answer += piece
            self.all_read = not piece  # it is about to end
        else:
            self.done = over
        if self.all_read or self.done:
            with contextlib.suppress(KeyError):  # it may be both, one after the other
                poll.unregister(self._reading)
        if self.done:
            return
        before_ns, self._used_ns = self._used_ns, _cpu_time_ns(self._pid)
        self._idle_ms = self._idle_ms + waited_ms if self._used_ns == before_ns else 0
        if self._idle_ms > _MOST_IDLE_MS:
            raise ReaderTooSlow(f"{self._path}: the reader of the file does nothing any more; nothing was written")
        if _resident(self._statm) > self._allowed or len(self.answer) > _LONGEST_ANSWER:
            raise ReaderTooLarge(too_large(self._path))


def receive(readers: Sequence[Reader]) -> None:
    """All that the children send until they have ended."""
    poll = select.poll()
    for each in readers:
        each.register(poll)
    while left := [each for each in readers if not each.done]:
        wait_ms = _END_MS if any(each.all_read for each in left) else _WATCH_MS
        poll.poll(wait_ms)
        for each in left:
            each.look(wait_ms, poll)


def statm_of(pid: int) -> BinaryIO:
    """A process's /proc/PID/statm."""
    return open(f"/proc/{pid}/statm", "rb")  # noqa: PTH123 - as the kernel names it


def _cpu_time_ns(pid: int) -> int:
    """What a process has used so far (clock_getcpuclockid(3)); -1 where it has ended."""
    try:
        return time.clock_gettime_ns(~pid << 3 | 2)
    except OSError:
        return -1


def _resident(statm: int) -> int:
    """Bytes of resident memory (proc(5), statm); 0 of a process that has ended."""
    try:
        return int(os.pread(statm, 256, 0).split()[1]) * resource.getpagesize()
    except ProcessLookupError:
        return 0
