"""Recognising code: a walk over instructions in which every step says what it expects."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from patcher.errors import ShapeMismatch
from patcher.isa.instruction import Imm, Instruction, Mem, Operand, Reg

# A register's name without its width: eax, rax → "a"; r8d, r8 → "r8".
_FAMILY = {
    name: family
    for family, names in {
        "a": ("al", "ah", "ax", "eax", "rax"),
        "b": ("bl", "bh", "bx", "ebx", "rbx"),
        "c": ("cl", "ch", "cx", "ecx", "rcx"),
        "d": ("dl", "dh", "dx", "edx", "rdx"),
        "si": ("sil", "si", "esi", "rsi"),
        "di": ("dil", "di", "edi", "rdi"),
        "bp": ("bpl", "bp", "ebp", "rbp"),
        "sp": ("spl", "sp", "esp", "rsp"),
    }.items()
    for name in names
} | {f"r{n}{width}": f"r{n}" for n in range(8, 16) for width in ("", "d", "w", "b")}


def family(operand: Operand) -> str:
    """The register whatever its width, or "" for what is no register."""
    return family_of(operand.name) if isinstance(operand, Reg) else ""


def family_of(name: str) -> str:
    """The same by a register's name; a family's own is that of the family."""
    return _FAMILY.get(name, name)


def on_stack(operand: Operand, size: int = 0) -> bool:
    """True for ``[rsp + n]`` without an index, of ``size`` bytes where a size is asked for."""
    return (
        isinstance(operand, Mem) and operand.base == "rsp" and not operand.index and (not size or operand.size == size)
    )


def is_imm(operand: Operand, value: int, bits: int = 64) -> bool:
    """True for the immediate ``value``, taken modulo 2**bits: -1 may be shown as 0xffffffff."""
    return isinstance(operand, Imm) and (operand.value - value) % (1 << bits) == 0


@dataclass
class Walk:
    """A position in a function's instructions; nops are stepped over."""

    function: str
    instructions: Sequence[Instruction]
    index: int = 0

    def take(self, expected: str, fits: Callable[[Instruction], bool]) -> Instruction:
        """The next instruction, if it fits; else ShapeMismatch with ``expected`` beside what stands there."""
        while self.index < len(self.instructions) and self.instructions[self.index].is_nop:
            self.index += 1
        if self.index == len(self.instructions):
            raise ShapeMismatch(f"{self.function}: expected {expected}, found the function's end")
        found = self.instructions[self.index]
        if not fits(found):
            raise ShapeMismatch(f"{self.function}: expected {expected}, found {found}")
        self.index += 1
        return found

    def peek(self) -> Instruction | None:
        """The next instruction that is no nop, without a step."""
        return next((each for each in self.instructions[self.index :] if not each.is_nop), None)

    def go_to(self, address: int, expected: str) -> None:
        """Continue at ``address``, which must be the start of an instruction of this function."""
        for index, each in enumerate(self.instructions):
            if each.address == address:
                self.index = index
                return
        raise ShapeMismatch(
            f"{self.function}: expected {expected} at {address:#x}, found no instruction starting there"
        )

    def test(self, name: str) -> Instruction:
        """``test reg, reg``, of the register by its name at its width."""
        return self.take(
            f"test {name}, {name}", lambda i: i.mnemonic == "test" and all(o == Reg(name) for o in i.operands)
        )

    def jump(self, *mnemonics: str) -> int:
        """A direct jump of one of the kinds; its target."""
        taken = self.take(" or ".join(mnemonics), lambda i: i.mnemonic in mnemonics and i.target is not None)
        return taken.immediate(0)

    def move(self, expected: str, to: Callable[[Operand], bool], source: Callable[[Operand], bool]) -> Instruction:
        """A ``mov`` (or ``movabs``) whose two operands fit."""
        return self.take(
            expected,
            lambda i: i.mnemonic in ("mov", "movabs") and to(i.operands[0]) and source(i.operands[1]),
        )


def register(name: str) -> Callable[[Operand], bool]:
    """A test for a register of the family ``name``."""
    return lambda operand: family(operand) == name


def constant(value: int) -> Callable[[Operand], bool]:
    """A test for an immediate, 32 bits wide or as wide."""
    return lambda operand: is_imm(operand, value, 32)


def slot(size: int, displacement: int | None = None) -> Callable[[Operand], bool]:
    """A test for ``[rsp + n]`` of ``size`` bytes, with n = ``displacement`` where one is given."""
    return lambda operand: (
        isinstance(operand, Mem) and on_stack(operand, size) and displacement in (None, operand.displacement)
    )


def take_frame(walk: Walk) -> int:
    """Step over a Go prologue; the size of the locals that it reserves, rsp's distance to the saved rbp.

    Go 1.21 and later: ``push rbp; mov rbp, rsp; sub rsp, n``. Before: ``sub rsp, n; mov [rsp+n-8], rbp;
    lea rbp, [rsp+n-8]`` (cmd/internal/obj/x86/obj6.go). The stack check before it may be absent (nosplit).
    """
    following = walk.peek()
    if following is not None and following.mnemonic == "lea" and family(following.operands[0]) == "r12":
        walk.take("lea r12, [rsp - n]", lambda i: on_stack(i.operands[1]))
    following = walk.peek()
    if following is not None and following.mnemonic == "cmp" and isinstance(following.operands[1], Mem):
        walk.take("cmp rsp, [r14+16]", _is_stack_check)
        walk.jump("jbe")
    following = walk.peek()
    if following is not None and following.mnemonic == "push":
        walk.take("push rbp", lambda i: family(i.operands[0]) == "bp")
        walk.move("mov rbp, rsp", register("bp"), register("sp"))
        return _reserved(walk)
    frame = _reserved(walk) - 8
    walk.move("mov [rsp+n-8], rbp", slot(8, frame), register("bp"))
    walk.take(
        "lea rbp, [rsp+n-8]",
        lambda i: i.mnemonic == "lea" and family(i.operands[0]) == "bp" and i.memory(1).displacement == frame,
    )
    return frame


def _is_stack_check(instruction: Instruction) -> bool:
    limit = instruction.operands[1]
    return (
        family(instruction.operands[0]) in ("sp", "r12")
        and isinstance(limit, Mem)
        and (limit.base, limit.displacement) == ("r14", 16)
    )


def _reserved(walk: Walk) -> int:
    taken = walk.take(
        "sub rsp, n",
        lambda i: i.mnemonic == "sub" and family(i.operands[0]) == "sp" and isinstance(i.operands[1], Imm),
    )
    return taken.immediate(1)
