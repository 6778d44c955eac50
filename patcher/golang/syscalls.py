"""System calls in code: every ``syscall`` instruction with its number, found by walking back."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from patcher.code import Imm, Instruction
from patcher.shape import family

# arch/x86/entry/syscalls/syscall_64.tbl, as far as the runtime's sleep functions use it
NAMES = {
    24: "sched_yield",
    35: "nanosleep",
    157: "prctl",
    202: "futex",
    228: "clock_gettime",
    230: "clock_nanosleep",
    232: "epoll_wait",
    281: "epoll_pwait",
    441: "epoll_pwait2",
}


# The packages that hold the runtime's system calls, newest first, and the functions by which it waits in epoll.
PACKAGES = ("internal/runtime/syscall/linux", "internal/runtime/syscall", "runtime/internal/syscall")
EPOLL_WAITS = (*(f"{package}.EpollWait" for package in PACKAGES), "runtime.epollwait")

Follow = Callable[[int], Sequence[Instruction]]


@dataclass(frozen=True)
class Site:
    """A system call in a function; ``number`` is None where walking back does not settle it."""

    function: str
    address: int
    number: int | None

    @property
    def name(self) -> str:
        """The kernel's name of the call."""
        return "unknown" if self.number is None else NAMES.get(self.number, f"number {self.number}")


def inline(function: str, instructions: Sequence[Instruction]) -> Iterator[Site]:
    """The ``syscall`` instructions of a function and the numbers that rax holds there."""
    for index, each in enumerate(instructions):
        if each.mnemonic == "syscall":
            yield Site(function, each.address, _number(instructions[:index]))


def in_stub(function: str, instructions: Sequence[Instruction], follow: Follow) -> Iterator[Site]:
    """The numbers of a ``syscall`` that stands behind a jump out of the function, as in a patched ``usleep``.

    ``follow`` decodes the code at an address. What is set up there before each jump back is a number.
    """
    for before, each in itertools.pairwise(instructions):
        if each.mnemonic != "syscall" or before.mnemonic != "jmp" or before.target is None:
            continue
        beside = follow(before.target)
        for index, back in enumerate(beside):
            if back.mnemonic == "jmp" and back.target == each.address:
                yield Site(function, each.address, _number(beside[:index]))


def through_helper(function: str, instructions: Sequence[Instruction], helpers: frozenset[int]) -> Iterator[Site]:
    """Calls of the runtime's Syscall6, which takes the number in rax (ABIInternal)."""
    for index, each in enumerate(instructions):
        if each.mnemonic == "call" and each.target in helpers:
            yield Site(function, each.address, _number(instructions[:index]))


def _number(before: Sequence[Instruction]) -> int | None:
    """The last value put into eax, if it is an immediate and no jump or call stands between."""
    for each in reversed(before):
        if each.is_branch or each.mnemonic in ("call", "syscall", "ret"):
            return None
        if each.operands and family(each.operands[0]) == "a" and each.mnemonic not in ("cmp", "test"):
            value = each.operands[-1]
            return value.value if each.mnemonic == "mov" and isinstance(value, Imm) else None
    return None
