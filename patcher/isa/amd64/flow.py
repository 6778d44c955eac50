"""What instructions of x86-64 do to registers: which they write, and what they move."""

import re

from patcher.isa.amd64.abi import ABI
from patcher.isa.amd64.shape import family, family_of
from patcher.isa.flow import Flow
from patcher.isa.instruction import Imm, Instruction, Reg

_ALL = frozenset({"a", "b", "c", "d", "si", "di", "bp", "sp", *(f"r{number}" for number in range(8, 16))})
_KEPT_BY_CALLS = frozenset(map(family_of, ABI.kept))
_WRITES_NOTHING = frozenset({"cmp", "test", "bt", "push", "ret", "int3", "ud2", "nop"})
# Of these it is known that they write their first operand and no other register (Intel SDM, volume 2).
_WRITES_FIRST = frozenset({
    "adc", "add", "and", "bsf", "bsr", "bswap", "btc", "btr", "bts", "dec", "inc", "lea", "lzcnt", "mov", "movabs",
    "movapd", "movaps", "movd", "movdqa", "movdqu", "movq", "movsx", "movsxd", "movupd", "movups", "movzx", "neg",
    "not", "or", "pop", "popcnt", "pxor", "rol", "ror", "sar", "sbb", "shl", "shld", "shr", "shrd", "sub", "tzcnt",
    "xor", "xorps",
})  # fmt: skip
_WRITES_BOTH = frozenset({"xchg", "xadd"})
# Registers that an instruction writes without naming them.
_WRITTEN_UNNAMED = {
    "mul": ("a", "d"),
    "div": ("a", "d"),
    "idiv": ("a", "d"),
    "cqo": ("d",),
    "cdq": ("d",),
    "cdqe": ("a",),
    "syscall": ("a", "c", "r11"),
    "cmpxchg": ("a",),
    "rep stosq": ("di", "c"),
}
_WHOLE = re.compile(r"[er]([abcd]x|[sd]i|bp|sp)|r\d+d?")  # 32 bits, which clear the upper half, or 64
_LOOPS = ("loop", "jrcxz", "jecxz")


class Amd64Flow(Flow):
    """Registers are called by their families: those of ``shape.py``."""

    def strays(self, instruction: Instruction) -> bool:
        """``loop`` and ``jrcxz`` count a register down or ask for it."""
        return instruction.mnemonic.startswith(_LOOPS)

    def register(self, name: str) -> str:
        """The family."""
        return family_of(name)

    def written(self, instruction: Instruction) -> frozenset[str]:
        """All registers where it is not known what the instruction does."""
        mnemonic = instruction.mnemonic.removeprefix("lock ")
        if instruction.is_nop or instruction.is_branch or mnemonic in _WRITES_NOTHING:
            return frozenset()
        if mnemonic == "call":
            return _ALL - _KEPT_BY_CALLS
        if mnemonic in _WRITTEN_UNNAMED or mnemonic == "imul":
            unnamed = _WRITTEN_UNNAMED.get(mnemonic, ("a", "d") if len(instruction.operands) == 1 else ())
            named = instruction.operands[:1]
        elif mnemonic in _WRITES_BOTH:
            unnamed, named = (), instruction.operands
        elif mnemonic in _WRITES_FIRST or mnemonic.startswith(("cmov", "set")):
            unnamed, named = (), instruction.operands[:1]
        else:
            return _ALL
        return frozenset({*unnamed, *(name for each in named if (name := family(each)))})

    def moved(self, instruction: Instruction, register: str) -> int | str | None:
        """Of ``mov`` and of ``xor`` with itself, to 32 bits or to 64: these write one register alone."""
        del register
        target, source = instruction.operands if len(instruction.operands) == 2 else (None, None)
        if not (isinstance(target, Reg) and _WHOLE.fullmatch(target.name)):
            return None
        if instruction.mnemonic in ("mov", "movabs") and isinstance(source, Imm):
            return source.value
        if instruction.mnemonic == "xor" and source == target:
            return 0
        if instruction.mnemonic == "mov" and isinstance(source, Reg) and _WHOLE.fullmatch(source.name):
            return family(source)
        return None
