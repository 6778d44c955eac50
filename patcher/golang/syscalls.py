"""System calls in code: every instruction that makes one, with the numbers that it can have."""

import itertools
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from patcher.answers import Signed
from patcher.file.elf import Segment
from patcher.file.elf_tables import MOST_SHORT_HITS, Span, checked_hits, hits_of_each
from patcher.golang.functions import Functions
from patcher.golang.pclntab import Function
from patcher.isa.flow import Flow
from patcher.isa.instruction import Kind
from patcher.isa.isa import Isa

# The packages that hold the runtime's system calls, newest first, and the functions by which it waits in epoll.
PACKAGES = ("internal/runtime/syscall/linux", "internal/runtime/syscall", "runtime/internal/syscall")
EPOLL_WAITS = (*(f"{package}.EpollWait" for package in PACKAGES), "runtime.epollwait")
USLEEP = "runtime.usleep"
SYSCALL6 = tuple(f"{package}.Syscall6" for package in PACKAGES)


# Looked for in the whole text: all in one go.
PR_SET_SECCOMP = 22
_SOUGHT = ("seccomp", "prctl", "epoll_pwait2")


@dataclass(frozen=True)
class Site:
    """A system call in a function; ``number`` is None where it is no constant, ``name`` the kernel's of the call."""

    function: str
    address: int
    number: Signed | None
    name: str


def moves(functions: Functions, move: bytes, most: int) -> Iterator[int]:
    """Where an ``Isa.sets_first`` of a number in ``_SOUGHT``, or of PR_SET_SECCOMP, stands: segment by segment.

    Raises MalformedBinary where it is found more than ``most`` times in one.
    """
    image = functions.image
    for segment, found in functions.once(_search_moves).items():
        span = Span(segment.offset, segment.file_size)
        for at in checked_hits(image.path, found[move], span, most):
            address = segment.address + at - segment.offset
            if address % image.isa.quantum == 0:  # else it lies in two instructions
                yield address


def _search_moves(functions: Functions) -> dict[Segment, dict[bytes, "array[int]"]]:
    image = functions.image
    sought = (*(image.isa.system_calls[each] for each in _SOUGHT), PR_SET_SECCOMP)
    needles = [move for number in sought for move in image.isa.sets_first(number)]
    return {
        each: hits_of_each(image.data, needles, Span(each.offset, each.file_size), MOST_SHORT_HITS)
        for each in image.segments
        if each.executable
    }


def inline(functions: Functions, function: Function) -> Iterator[Site]:
    """The system call instructions of a function and the numbers that they can have: a site each."""
    isa, flow = functions.image.isa, functions.flow(function)
    for each in functions.instructions(function):
        if each.kind is Kind.SYSTEM_CALL:
            yield from _sites(isa, flow, each.address, isa.abi.system_number)


def numbers(functions: Functions, function: Function) -> set[int | None]:
    """The numbers of the system calls that a function makes by itself; None for one that is not known."""
    return {each.number for each in inline(functions, function)}


def in_stub(functions: Functions, function: Function) -> Iterator[Site]:
    """The numbers of a system call that stands behind a jump out of the function, as in a patched ``usleep``.

    What is set up at the jump's target before each jump back is a number.
    """
    isa = functions.image.isa
    for before, each in itertools.pairwise(functions.instructions(function)):
        if each.kind is not Kind.SYSTEM_CALL or before.kind is not Kind.JUMP or before.target is None:
            continue
        beside = functions.code_at(before.target)
        for index, back in enumerate(beside):
            if back.kind is Kind.JUMP and back.target == each.address:
                flow = isa.flow(function.name, beside[: index + 1])
                for number in flow.constants(back.address, isa.abi.system_number):
                    yield _site(isa, function.name, each.address, number)


def by_stack(functions: Functions) -> frozenset[int]:
    """Where those of the runtime's epoll waits and Syscall6 start that take their arguments on the stack (ABI0).

    Raises ShapeMismatch where it cannot be told which of two functions of a name Go code calls.
    """
    return functions.once(_by_stack)


def _by_stack(functions: Functions) -> frozenset[int]:
    names = [name for name in (*EPOLL_WAITS, *SYSCALL6) if functions.all(name)]
    for name in names:
        functions.one(name)
    return frozenset(each.start for name in names for each in functions.all(name) if functions.takes_stack(each))


def first_argument(functions: Functions, callee: int | None) -> str:
    """Where a call of a function that starts at ``callee`` has its first argument, as ``Flow.constants`` takes it."""
    abi = functions.image.isa.abi
    return abi.first_on_stack if callee in by_stack(functions) else abi.arguments[0]


def through_helper(functions: Functions, function: Function, helpers: frozenset[int]) -> Iterator[Site]:
    """Calls of the runtime's Syscall6, whose first argument is the number."""
    isa, flow = functions.image.isa, functions.flow(function)
    for each in functions.instructions(function):
        if each.kind is Kind.CALL and each.target in helpers:
            yield from _sites(isa, flow, each.address, first_argument(functions, each.target))


def _sites(isa: Isa, flow: Flow, address: int, register: str) -> Iterator[Site]:
    for number in sorted(flow.constants(address, register), key=lambda each: each or 0):
        yield _site(isa, flow.name, address, number)


def _site(isa: Isa, function: str, address: int, number: int | None) -> Site:
    return Site(function, address, number, "unknown" if number is None else isa.system_call(number))
