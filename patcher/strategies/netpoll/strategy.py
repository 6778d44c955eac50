"""``netpoll`` as a strategy."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol

from patcher.edit.edit import Plan
from patcher.edit.room import Room
from patcher.errors import ProofFailed, ShapeMismatch
from patcher.file.elf_tables import MOST_HITS
from patcher.golang.functions import Functions
from patcher.golang.pclntab import Function
from patcher.golang.syscalls import inline, moves, numbers
from patcher.golang.waits import NETPOLL, find_waits
from patcher.isa.instruction import Instruction
from patcher.proof.events import Run
from patcher.strategies.netpoll import NAME, amd64, arm64
from patcher.strategies.netpoll.site import Site
from patcher.strategies.strategy import Codes, Options, Strategy
from patcher.wait import PRECISE, Wait


class Code(Protocol):
    """What an instruction set has to give."""

    @property
    def ASKS(self) -> bytes:  # noqa: N802 - a constant of the module
        """What every stub has, of ``Isa.sets_first``: the number of epoll_pwait2 put where the kernel looks for it."""

    @property
    def CALL_STAYS(self) -> bool:  # noqa: N802 - a constant of the module
        """Whether stock's call stays beside a stub, which falls back on it."""

    def locate(self, functions: Functions) -> tuple[Site, ...]:
        """Every wait with a timeout. Raises AlreadyPrecise or ShapeMismatch."""

    def plan(self, functions: Functions, room: Room, wait: Wait) -> Plan:
        """The edits. Raises as ``locate``, and ShapeMismatch where they do not fit."""

    def shapes(self, functions: Functions) -> Iterator[tuple[Function, int | None, str]]:
        """As ``Strategy.shapes``."""

    def wait_in(self, instructions: Sequence[Instruction]) -> Wait:
        """The options that a stub among these instructions was made with."""


CODES: Codes[Code] = Codes(NAME, {"amd64": amd64, "arm64": arm64})


class Netpoll(Strategy):
    """The scheduler's wait for events takes nanoseconds: epoll_pwait2 in place of epoll_pwait."""

    name: ClassVar[str] = NAME
    isas: ClassVar[tuple[str, ...]] = tuple(CODES.by_isa)
    function: ClassVar[str | None] = NETPOLL
    told: ClassVar[str] = "the idle scheduler waits in epoll_pwait2, which counts nanoseconds"
    waits: ClassVar[bool] = True

    def plan(self, functions: Functions, room: Room, options: Options) -> Plan:
        """Needs no room beside the waits. Raises ShapeMismatch or AlreadyPrecise."""
        return CODES.of(functions).plan(functions, room, options.wait)

    def prove(self, functions: Functions, plan: Plan, options: Options) -> list[Run]:
        """At every wait, stock beside patched."""
        from patcher.strategies.netpoll import proof

        return proof.prove(functions, CODES.of(functions).locate(functions), plan, options.wait)

    def stubs(self, functions: Functions) -> tuple[Function, ...]:
        """None of stock's functions makes that call by itself."""
        return functions.once(_search)

    def shapes(self, functions: Functions) -> Iterator[tuple[Function, int | None, str]]:
        """Each wait, inlined ones too."""
        return CODES.of(functions).shapes(functions)

    def check_patched(self, functions: Functions) -> None:
        """No wait in whole milliseconds may be left. Raises ProofFailed, naming the first."""
        left = [each for each in find_waits(functions).calls if not each.polls]
        if CODES.of(functions).CALL_STAYS:  # a stub stands before each
            waiting = Counter(each.function for each in left)
            left = [each for each in left if waiting[each.function] != _asks(functions, each.function)]
        if left:
            raise ProofFailed(f"{left[0].name}: still waits in whole milliseconds, by {left[0].callee}")

    def wait(self, functions: Functions) -> Wait:
        """None where the stubs do not agree."""
        waits = {CODES.of(functions).wait_in(functions.instructions(each)) for each in self.stubs(functions)}
        return waits.pop() if len(waits) == 1 else PRECISE


def _asks(functions: Functions, function: Function) -> int:
    """How many system calls of a function are epoll_pwait2."""
    number = functions.image.isa.system_calls["epoll_pwait2"]
    return sum(each.number == number for each in inline(functions, function))


def _search(functions: Functions) -> tuple[Function, ...]:
    found: list[Function] = []
    code = CODES.known(functions)
    if code is None:
        return ()
    for at in moves(functions, code.ASKS, MOST_HITS):
        function = functions.table.at(at)
        if function is None or not function.name.startswith("runtime.") or function in found:
            continue
        with contextlib.suppress(ShapeMismatch):  # code that is not ours
            if functions.image.isa.system_calls["epoll_pwait2"] in numbers(functions, function):
                found.append(function)
    return tuple(found)
