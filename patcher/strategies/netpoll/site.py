"""A wait of ``runtime.netpoll`` as the proof needs to know it, whatever the instruction set."""

from dataclasses import dataclass

from patcher.golang.pclntab import Function
from patcher.golang.waits import EpollCall

EVENTS = 128  # runtime/netpoll_epoll.go: var events [128]…EpollEvent
TIMESPEC = 0x10  # bytes at the stack pointer that the stub writes


@dataclass(frozen=True)
class Site:
    """What the matcher read from one wait. Addresses are virtual; slots are offsets from the stack pointer.

    ``body`` is behind the function's prologue, ``depth`` how far the stack pointer lies below its value at the entry
    from there on. The wait begins at ``start``, with the register ``delay``, and ends at ``join``; ``before`` are the
    instructions in front of it, one of which every wait passes with the delay there, and no patch changes. ``epfd`` is
    the address of the descriptor; the events lie at ``events`` and take ``event_bytes``. Below the slot ``scratch``
    nothing is read later. ``error`` is the register of the call's error, None where the result's holds a negative one.
    """

    call: EpollCall
    body: int
    depth: int
    before: tuple[int, ...]
    start: int
    join: int
    epfd: int
    delay: str
    events: int
    event_bytes: int
    scratch: int
    error: str | None

    @property
    def function(self) -> Function:
        """The function that holds the wait."""
        return self.call.function
