"""``usleep`` as a strategy."""

from collections.abc import Iterator
from typing import ClassVar, Protocol

from patcher.edit.edit import Plan
from patcher.edit.room import Room
from patcher.golang.functions import Functions
from patcher.golang.pclntab import Function
from patcher.golang.syscalls import USLEEP
from patcher.proof.events import Run
from patcher.strategies.strategy import Codes, Options, Strategy
from patcher.strategies.usleep import NAME, amd64
from patcher.strategies.usleep.site import Site


class Code(Protocol):
    """What an instruction set has to give."""

    def locate(self, functions: Functions) -> Site:
        """runtime.usleep, recognised. Raises ShapeMismatch."""

    def plan(self, functions: Functions, room: Room) -> Plan:
        """The edits. Raises ShapeMismatch or NoRoom."""

    def shapes(self, functions: Functions) -> Iterator[tuple[Function, int | None, str]]:
        """As ``Strategy.shapes``."""

    def leaves(self, functions: Functions, function: Function) -> bool:
        """Whether a usleep jumps out of itself, as a patched one does."""


CODES: Codes[Code] = Codes(NAME, {"amd64": amd64})


class Usleep(Strategy):
    """runtime.usleep waits in clock_nanosleep."""

    name: ClassVar[str] = NAME
    isas: ClassVar[tuple[str, ...]] = tuple(CODES.by_isa)
    function: ClassVar[str | None] = USLEEP
    told: ClassVar[str] = "runtime.usleep, which time.Sleep does not use"

    def plan(self, functions: Functions, room: Room, options: Options) -> Plan:
        """In usleep's own bytes and behind the code. Raises ShapeMismatch or NoRoom."""
        return CODES.of(functions).plan(functions, room)

    def prove(self, functions: Functions, plan: Plan, options: Options) -> list[Run]:
        """Every duration and answer, stock beside patched."""
        from patcher.strategies.usleep import proof

        return proof.prove(functions, CODES.of(functions).locate(functions), plan)

    def stubs(self, functions: Functions) -> tuple[Function, ...]:
        """Stock's usleep has no jump out of itself; a patched one has."""
        code = CODES.known(functions)
        return tuple(each for each in functions.all(USLEEP) if code and code.leaves(functions, each))

    def shapes(self, functions: Functions) -> Iterator[tuple[Function, int | None, str]]:
        """runtime.usleep."""
        return CODES.of(functions).shapes(functions)
