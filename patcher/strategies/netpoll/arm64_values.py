"""What registers hold on the way to a wait: straight code followed value by value."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from patcher.errors import ShapeMismatch
from patcher.isa.arm64.flow import whole
from patcher.isa.flow import Flow
from patcher.isa.instruction import Imm, Instruction, Mem, Operand, Reg


@dataclass(frozen=True)
class Value:
    """``kind`` and ``of``: "register" (as it was at the beginning: its name), "constant" (a number), "stack" (the
    address sp + n), "address" (an absolute one), "memory" (what lies there), "slot" (what lies at [sp + n]), "unknown"
    (what an instruction makes: its text).
    """

    kind: str
    of: int | str

    def __str__(self) -> str:
        """For a refusal."""
        return f"{self.kind} {self.of if isinstance(self.of, str) else hex(self.of)}"

    def number(self, kind: str) -> int | None:
        """The number of a value of that kind; None for another."""
        return self.of if self.kind == kind and isinstance(self.of, int) else None


ZERO = Value("constant", 0)


@dataclass
class Values:
    """What is known after the instructions followed so far; ``stored`` by the slot: value and size in bytes."""

    name: str
    registers: dict[str, Value] = field(default_factory=dict)
    stored: dict[int, tuple[Value, int]] = field(default_factory=dict)

    def follow(self, instructions: Iterable[Instruction]) -> None:
        """Follow straight code. Raises ShapeMismatch at an instruction that does more than move values."""
        for each in instructions:
            if not (each.is_nop or each.mnemonic == "b" or self._moves(each)):
                raise ShapeMismatch(f"{self.name}: expected values moved to the call of EpollWait, found {each}")

    def skim(self, flow: Flow, instructions: Iterable[Instruction]) -> None:
        """Follow any straight code; of registers that it writes otherwise than by a move nothing is known then."""
        for each in instructions:
            if not self._moves(each):
                self.registers |= {name: Value("unknown", each.text) for name in flow.written(each)}

    def _moves(self, each: Instruction) -> bool:
        if each.mnemonic in ("str", "stp", "stur"):
            return self._store(each)
        target = each.operands[0] if each.operands else None
        value = self._value(each)
        if value is None or not isinstance(target, Reg):
            return False
        self.registers[whole(target.name)] = value
        return True

    def _store(self, each: Instruction) -> bool:
        *sources, target = each.operands
        if not isinstance(target, Mem) or target.base != "sp" or target.index:
            return False
        for index, source in enumerate(sources):
            self.stored[target.displacement + index * target.size] = self.held(source), target.size
        return each.text.endswith("]")

    def _value(self, each: Instruction) -> Value | None:
        """What an instruction moves into its first operand; None where that is not known."""
        match each.mnemonic, each.operands[1:]:
            case ("mov" | "movz" | "adrp", (Imm(number),)):
                return Value("address" if each.mnemonic == "adrp" else "constant", number)
            case ("mov" | "sxtw", (Reg() as source,)):
                return self.held(source)
            case ("add", (Reg() as source, Imm(number))):
                return _added(self.held(source), number)
            case ("ldr" | "ldrsw" | "ldur" | "ldursw", (Mem() as source,)) if not source.index:
                at = _added(self.held(Reg(source.base)), source.displacement)
                kinds = {"stack": "slot", "address": "memory"}
                return at and (Value(kinds[at.kind], at.of) if each.text.endswith("]") else None)
        return None

    def held(self, operand: Operand) -> Value:
        """What a register holds now."""
        name = whole(operand.name) if isinstance(operand, Reg) else ""
        if name in ("sp", "xzr"):
            return Value("stack", 0) if name == "sp" else ZERO
        return self.registers.get(name, Value("register", name))


def _added(value: Value, number: int) -> Value | None:
    """An address that many bytes further; None for what is no address."""
    known = isinstance(value.of, int) and value.kind in ("stack", "address")
    return Value(value.kind, value.of + number) if known and isinstance(value.of, int) else None


def constants(instructions: Iterable[Instruction]) -> Iterator[int]:
    """Every constant that straight code puts into a register, in up to four steps."""
    held: dict[str, int] = {}
    for each in instructions:
        target = each.operands[0] if each.operands else None
        name = whole(target.name) if isinstance(target, Reg) else ""
        if each.mnemonic in ("mov", "movz") and isinstance(each.operands[1], Imm):
            held[name] = each.operands[1].value
        elif each.mnemonic == "movk" and name in held:
            part = each.immediate(1)
            shift = (part.bit_length() - 1) // 16 * 16 if part else 0
            held[name] = held[name] & ~(0xFFFF << shift) | part
        yield from held.values()


def in_frame(operand: Operand) -> bool:
    """True for [sp + n] without an index."""
    return isinstance(operand, Mem) and operand.base == "sp" and not operand.index
