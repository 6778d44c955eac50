"""What Capstone says of x86-64 machine code, as instructions."""

from typing import TYPE_CHECKING

from patcher.isa.decoder import Decoder
from patcher.isa.instruction import Imm, Kind, Mem, Operand, Reg

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


def _engine() -> "capstone.Cs":
    import capstone

    return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)


def _told(mnemonic: str, operands: str) -> tuple[str, Kind]:
    text = f"{mnemonic} {operands}".strip()
    if text in _LONG_NOPS:
        return text, Kind.NOP
    return text, _KINDS.get(mnemonic, Kind.CONDITIONAL_JUMP if mnemonic.startswith("j") else Kind.OTHER)


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


_DECODER = Decoder(_engine, _told, _operand)
decode, instruction_starts, size_of = _DECODER.decode, _DECODER.starts, _DECODER.size_of
