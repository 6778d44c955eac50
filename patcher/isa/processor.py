"""What the emulator must be told of an instruction set's processor; all else of a run is the same for each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from patcher.isa.engine import Engine


class Processor(ABC):
    """``numbers`` are Unicorn's of the registers that a run tells of, by the names that the roles give them."""

    numbers: ClassVar[Mapping[str, int]]

    @abstractmethod
    def engine(self) -> "Engine":
        """A new emulator, with nothing mapped."""

    @abstractmethod
    def begin(self, engine: "Engine") -> None:
        """Set what a Go function may rely on at its entry beside the registers in ``numbers``."""

    @abstractmethod
    def thread_local(self, size: int) -> tuple[int, int]:
        """From where to where a thread's own data lie, of a program that asks for ``size`` bytes of them (PT_TLS)."""

    @abstractmethod
    def called(self, engine: "Engine", stack_pointer: int, return_address: int) -> None:
        """Make a function's entry: as if it had just been called, with the stack pointer that it then has."""

    @abstractmethod
    def caller(self, engine: "Engine") -> tuple[int, int]:
        """At a function's entry: the stack pointer before the call, and the return address."""

    @abstractmethod
    def on_system_call(self, engine: "Engine", callback: Callable[[], None]) -> None:
        """Have ``callback`` run at each system call."""

    @abstractmethod
    def spoilt(self, engine: "Engine", junk: Callable[[str], int]) -> dict[str, int]:
        """In the callback: what the instruction leaves in registers beside the result; ``junk`` makes a value."""

    @abstractmethod
    def status(self, engine: "Engine") -> int:
        """The bits that comparisons leave for conditional jumps, as a number to give back."""

    @abstractmethod
    def set_status(self, engine: "Engine", status: int) -> None:
        """Those bits as they were."""

    @abstractmethod
    def broken(self, engine: "Engine") -> str:
        """What does not hold that Go's ABIInternal promises beside ``numbers``, in words; empty where all does."""
