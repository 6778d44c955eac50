"""Instructions as every instruction set's decoder gives them: what one does to the flow of control, its operands."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from patcher.errors import ShapeMismatch


class Kind(Enum):
    """What an instruction does to the flow of control, as far as code is told apart by it."""

    OTHER = "other"
    NOP = "nop"
    JUMP = "jump"
    CONDITIONAL_JUMP = "conditional jump"
    CALL = "call"
    RETURN = "return"
    SYSTEM_CALL = "system call"
    TRAP = "trap"


@dataclass(frozen=True)
class Reg:
    """A register, by its name at its width: the names of one register at two widths differ."""

    name: str


@dataclass(frozen=True)
class Imm:
    """An immediate; for a direct branch, its absolute target."""

    value: int


@dataclass(frozen=True)
class Mem:
    """A memory operand of ``size`` bytes; one relative to the program counter has ``address``, the absolute one."""

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
    """One decoded instruction at a virtual address. ``read`` gives its operands, which are asked for of few."""

    address: int
    size: int
    mnemonic: str
    text: str
    kind: Kind
    read: Callable[[], tuple[Operand, ...]] = field(repr=False, compare=False)

    @cached_property
    def operands(self) -> tuple[Operand, ...]:
        """As ``text`` has them."""
        return self.read()

    @property
    def end(self) -> int:
        """The virtual address of the next instruction."""
        return self.address + self.size

    @property
    def is_nop(self) -> bool:
        """True for the paddings that the Go assembler and linker use where code runs on."""
        return self.kind is Kind.NOP

    @property
    def is_branch(self) -> bool:
        """True for every jump, conditional or not."""
        return self.kind in (Kind.JUMP, Kind.CONDITIONAL_JUMP)

    @property
    def target(self) -> int | None:
        """Where a direct jump or call goes; None for all else."""
        if (self.is_branch or self.kind is Kind.CALL) and isinstance(self.operands[-1], Imm):
            return self.operands[-1].value
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
        """``0x441740: nop``."""
        return f"{self.address:#x}: {self.text}"
