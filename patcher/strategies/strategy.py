"""The one face of a strategy: all that inspecting, patching, undoing, measuring and trying ask of one.

A new one is a folder with a class of this face and its place in ``table.py``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from nanonap.base.errors import UsageError
from patcher.edit.edit import Plan
from patcher.edit.room import Room
from patcher.errors import UnsupportedGo
from patcher.golang.functions import Functions
from patcher.golang.pclntab import Function
from patcher.proof.events import Run
from patcher.wait import PRECISE, Wait, check_wait

T = TypeVar("T")

MOST_NS = (1 << 63) - 1  # of a slack: prctl takes an unsigned long; a duration is kept as a signed one


@dataclass(frozen=True)
class Options:
    """What a patch is asked for beside its strategy: a timer slack in ns (None: as it was), and how to wait."""

    slack_ns: int | None = None
    wait: Wait = PRECISE


@dataclass(frozen=True)
class Codes(Generic[T]):
    """A strategy's code for each instruction set that it is written for, by GOARCH's name."""

    strategy: str
    by_isa: Mapping[str, T]

    def of(self, functions: Functions) -> T:
        """That of an image. Raises UnsupportedGo where there is none."""
        code = self.known(functions)
        if code is None:
            isa = functions.image.isa.name
            known = ", ".join(self.by_isa)
            raise UnsupportedGo(
                f"{functions.image.path}: strategy {self.strategy} has no code for {isa}; it has some for {known}"
            )
        return code

    def known(self, functions: Functions) -> T | None:
        """That of an image, None where there is none: the image carries no stub of the strategy, then."""
        return self.by_isa.get(functions.image.isa.name)


class Strategy(ABC):
    """A way to change how a Go program sleeps.

    ``name``: as the user types it. ``isas``: the instruction sets that it has code for, by GOARCH's names.
    ``function``: the runtime's function that it patches, None for none of Go's. ``told``: what a patched program does,
    behind "patched:" in a legend. ``cost``: what has to be accepted before a patch, None for nothing; ``note``: what to
    mind after one. ``unwound``: whether its code runs while stacks may be unwound, so that profiles and tracebacks meet
    it. ``waits``: whether timed waits go through its code alone.
    """

    name: ClassVar[str]
    isas: ClassVar[tuple[str, ...]]
    function: ClassVar[str | None] = None
    told: ClassVar[str]
    cost: ClassVar[str | None] = None
    note: ClassVar[str | None] = None
    unwound: ClassVar[bool] = True
    waits: ClassVar[bool] = False

    @abstractmethod
    def plan(self, functions: Functions, room: Room, options: Options) -> Plan:
        """The edits for this program; ``room`` knows afterwards what they use. Raises why there can be none."""

    @abstractmethod
    def prove(self, functions: Functions, plan: Plan, options: Options) -> list[Run]:
        """Run the plan's code in the emulator, in every case. Raises ProofFailed, naming the case that fails."""

    @abstractmethod
    def stubs(self, functions: Functions) -> tuple[Function | None, ...]:
        """The functions that hold a stub of this strategy, None for one outside of all; () in a stock program."""

    def shapes(self, functions: Functions) -> Iterator[tuple[Function, int | None, str]]:
        """Each site: its function, the address of its wait if known, and what was recognised, for a person.

        Raises ShapeMismatch where it is not what this strategy knows.
        """
        del functions
        yield from ()

    def check(self, options: Options) -> None:
        """Raises UsageError for options that this strategy does not have, or that exclude each other."""
        check_wait(self.name, options.wait)

    def check_patched(self, functions: Functions) -> None:
        """Of a whole patched program: raises ProofFailed where something is left that the strategy should change."""
        del functions

    def wait(self, functions: Functions) -> Wait:
        """The options of waiting that a patched program's stubs were made with, by their code."""
        del functions
        return PRECISE


def need_slack(name: str, options: Options) -> int:
    """The slack that was asked for. Raises UsageError for none."""
    if options.slack_ns is None:
        raise UsageError(
            f"strategy {name} sets the timer slack: say how much, in ns, at least 1", parameters=("slack_ns",)
        )
    return options.slack_ns
