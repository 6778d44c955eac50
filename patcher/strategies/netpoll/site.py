"""A wait of ``runtime.netpoll`` as the proof needs to know it, whatever the instruction set."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from patcher.golang.pclntab import Function
from patcher.golang.waits import EpollCall

EVENTS = 128  # runtime/netpoll_epoll.go: var events [128]…EpollEvent
SLACK_SHIFT = 7  # 1/128 of the wait is subtracted: epoll's own slack is 0.1 % of it, waking up takes the rest


@dataclass(frozen=True)
class Site(ABC):
    """What the matcher read from one wait. Addresses are virtual; slots are offsets from the stack pointer.

    ``body`` is behind the function's prologue, ``depth`` how far the stack pointer lies below its value at the entry
    from there on; above that it may keep its arguments up to the slot ``top``. The wait begins at ``start``, with the
    register ``delay``, and ends at ``join``; an interrupted endless one comes back to ``retry``. ``spans`` are where a
    stub may lie, ``[start, end)`` each, the wait's start first. ``before`` are the instructions in front of it, one of
    which every wait passes with the delay there, and no patch changes. ``epfd`` is the address of the descriptor, which
    the register ``descriptor`` holds at the start, too (None: no stub uses it there), as registers hold the addresses
    ``known``. The delay is kept in the slots ``delays``; they are among ``kept``, all that the wait fills before it
    asks the kernel. The events lie at ``events`` and take ``event_bytes``. ``scratch`` is the callee's spill space,
    from slot to slot: nothing there is read later, and the timespec lies at its start. ``error`` is the register of the
    call's error, None where the result's holds a negative one.
    """

    call: EpollCall
    body: int
    depth: int
    top: int
    before: tuple[int, ...]
    start: int
    retry: int
    join: int
    spans: tuple[tuple[int, int], ...]
    epfd: int
    descriptor: str | None
    known: tuple[tuple[str, int], ...]
    delay: str
    delays: tuple[int, ...]
    kept: frozenset[int]
    events: int
    event_bytes: int
    scratch: tuple[int, int]
    error: str | None

    @property
    @abstractmethod
    def entries(self) -> tuple[tuple[int, int], ...]:
        """Where the bytes of ``spans`` are entered, ``start`` first: (address, bytes of a jump from there)."""

    @property
    def delay_slot(self) -> int | None:
        """A slot in which the wait keeps its delay; None where it keeps it nowhere."""
        return next(iter(self.delays), None)

    @property
    def function(self) -> Function:
        """The function that holds the wait."""
        return self.call.function
