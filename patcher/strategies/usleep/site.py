"""``runtime.usleep`` as the stub and the proof need to know it."""

from dataclasses import dataclass

from patcher.golang.pclntab import Function


@dataclass(frozen=True)
class Site:
    """``[start, end)`` sets up the system call and makes it; the timespec is at the stack pointer.

    ``depth`` is how far that lies below its value at the entry.
    """

    function: Function
    depth: int
    start: int
    end: int
