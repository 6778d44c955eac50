"""What instructions of AArch64 do to registers: which they write, and what they move."""

import re

from patcher.isa.arm64.abi import ABI
from patcher.isa.flow import Flow
from patcher.isa.instruction import Imm, Instruction, Mem, Operand, Reg

_NUMBERED = re.compile(r"[wx]([12]?[0-9]|30)")
# Slots of the frame in which a caller puts arguments are followed like registers: one goes by this name.
_SLOTS = tuple(f"[sp+{8 * number}]" for number in range(1, 8))
_ALL = frozenset({*(f"x{number}" for number in range(31)), "sp", *_SLOTS})
_SPOILT_BY_CALLS = _ALL - ABI.kept
# Of these it is known that they write their first operand and no other register (Arm ARM, C6.2).
_WRITES_FIRST = frozenset({
    "adc", "adcs", "add", "adds", "adr", "adrp", "and", "ands", "asr", "bfi", "bfxil", "bic", "bics", "cinc", "cinv",
    "cls", "clz", "cneg", "csel", "cset", "csetm", "csinc", "csinv", "csneg", "eon", "eor", "extr", "fmov", "ldar",
    "ldarb", "ldarh", "ldaxr", "ldaxrb", "ldr", "ldrb", "ldrh", "ldrsb", "ldrsh", "ldrsw", "ldur", "ldurb", "ldurh",
    "ldursb", "ldursh", "ldursw", "ldxr", "lsl", "lsr", "madd", "mneg", "mov", "movk", "movn", "movz", "mrs", "msub",
    "mul", "mvn", "neg", "negs", "ngc", "orn", "orr", "rbit", "rev", "rev16", "rev32", "ror", "sbc", "sbcs", "sbfiz",
    "sbfx", "sdiv", "smaddl", "smulh", "smull", "stlxr", "stxr", "sub", "subs", "sxtb", "sxth", "sxtw", "ubfiz",
    "ubfx", "udiv", "umaddl", "umulh", "umull", "uxtb", "uxth", "uxtw",
})  # fmt: skip
_WRITES_TWO = frozenset({"ldp", "ldpsw", "ldnp", "ldaxp"})
_WRITES_NOTHING = frozenset({
    "brk", "ccmn", "ccmp", "clrex", "cmn", "cmp", "dmb", "dsb", "fcmp", "isb", "prfm", "ret", "tst", "udf",
})  # fmt: skip
_STORES = frozenset({"stlr", "stlrb", "stlrh", "stnp", "stp", "str", "strb", "strh", "stur", "sturb", "sturh"})
_MOVES = frozenset({"mov", "movz"})
_STRAYS = ("bra", "blra", "reta", "eret", "drps", "hlt", "hvc", "smc")


class Arm64Flow(Flow):
    """Registers are called by their names at full width, arguments on the stack as ``[sp+8]``."""

    def strays(self, instruction: Instruction) -> bool:
        """Jumps by signed pointers, and calls of what lies above the kernel."""
        return instruction.mnemonic.startswith(_STRAYS)

    def register(self, name: str) -> str:
        """The name at full width."""
        return whole(name)

    def written(self, instruction: Instruction) -> frozenset[str]:
        """All registers where it is not known what the instruction does."""
        mnemonic, operands = instruction.mnemonic, instruction.operands
        if instruction.is_nop or instruction.is_branch or mnemonic in _WRITES_NOTHING:
            return frozenset()
        if mnemonic in ("bl", "blr"):
            return _SPOILT_BY_CALLS
        if mnemonic == "svc":  # arch/arm64/kernel/syscall.c: the result's alone
            return frozenset({ABI.system_result})
        back = written_back(instruction)
        if mnemonic in _STORES:
            return frozenset({*(slot for slot, _ in _stored(instruction)), *back})
        if mnemonic in _WRITES_FIRST or mnemonic in _WRITES_TWO:
            targets = operands[: 1 + (mnemonic in _WRITES_TWO)]
            return frozenset({*(whole(each.name) for each in targets if isinstance(each, Reg)), *back})
        return _ALL

    def moved(self, instruction: Instruction, register: str) -> int | str | None:
        """Of ``mov``, and of ``str`` and ``stp`` of whole registers to the stack."""
        if instruction.mnemonic in _STORES:
            source = dict(_stored(instruction)).get(register)
        elif instruction.mnemonic in _MOVES:
            source = instruction.operands[1]
        else:
            return None
        if isinstance(source, Imm):
            bits = 32 if instruction.text.split()[1].startswith("w") else 64
            return source.value % (1 << bits)
        if isinstance(source, Reg):
            return 0 if source.name in ("wzr", "xzr") else whole(source.name) or None
        return None


def whole(name: str) -> str:
    """A register's name at full width: x5 for w5."""
    found = _NUMBERED.fullmatch(name)
    return f"x{found[1]}" if found else {"wsp": "sp", "wzr": "xzr"}.get(name, name)


def written_back(instruction: Instruction) -> frozenset[str]:
    """The base of an address that is counted up or down as it is used."""
    memory = next((each for each in instruction.operands if isinstance(each, Mem)), None)
    counts = memory is not None and (instruction.text.endswith("!") or not instruction.text.endswith("]"))
    return frozenset({whole(memory.base)}) if memory is not None and counts else frozenset()


def _stored(instruction: Instruction) -> list[tuple[str, Operand]]:
    """What a store puts into slots of the frame, each by its name: a register of eight bytes, else no register."""
    memory = next((each for each in instruction.operands if isinstance(each, Mem)), None)
    if memory is None or memory.base != "sp" or memory.index or written_back(instruction):
        return []
    sources = instruction.operands[: instruction.operands.index(memory)]
    at = [memory.displacement + memory.size * index for index in range(len(sources))]
    exact = [(f"[sp+{slot}]", source) for slot, source in zip(at, sources, strict=True) if memory.size == 8]
    if memory.size == 8 and all(slot % 8 == 0 for slot in at):
        return exact
    touched = {slot // 8 * 8 for low in at for slot in (low, low + memory.size - 1)}
    return [(f"[sp+{slot}]", Reg("")) for slot in sorted(touched)]
