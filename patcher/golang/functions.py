"""Functions of an image by name: from pclntab always, checked against the symbol table where there is one."""

from dataclasses import dataclass, field
from functools import cached_property

from patcher.code import Instruction, decode, decode_function
from patcher.errors import MalformedBinary, ShapeMismatch, WrongArchitecture
from patcher.image import GoImage
from patcher.pclntab import Function, FunctionTable, find_function_table

_LONGEST_STUB = 128  # bytes; those that a patch puts behind the code have some dozens
_LINUX_ONLY = "runtime.futex"  # runtime/sys_linux_amd64.s; every other system waits by calls of other names
_LONGEST_FUNCTION = 1 << 16  # bytes; the runtime functions read here have at most some thousands


@dataclass(frozen=True)
class Functions:
    """The functions of one image. Every look-up raises ShapeMismatch or MalformedBinary, never returns a guess."""

    image: GoImage
    _decoded: dict[Function, tuple[Instruction, ...]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def table(self) -> FunctionTable:
        """The function table (pclntab). Raises WrongArchitecture where it is not one of a program for Linux."""
        table = find_function_table(self.image)
        if "GOOS" not in self.image.build.settings and not table.find(_LINUX_ONLY):
            raise WrongArchitecture(
                f"{self.image.path}: says nowhere which system it was built for, and has no {_LINUX_ONLY}, as a Go "
                "program for Linux has; only linux/amd64 can be patched"
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
        """The only function of that name."""
        found = self.all(name)
        if len(found) != 1:
            raise ShapeMismatch(f"{self.image.path}: expected one function {name}, found {len(found)}")
        return found[0]

    def instructions(self, function: Function) -> tuple[Instruction, ...]:
        """A function's instructions, up to its padding. Raises ShapeMismatch if it does not decode in full."""
        if function not in self._decoded:
            size = function.end - function.start
            if size > _LONGEST_FUNCTION:
                raise ShapeMismatch(
                    f"{function.name} at {function.start:#x}: expected at most {_LONGEST_FUNCTION} bytes, found {size}"
                )
            code = self.image.read(function.start, size)
            self._decoded[function] = decode_function(function.name, code, function.start)
        return self._decoded[function]

    def code_at(self, address: int) -> tuple[Instruction, ...]:
        """The instructions at an address outside every function, as far as they are some; none where nothing is."""
        for segment in self.image.segments:
            if segment.executable and segment.address <= address < segment.address + segment.file_size:
                size = min(_LONGEST_STUB, segment.address + segment.file_size - address)
                return tuple(decode(self.image.read(address, size), address))
        return ()

    def filler(self, function: Function) -> tuple[int, int]:
        """(address, size) of what the linker filled up behind a function to align the next: int3 that nothing reaches.

        (0, 0) where the function does not end in a jump or a return, or has a jump to behind its end.
        """
        instructions = self.instructions(function)
        code = [each for each in instructions if each.mnemonic != "int3"]
        if not code or code[-1].mnemonic not in ("jmp", "ret"):
            return 0, 0
        start = code[-1].end
        if any(each.target is not None and start <= each.target < function.end for each in code):
            return 0, 0
        filled = self.image.read(start, function.end - start)
        return (start, len(filled)) if not filled.strip(b"\xcc") else (0, 0)
