"""What registers and slots hold on the way to a wait: straight code followed value by value."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from patcher.errors import ShapeMismatch
from patcher.golang.waits import EpollCall
from patcher.isa.amd64.abi import SYSTEM_CALLS
from patcher.isa.amd64.shape import family, on_stack
from patcher.isa.instruction import Imm, Instruction, Mem, Operand

RESULT = 24  # epollwait's result at [rsp + n], behind its arguments (runtime/sys_linux_amd64.s before Go 1.21)


@dataclass(frozen=True)
class Value:
    """``kind`` and ``of``: "register" (as it was at the beginning: its family), "constant" (a number), "stack" (the
    address rsp + n), "memory" (what lies at an absolute address), "slot" (what lay at [rsp + n] at the beginning).

    ``extended``: its lower 32 bits, extended by their sign.
    """

    kind: str
    of: int | str
    extended: bool = False

    def __str__(self) -> str:
        """For a refusal."""
        return f"{self.kind} {self.of if isinstance(self.of, str) else hex(self.of)}"


@dataclass(frozen=True)
class Store:
    """A value put into the frame: ``size`` bytes at [rsp + slot]."""

    slot: int
    size: int
    value: Value


@dataclass(frozen=True)
class Spill:
    """What stock leaves in the frame before it waits: "delay", "milliseconds" (4 or 8 bytes), "events" (a pointer)."""

    slot: int
    size: int
    what: str


@dataclass
class Values:
    """What is known after the instructions followed so far. ``zeroed``: (slot, bytes) of the array that is cleared."""

    name: str
    registers: dict[str, Value] = field(default_factory=dict)
    stores: list[Store] = field(default_factory=list)
    zeroed: tuple[int, int] | None = None

    def follow(self, instructions: Iterable[Instruction]) -> None:
        """Follow straight code. Raises ShapeMismatch at an instruction that does more than move values."""
        for each in instructions:
            if each.is_nop or each.mnemonic == "jmp":
                continue
            if not self._moves(each):
                raise ShapeMismatch(f"{self.name}: expected values moved to the call of EpollWait, found {each}")

    def _moves(self, each: Instruction) -> bool:
        if each.mnemonic == "rep stosq":
            to, count = self.register("di"), self.register("c")
            self.zeroed = (_number(to, "stack"), 8 * _number(count, "constant"))
            return self.register("a") == Value("constant", 0) and self.zeroed > (0, 0)
        if each.mnemonic not in ("mov", "movabs", "movsxd", "lea", "xor"):
            return False
        target, source = each.operands
        value = self._value(each, source)
        if value is None:
            return False
        if isinstance(target, Mem):
            self.stores.append(Store(target.displacement, target.size, value))
            return on_stack(target)
        self.registers[family(target)] = value
        return bool(family(target))

    def _value(self, instruction: Instruction, source: Operand) -> Value | None:
        """What an instruction moves; None where that is not known."""
        if instruction.mnemonic == "xor":
            return Value("constant", 0) if instruction.operands[0] == source else None
        if isinstance(source, Imm):
            return Value("constant", source.value)
        if not isinstance(source, Mem):
            value = self.register(family(source))
            return replace(value, extended=True) if instruction.mnemonic == "movsxd" else value
        if on_stack(source):
            return Value("stack" if instruction.mnemonic == "lea" else "slot", source.displacement)
        if source.address is None or instruction.mnemonic == "lea":
            return None
        return Value("memory", source.address)

    def register(self, name: str) -> Value:
        """What a register holds now, by its family."""
        return self.registers.get(name, Value("register", name))


@dataclass(frozen=True)
class Arguments:
    """What a wait is asked for: the address of runtime.epfd, the slot of the events, the register of the timeout."""

    epfd: int
    events: int
    milliseconds: Value


def call_arguments(call: EpollCall, values: Values, events: int, event_bytes: int) -> Arguments:
    """The arguments of a call of EpollWait for ``events`` events in an array of ``event_bytes``, by its calling
    convention. Raises ShapeMismatch.

    EpollWait(epfd, events slice, maxev, waitms) and Syscall6(number, epfd, events, maxev, waitms, 0, 0) in Go's
    ABIInternal; epollwait(epfd, events pointer, nev, timeout) on the stack.
    """
    if call.callee == "EpollWait":
        epfd, array, *counts, timeout = (values.register(each) for each in ("a", "b", "c", "di", "si", "r8"))
    elif call.callee == "Syscall6":
        names = ("b", "c", "di", "si")
        epfd, array, *counts, timeout = (values.register(each) for each in names)
        for name, expected in (("a", SYSTEM_CALLS["epoll_pwait"]), ("r8", 0), ("r9", 0)):
            _expect(call, f"{expected} in {name}", values.register(name), Value("constant", expected))
    else:
        passed = {each.slot: each.value for each in values.stores}
        missing = Value("slot", -1)
        epfd, array, *counts, timeout = (passed.get(slot, missing) for slot in (0, 8, 16, 20))
    for each in counts:
        _expect(call, f"room for {events} events", each, Value("constant", events))
    if epfd.kind != "memory" or array.kind != "stack":
        raise ShapeMismatch(f"{call.name}: expected epfd and an array in the frame, found {epfd} and {array}")
    if values.zeroed != (array.of, event_bytes):
        slot, size = values.zeroed or (0, 0)
        raise ShapeMismatch(
            f"{call.name}: expected {event_bytes} bytes of events to be zeroed at {array}, found {size} at {slot:#x}"
        )
    if timeout.kind != "register":
        raise ShapeMismatch(f"{call.name}: expected the timeout in a register, found {timeout}")
    return Arguments(_number(epfd, "memory"), _number(array, "stack"), replace(timeout, extended=False))


def _expect(call: EpollCall, what: str, found: Value, expected: Value) -> None:
    if found != expected:
        raise ShapeMismatch(f"{call.name}: expected {what}, found {found}")


def _number(value: Value, kind: str) -> int:
    """The number of a value of that kind; 0 for another."""
    return value.of if value.kind == kind and isinstance(value.of, int) else 0
