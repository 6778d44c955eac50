"""The one face of an instruction set: all that reading, editing and proving ask of one.

A new one is a folder with a value of this face and its place in ``table.py``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from patcher.file.content import Content
from patcher.isa.flow import Flow
from patcher.isa.instruction import Instruction
from patcher.isa.processor import Processor
from patcher.isa.threads import Threads


@dataclass(frozen=True)
class Abi:
    """The roles of registers, by their names at full width: Go's ABIInternal (cmd/compile/abi-internal.md), and the
    kernel's ``system_`` calls (syscall(2)).

    ``arguments`` and ``results`` are those of integers; ``kept`` is what a Go callee keeps. ``pushed`` are the bytes
    that a call puts on the stack; ``stack_arguments``: how far above the stack pointer at a function's entry the
    arguments on the stack begin, and ``first_on_stack`` the first of them at a call, as ``Flow.constants`` takes it.
    ``stack_alignment``: what the stack pointer must be a multiple of wherever it is used. ``framed``: (stack pointer at
    the entry, depth of the full frame) → the frame pointer there. ``fini``: what the dynamic linker hands to the entry
    (rtld_fini).
    """

    program_counter: str
    stack_pointer: str
    frame_pointer: str
    goroutine: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    kept: frozenset[str]
    pushed: int
    stack_arguments: int
    first_on_stack: str
    stack_alignment: int
    framed: Callable[[int, int], int]
    fini: str
    system_number: str
    system_arguments: tuple[str, ...]
    system_result: str


@dataclass(frozen=True)
class Isa:
    """An instruction set. ``name`` as GOARCH has it, ``machine`` as ELF has it (e_machine), ``kernel`` as uname(2) has
    it, ``relative`` the kind of an ELF relocation that adds where the program lies.

    ``page``: the bytes to which Go's linker aligns segments (cmd/link, FlagRound); ``quantum``: the bytes by which Go's
    tables count PCs. ``trap`` fills where no code runs, ``nop`` where it runs on, ``padding`` is what Go's linker puts
    between functions, ``breakpoints`` what debuggers and uprobes put over code, each of so many bytes. ``used`` are the
    mnemonics that a stub may hold. ``system_calls`` are the numbers of those that the patcher knows.
    """

    name: str
    machine: int
    kernel: str
    relative: int
    page: int
    quantum: int
    trap: bytes
    nop: bytes
    padding: bytes
    breakpoints: tuple[bytes, ...]
    used: frozenset[str]
    system_calls: Mapping[str, int]
    abi: Abi
    threads: Threads

    #: (code, address): the instructions of the code at the virtual address, up to the first byte that is none.
    decode: Callable[[bytes, int], Iterator[Instruction]]
    #: The same, of where the instructions start alone.
    starts: Callable[[bytes, int], frozenset[int]]
    #: (text, address): machine code. Raises ProofFailed for what cannot be assembled.
    assemble: Callable[[str, int], bytes]
    #: (function's name, instructions): how control flows through them. Raises ShapeMismatch where that is not known.
    flow: Callable[[str, Sequence[Instruction]], Flow]
    #: (data, start, stop, address of start, targets): the direct calls and jumps in ``[start, stop)`` that go to a
    #: target, as (address, target). What looks like one and is none is among them.
    direct_calls: Callable[[Content, int, int, int, frozenset[int]], Iterator[tuple[int, int]]]
    #: Each machine code that puts a small constant where a call of the kernel has its number, one of Go its first word.
    sets_first: Callable[[int], tuple[bytes, ...]]
    #: The same of the word behind that.
    sets_second: Callable[[int], tuple[bytes, ...]]
    #: A register as the kernel's event tracing names it (Documentation/trace/uprobetracer.rst, "Fetch-args").
    traced: Callable[[str], str]
    #: (a function's instructions, where its namesakes start): whether it takes its arguments off the stack (ABI0).
    takes_stack: Callable[[Sequence[Instruction], frozenset[int]], bool]
    #: For the emulator.
    processor: Callable[[], Processor]

    def system_call(self, number: int) -> str:
        """The kernel's name of a system call, ``number N`` of one that the patcher does not know."""
        return next((name for name, each in self.system_calls.items() if each == number), f"number {number}")
