"""Machine code read as instructions: the one place that calls Capstone."""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from patcher.isa.instruction import Imm, Instruction, Kind, Mem, Operand, Reg

if TYPE_CHECKING:
    import capstone

_OPERAND_REGISTER, _OPERAND_IMMEDIATE = 1, 2  # capstone/x86.h, x86_op_type
_KINDS = {
    "nop": Kind.NOP,
    "jmp": Kind.JUMP,
    "call": Kind.CALL,
    "ret": Kind.RETURN,
    "syscall": Kind.SYSTEM_CALL,
    "int3": Kind.TRAP,
    "ud2": Kind.TRAP,
}
_LONG_NOPS = ("xchg ax, ax", "data16 nop")


@cache
def _disassembler() -> "capstone.Cs":
    import capstone

    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    engine.detail = True
    return engine


def decode(code: bytes, address: int) -> Iterator[Instruction]:
    """Instructions of ``code`` at virtual ``address``, up to the first byte that is none."""
    for raw in _disassembler().disasm(code, address):
        operands = tuple(_operand(raw, each) for each in raw.operands)
        mnemonic = raw.mnemonic
        text = f"{mnemonic} {raw.op_str}".strip()
        yield Instruction(raw.address, raw.size, mnemonic, operands, text, _kind(mnemonic, text))


def instruction_starts(code: bytes, address: int) -> frozenset[int]:
    """Where instructions start in ``code`` at virtual ``address``, up to the first byte that is none."""
    return frozenset(start for start, _size, _mnemonic, _text in _disassembler().disasm_lite(code, address))


def size_of(code: bytes, address: int) -> int:
    """How many bytes of ``code`` are instructions, up to the first byte that is none."""
    return sum(size for _start, size, _mnemonic, _text in _disassembler().disasm_lite(code, address))


def _kind(mnemonic: str, text: str) -> Kind:
    if text in _LONG_NOPS:
        return Kind.NOP
    return _KINDS.get(mnemonic, Kind.CONDITIONAL_JUMP if mnemonic.startswith("j") else Kind.OTHER)


def _operand(raw: "capstone.CsInsn", operand: "capstone.x86.X86Op") -> Operand:
    if operand.type == _OPERAND_REGISTER:
        return Reg(raw.reg_name(operand.reg))
    if operand.type == _OPERAND_IMMEDIATE:
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
