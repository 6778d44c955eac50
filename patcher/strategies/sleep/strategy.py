"""``sleep`` as a strategy."""

from collections.abc import Iterator
from typing import ClassVar, Protocol

from patcher.edit.edit import Plan
from patcher.edit.room import Room
from patcher.golang.functions import Functions
from patcher.golang.pclntab import Function
from patcher.golang.syscalls import numbers
from patcher.proof.events import Run
from patcher.strategies.sleep import NAME, amd64
from patcher.strategies.sleep.site import SLEEP, Site
from patcher.strategies.strategy import Codes, Options, Strategy


class Code(Protocol):
    """What an instruction set has to give."""

    def locate(self, functions: Functions) -> Site:
        """time.Sleep, recognised. Raises ShapeMismatch."""

    def plan(self, functions: Functions, room: Room) -> Plan:
        """The edits. Raises ShapeMismatch, or UsesSynctest."""

    def shapes(self, functions: Functions) -> Iterator[tuple[Function, int | None, str]]:
        """As ``Strategy.shapes``."""


CODES: Codes[Code] = Codes(NAME, {"amd64": amd64})


class Sleep(Strategy):
    """time.Sleep is a system call of its own thread."""

    name: ClassVar[str] = NAME
    isas: ClassVar[tuple[str, ...]] = tuple(CODES.by_isa)
    function: ClassVar[str | None] = SLEEP
    told: ClassVar[str] = "time.Sleep calls the kernel's clock_nanosleep, and holds a thread for it"
    cost: ClassVar[str | None] = "holds one OS thread for every sleeping goroutine"
    note: ClassVar[str | None] = "every sleeping goroutine now holds an OS thread; mind the pids limit"

    def plan(self, functions: Functions, room: Room, options: Options) -> Plan:
        """In time.Sleep's own bytes. Raises ShapeMismatch, or NoRoom where they do not suffice."""
        return CODES.of(functions).plan(functions, room)

    def prove(self, functions: Functions, plan: Plan, options: Options) -> list[Run]:
        """Every duration and answer."""
        from patcher.strategies.sleep import proof

        return proof.prove(functions, CODES.of(functions).locate(functions), plan)

    def stubs(self, functions: Functions) -> tuple[Function, ...]:
        """Stock's time.Sleep makes no system call."""
        number = functions.image.isa.system_calls["clock_nanosleep"]
        known = functions.all(SLEEP) if CODES.known(functions) else ()
        return tuple(each for each in known if number in numbers(functions, each))

    def shapes(self, functions: Functions) -> Iterator[tuple[Function, int | None, str]]:
        """time.Sleep."""
        return CODES.of(functions).shapes(functions)
