"""What a run on the emulated machine did: its system calls, its calls of Go functions, the state where it stopped."""

from dataclasses import dataclass, field

STACK = 0x7000_0000_0000
STACK_SIZE = 0x4000


@dataclass(frozen=True)
class Answer:
    """What the kernel answers: the result, and the time that it says remains of an interrupted sleep."""

    result: int
    remaining: tuple[int, int] | None = None


@dataclass(frozen=True)
class SystemCall:
    """A system call as it was made, and the stack then.

    ``pointed`` holds 16 bytes behind each argument that points into the stack.
    """

    number: int
    arguments: tuple[int, ...]
    pointed: tuple[bytes | None, ...]
    stack_pointer: int
    stack: bytes = field(repr=False, compare=False, default=b"")


@dataclass(frozen=True)
class Call:
    """A call of a Go function that is not run: its name, registers, return address and the stack at the call.

    ``stack_pointer`` is the value before the call; ``broken`` says which promise of Go's ABIInternal beside the
    registers does not hold, and is empty where all do.
    """

    name: str
    stack_pointer: int
    frame_pointer: int
    goroutine: int
    broken: str
    return_address: int
    stack: bytes


Event = SystemCall | Call


@dataclass
class Run:
    """What one run did, and the state where it stopped (``stop``: the address)."""

    events: list[Event] = field(default_factory=list)
    steps: list[tuple[int, int]] = field(default_factory=list)  # (address, stack pointer) before each instruction
    writes: list[tuple[int, int]] = field(default_factory=list)  # (address, size), the calls' own left out
    writers: list[int] = field(default_factory=list)  # the address of the instruction that made each write
    registers: dict[str, int] = field(default_factory=dict)  # by the names that the roles give them (Abi)
    stack: bytes = b""
    stop: int = 0
    status: int = 0  # what comparisons have left for conditional jumps
    broken: str = ""  # as in Call

    def system_calls(self) -> list[SystemCall]:
        """The system calls alone."""
        return [each for each in self.events if isinstance(each, SystemCall)]

    def word(self, address: int, size: int = 8) -> int:
        """An unsigned word of the stack as it was at the stop."""
        return int.from_bytes(self.stack[address - STACK : address - STACK + size], "little")
