"""Arm's syntax made into machine code; ``//`` begins a comment."""

from typing import TYPE_CHECKING

from patcher.isa.arm64.code import size_of
from patcher.isa.assembler import Assembler

if TYPE_CHECKING:
    import keystone


def _engine() -> "keystone.Ks":
    import keystone

    return keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN)


assemble = Assembler(_engine, "//", size_of).assemble


def constant(register: str, value: int) -> str:
    """Assembly that sets a register to any value of 64 bits, one to four instructions of 16 bits each."""
    parts = [(shift, value >> shift & 0xFFFF) for shift in range(0, 64, 16)]
    first, *others = [each for each in parts if each[1]] or parts[:1]
    lines = [f"        movz  {register}, #{first[1]:#x}, lsl #{first[0]}"]
    lines += [f"        movk  {register}, #{part:#x}, lsl #{shift}" for shift, part in others]
    return "\n".join(lines)
