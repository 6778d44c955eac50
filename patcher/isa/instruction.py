"""Machine code read as instructions: the one place that calls Capstone."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import capstone
from capstone import x86_const as x86

from patcher.errors import ShapeMismatch


@dataclass(frozen=True)
class Reg:
    """A register, by its name at its width: ``eax`` and ``rax`` differ."""

    name: str


@dataclass(frozen=True)
class Imm:
    """An immediate; for a direct branch, its absolute target."""

    value: int


@dataclass(frozen=True)
class Mem:
    """A memory operand of ``size`` bytes; ``rip``-relative ones have ``address``, the absolute one."""

    base: str
    index: str
    scale: int
    displacement: int
    size: int
    segment: str = ""
    address: int | None = None


Operand = Reg | Imm | Mem


@dataclass(frozen=True)
class Instruction:
    """One decoded instruction at a virtual address."""

    address: int
    size: int
    mnemonic: str
    operands: tuple[Operand, ...]
    text: str

    @property
    def end(self) -> int:
        """The virtual address of the next instruction."""
        return self.address + self.size

    @property
    def is_nop(self) -> bool:
        """True for the paddings that the Go assembler and linker use: nop in its long forms, ``xchg ax, ax``."""
        return self.mnemonic == "nop" or self.text in {"xchg ax, ax", "data16 nop"}

    @property
    def is_branch(self) -> bool:
        """True for every jump, conditional or not."""
        return self.mnemonic.startswith("j")

    @property
    def target(self) -> int | None:
        """Where a direct jump or call goes; None for all else."""
        if (self.is_branch or self.mnemonic == "call") and isinstance(self.operands[0], Imm):
            return self.operands[0].value
        return None

    def memory(self, index: int) -> Mem:
        """Operand ``index``, which must be a memory operand, else ShapeMismatch."""
        operand = self.operands[index] if index < len(self.operands) else None
        if isinstance(operand, Mem):
            return operand
        raise ShapeMismatch(f"expected a memory operand {index + 1}, found {self}")

    def immediate(self, index: int) -> int:
        """Operand ``index``, which must be an immediate, else ShapeMismatch."""
        operand = self.operands[index] if index < len(self.operands) else None
        if isinstance(operand, Imm):
            return operand.value
        raise ShapeMismatch(f"expected an immediate operand {index + 1}, found {self}")

    def __str__(self) -> str:
        """``0x441740: test rax, rax``."""
        return f"{self.address:#x}: {self.text}"


@cache
def _disassembler() -> capstone.Cs:
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    engine.detail = True
    return engine


def decode(code: bytes, address: int) -> Iterator[Instruction]:
    """Instructions of ``code`` at virtual ``address``, up to the first byte that is none."""
    for raw in _disassembler().disasm(code, address):
        operands = tuple(_operand(raw, each) for each in raw.operands)
        text = f"{raw.mnemonic} {raw.op_str}".strip()
        yield Instruction(raw.address, raw.size, raw.mnemonic, operands, text)


def instruction_starts(code: bytes, address: int) -> frozenset[int]:
    """Where instructions start in ``code`` at virtual ``address``, up to the first byte that is none."""
    return frozenset(start for start, _size, _mnemonic, _text in _disassembler().disasm_lite(code, address))


def decode_function(name: str, code: bytes, address: int) -> tuple[Instruction, ...]:
    """Every instruction of a function. Raises ShapeMismatch where its bytes do not decode to the end."""
    instructions = tuple(decode(code, address))
    reached = instructions[-1].end if instructions else address
    # int3 pads between functions; a function's size by pclntab includes that padding.
    if code[reached - address :].strip(b"\xcc"):
        raise ShapeMismatch(
            f"{name}: expected x86-64 instructions up to {address + len(code):#x}, "
            f"found bytes that are none at {reached:#x}"
        )
    return instructions


def _operand(raw: capstone.CsInsn, operand: capstone.x86.X86Op) -> Operand:
    if operand.type == x86.X86_OP_REG:
        return Reg(raw.reg_name(operand.reg))
    if operand.type == x86.X86_OP_IMM:
        return Imm(operand.imm)
    memory = operand.mem
    base = raw.reg_name(memory.base) or ""
    return Mem(
        base=base,
        index=raw.reg_name(memory.index) or "",
        scale=memory.scale,
        displacement=memory.disp,
        size=operand.size,
        segment=raw.reg_name(memory.segment) or "",
        address=raw.address + raw.size + memory.disp if base == "rip" else None,
    )
