"""What Capstone says of AArch64 machine code, as instructions."""

import re
from typing import TYPE_CHECKING

from patcher.isa.decoder import Decoder
from patcher.isa.instruction import Imm, Kind, Mem, Operand, Reg

if TYPE_CHECKING:
    import capstone

SIZE = 4  # bytes of every instruction
_OPERAND_REGISTER, _OPERAND_IMMEDIATE, _OPERAND_MEMORY, _SHIFTED_LEFT = 1, 2, 3, 1  # capstone/arm64.h
_KINDS = {
    "nop": Kind.NOP,
    "b": Kind.JUMP,
    "br": Kind.JUMP,
    "bl": Kind.CALL,
    "blr": Kind.CALL,
    "ret": Kind.RETURN,
    "svc": Kind.SYSTEM_CALL,
    "brk": Kind.TRAP,
    "udf": Kind.TRAP,
    "cbz": Kind.CONDITIONAL_JUMP,
    "cbnz": Kind.CONDITIONAL_JUMP,
    "tbz": Kind.CONDITIONAL_JUMP,
    "tbnz": Kind.CONDITIONAL_JUMP,
}
_OTHER_NAMES = {"fp": "x29", "lr": "x30"}
_OTHER_NAME = re.compile(r"\b(?:fp|lr)\b")
# What a load or store moves at a time: by its mnemonic's end, else by its first register.
_NARROW = {"sw": 4, "sb": 1, "b": 1, "sh": 2, "h": 2}
_BY_REGISTER = {"w": 4, "x": 8, "b": 1, "h": 2, "s": 4, "d": 8, "q": 16}


def _engine() -> "capstone.Cs":
    import capstone

    return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)


def _told(mnemonic: str, operands: str) -> tuple[str, Kind]:
    text = _OTHER_NAME.sub(lambda name: _OTHER_NAMES[name[0]], f"{mnemonic} {operands}".strip())
    return text, _KINDS.get(mnemonic, Kind.CONDITIONAL_JUMP if mnemonic.startswith("b.") else Kind.OTHER)


def _operand(raw: "capstone.CsInsn", operand: "capstone.arm64.Arm64Op") -> Operand:
    """A shifted immediate as what it is worth; of a register that is shifted or extended only the text tells so."""
    if operand.type == _OPERAND_IMMEDIATE:
        return Imm(operand.imm << operand.shift.value if operand.shift.type == _SHIFTED_LEFT else operand.imm)
    if operand.type == _OPERAND_MEMORY:
        memory = operand.mem
        return Mem(
            base=_name(raw, memory.base),
            index=_name(raw, memory.index),
            scale=1 << operand.shift.value,
            displacement=memory.disp,
            size=_moved(raw),
        )
    return Reg(_name(raw, operand.reg) if operand.type == _OPERAND_REGISTER else "")


def _name(raw: "capstone.CsInsn", number: int) -> str:
    name = raw.reg_name(number) or ""
    return _OTHER_NAMES.get(name, name)


def _moved(raw: "capstone.CsInsn") -> int:
    """The bytes of one register that a load or store moves: Capstone does not tell them."""
    end = re.fullmatch(r"(?:ld|st)[a-z]*?(sw|s?[bh])?", raw.mnemonic)
    if end and end[1]:
        return _NARROW[end[1]]
    return _BY_REGISTER.get(raw.op_str[:1], 0)


_DECODER = Decoder(_engine, _told, _operand)
decode, size_of = _DECODER.decode, _DECODER.size_of
