"""Functions of an image by name: from pclntab always, checked against the symbol table where there is one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from patcher.errors import MalformedBinary, ShapeMismatch, WrongArchitecture
from patcher.golang.finder import find_function_table
from patcher.golang.image import GoImage
from patcher.golang.pclntab import Function, FunctionTable
from patcher.isa.flow import Flow
from patcher.isa.instruction import Instruction, Kind
from patcher.isa.table import PLATFORMS

T = TypeVar("T")
MAIN = "runtime.main"  # of every program and C library; the runtime starts it
_LONGEST_STUB = 128  # bytes; those that a patch puts behind the code have some dozens
_LINUX_ONLY = "runtime.futex"  # runtime/sys_linux_NAME.s; every other system waits by calls of other names
_LONGEST_FUNCTION = 1 << 16  # bytes; the runtime functions read here have at most some thousands


@dataclass(frozen=True)
class Functions:
    """The functions of one image. Every look-up raises ShapeMismatch or MalformedBinary, never returns a guess."""

    image: GoImage
    _decoded: dict[Function, tuple[Instruction, ...]] = field(default_factory=dict, repr=False, compare=False)
    _searched: dict[Callable[["Functions"], Any], Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, search: Callable[["Functions"], T]) -> T:
        """What a search through the whole image finds: it is made once, whoever asks."""
        if search not in self._searched:
            self._searched[search] = search(self)
        found: T = self._searched[search]
        return found

    @cached_property
    def table(self) -> FunctionTable:
        """The function table (pclntab). Raises WrongArchitecture where it is not one of a program for Linux."""
        table = find_function_table(self.image)
        named = bool(table.find(MAIN))  # where the runtime's names are obfuscated, this proves nothing
        if named and "GOOS" not in self.image.build.settings and not table.find(_LINUX_ONLY):
            raise WrongArchitecture(
                f"{self.image.path}: says nowhere which system it was built for, and has no {_LINUX_ONLY}, as a Go "
                f"program for Linux has; only {PLATFORMS} can be patched"
            )
        return table

    def all(self, name: str) -> tuple[Function, ...]:
        """Every function of that name: an ABI wrapper bears the same name in pclntab as what it wraps."""
        found = self.table.find(name)
        symbol = self.image.symbol(name)
        if symbol is not None and found and symbol not in [each.start for each in found]:
            raise MalformedBinary(
                f"{self.image.path}: {name} is at {symbol:#x} by the symbol table and at {found[0].start:#x} by pclntab"
            )
        return found

    def one(self, name: str) -> Function:
        """The only function of that name that Go code calls; those through which assembly calls it do not count."""
        found = self.all(name)
        own = found if len(found) < 2 else [each for each in found if not self.takes_stack(each)]
        if len(own) != 1:
            raise ShapeMismatch(f"{self.image.path}: expected one function {name}, found {len(own)}")
        return own[0]

    def takes_stack(self, function: Function) -> bool:
        """Whether a function takes its arguments off the stack (ABI0): assembly, or a wrapper for calls from it."""
        namesakes = frozenset(each.start for each in self.all(function.name) if each != function)
        return self.image.isa.takes_stack(self.instructions(function), namesakes)

    def instructions(self, function: Function) -> tuple[Instruction, ...]:
        """A function's instructions, up to its padding. Raises ShapeMismatch if it does not decode in full."""
        if function not in self._decoded:
            size = function.end - function.start
            if size > _LONGEST_FUNCTION:
                raise ShapeMismatch(
                    f"{function.name} at {function.start:#x}: expected at most {_LONGEST_FUNCTION} bytes, found {size}"
                )
            self._decoded[function] = self._decode(function)
        return self._decoded[function]

    def _decode(self, function: Function) -> tuple[Instruction, ...]:
        isa, code = self.image.isa, self.image.read(function.start, function.end - function.start)
        instructions = tuple(isa.decode(code, function.start))
        reached = instructions[-1].end if instructions else function.start
        # A function's size by pclntab includes what pads it.
        if code[reached - function.start :].strip(isa.padding):
            raise ShapeMismatch(
                f"{function.name}: expected {isa.name} instructions up to {function.end:#x}, "
                f"found bytes that are none at {reached:#x}"
            )
        return instructions

    def flow(self, function: Function) -> Flow:
        """How control flows through a function. Raises ShapeMismatch where that cannot be followed."""
        return self.image.isa.flow(function.name, self.instructions(function))

    def code_at(self, address: int) -> tuple[Instruction, ...]:
        """The instructions at an address outside every function, as far as they are some; none where nothing is."""
        for segment in self.image.segments:
            if segment.executable and segment.address <= address < segment.address + segment.file_size:
                size = min(_LONGEST_STUB, segment.address + segment.file_size - address)
                return tuple(self.image.isa.decode(self.image.read(address, size), address))
        return ()

    def filler(self, function: Function) -> tuple[int, int]:
        """(address, size) of what the linker filled up behind a function to align the next: traps that nothing reaches.

        (0, 0) where the function does not end in a jump or a return, or has a jump to behind its end.
        """
        instructions = self.instructions(function)
        code = [each for each in instructions if each.kind is not Kind.TRAP]
        if not code or code[-1].kind not in (Kind.JUMP, Kind.RETURN):
            return 0, 0
        start = code[-1].end
        if any(each.target is not None and start <= each.target < function.end for each in code):
            return 0, 0
        filled = self.image.read(start, function.end - start)
        return (start, len(filled)) if not filled.strip(self.image.isa.padding) else (0, 0)
