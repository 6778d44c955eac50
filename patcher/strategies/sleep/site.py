"""``time.Sleep`` as the stub and the proof need to know it."""

from dataclasses import dataclass

from patcher.golang.pclntab import Function

SLEEP = "time.Sleep"
ENTER = "runtime.entersyscallblock"
LEAVE = "runtime.exitsyscall"


@dataclass(frozen=True)
class Site:
    """The stub goes to ``[body, epilogue)``; slots are offsets from the stack pointer in the full frame.

    ``frame`` are the bytes of the locals, ``depth`` is how far the stack pointer lies below its value at the entry.
    ``enter`` and ``leave`` are the starts of what the runtime calls around a blocking system call.
    """

    function: Function
    frame: int
    depth: int
    body: int
    epilogue: int
    timespec: int
    pointers: tuple[int, ...]
    enter: int
    leave: int
