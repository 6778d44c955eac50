"""A wait of ``runtime.netpoll`` as the proof needs to know it, whatever the instruction set."""

from dataclasses import dataclass

from patcher.golang.pclntab import Function
from patcher.golang.waits import EpollCall

EVENTS = 128  # runtime/netpoll_epoll.go: var events [128]…EpollEvent
SLACK_SHIFT = 7  # 1/128 of the wait is subtracted: epoll's own slack is 0.1 % of it, waking up takes the rest


@dataclass(frozen=True)
class Site:
    """What the matcher read from one wait. Addresses are virtual; slots are offsets from the stack pointer.

    ``body`` is behind the function's prologue, ``depth`` how far the stack pointer lies below its value at the entry
    from there on; above that it may keep its arguments up to the slot ``top``. The wait begins at ``start``, with the
    register ``delay``, and ends at ``join``; ``before`` are the instructions in front of it, one of which every wait
    passes with the delay there, and no patch changes. ``epfd`` is the address of the descriptor, which the register
    ``descriptor`` holds at the start, too (None: no stub uses it there), as registers hold the addresses ``known``; the
    events lie at ``events`` and take ``event_bytes``. ``scratch`` is the callee's spill space, from slot to slot:
    nothing there is read later, and the timespec lies at its start. ``error`` is the register of the call's error, None
    where the result's holds a negative one.
    """

    call: EpollCall
    body: int
    depth: int
    top: int
    before: tuple[int, ...]
    start: int
    join: int
    epfd: int
    descriptor: str | None
    known: tuple[tuple[str, int], ...]
    delay: str
    events: int
    event_bytes: int
    scratch: tuple[int, int]
    error: str | None

    @property
    def function(self) -> Function:
        """The function that holds the wait."""
        return self.call.function
