"""A stopped thread as the kernel shows it to whoever traces it (ptrace(2)): what each instruction set must tell.

Modules are of this face: no decoder, no assembler and no emulator is imported in one, as the agent reads it beside a
stopped process.
"""

import ctypes
from collections.abc import Iterator, Mapping
from typing import Protocol

Buffer = ctypes.Array[ctypes.c_char]


class Threads(Protocol):
    """How to ask for the registers of a thread, what they are called, and where signal frames hide others."""

    @property
    def READ(self) -> tuple[int, int]:  # noqa: N802 - a constant of the module
        """ptrace's request that gives all registers, and its address."""

    @property
    def WRITE(self) -> tuple[int, int]:  # noqa: N802 - a constant of the module
        """The same of the request that sets them."""

    @property
    def SIZE(self) -> int:  # noqa: N802 - a constant of the module
        """The bytes of a buffer for either."""

    @property
    def PROGRAM_COUNTER(self) -> str:  # noqa: N802 - a constant of the module
        """By its name in ``unpack``."""

    @property
    def STACK_POINTER(self) -> str:  # noqa: N802 - a constant of the module
        """By its name in ``unpack``."""

    @property
    def RESULT(self) -> str:  # noqa: N802 - a constant of the module
        """The register of a system call's result."""

    @property
    def OUT_OF_CALL(self) -> Mapping[str, int]:  # noqa: N802 - a constant of the module
        """What is set beside in a thread that is put elsewhere, so that the kernel begins no system call anew there."""

    @property
    def MODE(self) -> int:  # noqa: N802 - a constant of the module
        """What ``where`` tells of a thread that runs 64-bit code."""

    @property
    def AUDIT_ARCH(self) -> int:  # noqa: N802 - a constant of the module
        """What a seccomp filter is told (linux/audit.h)."""

    def ready(self, buffer: Buffer) -> int:
        """Make a buffer ready for the requests; what they take as data."""

    def where(self, data: Buffer) -> tuple[int, int, int]:
        """The program counter, the mode and the stack pointer in a buffer that was filled."""

    def pack(self, registers: dict[str, int]) -> bytes:
        """A buffer's content, by the registers' names."""

    def unpack(self, data: bytes | Buffer) -> dict[str, int]:
        """The registers in a buffer that was filled, by name; unsigned."""

    def interrupted_at(self, stack: bytes) -> Iterator[int]:
        """The program counters in what may be signal frames among these bytes of a stack, which begin at a whole word.

        A frame that only looks like one is given too: whoever asks must take a counter for a doubt, not for a fact.
        """
