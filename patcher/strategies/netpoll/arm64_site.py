"""Recognising a wait of ``runtime.netpoll`` in AArch64 code, in the function or inlined into a caller.

Registers, slots and the order of blocks are read from the code: none is the same in all builds. What is looked for is
the flow: epfd is compared with -1, the delay is tested and turned into milliseconds (``start``), both are kept in the
frame, the event array is zeroed; the arguments of the call are set (``retry``, where an interrupted endless wait comes
back, too), the result is looked at (``join``). What the code computes is not judged here: the proof runs it beside the
stub.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from patcher.errors import ShapeMismatch
from patcher.golang.functions import Functions
from patcher.golang.waits import EpollCall
from patcher.isa.arm64.code import SIZE
from patcher.isa.arm64.flow import whole
from patcher.isa.flow import Block, Flow
from patcher.isa.instruction import Imm, Instruction, Kind, Mem, Reg
from patcher.strategies.netpoll import site
from patcher.strategies.netpoll.arm64_values import Value, Values, constants, in_frame
from patcher.strategies.netpoll.site import EVENTS
from patcher.strategies.netpoll.waiting import check_closed, only, timed_waits

_EVENT_BYTES = 16 * EVENTS  # struct epoll_event is not packed (include/uapi/linux/eventpoll.h)
_SPILL_SPACE = (8, 0x30)  # of EpollWait's arguments; Syscall6 has more
_ON_STACK = (8, 0x24)  # epollwait's arguments and result (runtime/sys_linux_arm64.s before Go 1.21)
_RESULT = 0x20
_MOST_BLOCKS = 16  # of the conversion; eight were seen
_CONVERSION = ((1_000_000, "1e6"), (10**15, "1e15"), (10**9, "1e9"))


@dataclass(frozen=True)
class Site(site.Site):
    """The same with what the stub is made of; slots are offsets from sp.

    The stub leaves the milliseconds in ``wait_slot`` and, for ``retry``, in the register ``waited``.
    """

    wait_slot: int
    waited: str

    @property
    def entries(self) -> tuple[tuple[int, int], ...]:
        """The start alone: the retry lies behind."""
        return ((self.start, SIZE),)


@dataclass(frozen=True)
class _Conversion:
    """The blocks from the test of the delay, ``first``, to the retry; epfd is in ``descriptor`` there."""

    first: Block
    descriptor: str
    blocks: tuple[Block, ...]


def locate(functions: Functions) -> tuple[Site, ...]:
    """Every wait of the runtime with a timeout, recognised. Raises AlreadyPrecise, or ShapeMismatch for the first that
    is none of netpoll's or is not as expected.
    """
    return tuple(_recognise(functions, each) for each in timed_waits(functions))


def _recognise(functions: Functions, call: EpollCall) -> Site:
    flow = call.flow
    block = flow.block_with(call.address)
    conversion = _conversion(call, flow, block)
    first = conversion.first
    retry, load = _retry(call, flow, block, conversion)
    waited, wait_slot = _register(load), load.memory(1).displacement
    values = Values(call.name)
    values.follow(
        each for one in dict.fromkeys((retry, block)) for each in one.instructions if each.address < call.address
    )
    epfd, events, timeout = _arguments(call, values)
    if timeout not in (Value("slot", wait_slot), Value("register", waited)):
        raise ShapeMismatch(f"{call.name}: expected the milliseconds as the timeout, found {timeout}")
    known = _check_descriptor(call, flow, conversion, epfd)
    delay = _tested(call, first)
    join, error = _join(call, block)
    depth = functions.table.sp_delta(call.function, first.start)
    if not depth:
        raise ShapeMismatch(f"{call.name}: expected a frame at {first.start:#x}, found none in pclntab")
    delays = tuple(_kept(call, conversion, delay, wait_slot, events))
    return Site(
        call=call,
        body=_body(functions, call),
        depth=depth,
        top=max(depth, *(each + 8 for each in delays)),
        before=tuple(_code(each)[-2].address for each in flow.predecessors(first.start)),
        start=first.start,
        spans=((first.start, _end(conversion, flow)),),
        retry=retry.start,
        join=join,
        epfd=epfd,
        descriptor=conversion.descriptor,
        known=known,
        delay=delay,
        delays=delays,
        kept=frozenset((*delays, wait_slot)),
        wait_slot=wait_slot,
        waited=waited,
        events=events,
        event_bytes=_EVENT_BYTES,
        scratch=_ON_STACK if error is None else _SPILL_SPACE,
        error=error,
    )


def _code(block: Block) -> list[Instruction]:
    return [each for each in block.instructions if not each.is_nop]


def _arguments(call: EpollCall, values: Values) -> tuple[int, int, Value]:
    """The address of runtime.epfd, the slot of the events, and the timeout, by the callee's calling convention.

    EpollWait(epfd, events slice, maxev, waitms) in Go's ABIInternal; epollwait(epfd, events pointer, nev, timeout) on
    the stack. Raises ShapeMismatch.
    """
    if call.callee == "EpollWait":
        epfd, array, *counts, timeout = (values.held(Reg(f"x{number}")) for number in range(6))
    elif call.callee == "epollwait":
        missing = Value("slot", -1), 0
        epfd, array, *counts, timeout = (values.stored.get(slot, missing)[0] for slot in (8, 16, 24, 28))
    else:
        raise ShapeMismatch(f"{call.name}: expected a call of EpollWait, found one of {call.callee}")
    for each in counts:
        if each != Value("constant", EVENTS):
            raise ShapeMismatch(f"{call.name}: expected room for {EVENTS} events, found {each}")
    descriptor, events = epfd.number("memory"), array.number("stack")
    if descriptor is None or events is None:
        raise ShapeMismatch(f"{call.name}: expected epfd and an array in the frame, found {epfd} and {array}")
    return descriptor, events, timeout


def _conversion(call: EpollCall, flow: Flow, block: Block) -> _Conversion:
    """The blocks behind ``cmn w, #1; b.eq`` from which all ways lead to the retry. Raises ShapeMismatch."""
    found = []
    for test in flow.blocks.values():
        last = _code(test)[-2:]
        if [each.mnemonic for each in last] not in (["cmn", "b.eq"], ["cmn", "b.ne"]) or last[0].operands[1] != Imm(1):
            continue
        start = last[1].end if last[1].mnemonic == "b.eq" else last[1].target
        blocks = _closed(flow, start, block.start)
        if blocks:
            found.append(_Conversion(blocks[0], _register(last[0]), blocks))
    conversion = only(call, "conversion of the delay behind a comparison of epfd with -1", list(dict.fromkeys(found)))
    starts = {each.start for each in conversion.blocks}
    for each in conversion.blocks[1:]:
        outside = [one for one in flow.predecessors(each.start) if one.start not in starts]
        if outside:
            raise ShapeMismatch(
                f"{call.name}: expected no way into the delay's conversion from outside, found "
                f"{outside[0].instructions[-1]}"
            )
    check_closed(call, conversion.blocks, frozenset({block.start}))
    _check_constants(call, conversion.blocks)
    return conversion


def _check_descriptor(call: EpollCall, flow: Flow, conversion: _Conversion, epfd: int) -> tuple[tuple[str, int], ...]:
    """The register must hold epfd on every way to the conversion. Gives the registers that hold an address then."""
    addresses: set[tuple[str, int]] | None = None
    for each in flow.predecessors(conversion.first.start):
        values = Values(call.name)
        values.skim(flow, each.instructions)
        found = values.held(Reg(conversion.descriptor))
        if found != Value("memory", epfd):
            raise ShapeMismatch(
                f"{call.name}: expected epfd, memory {epfd:#x}, to be compared with -1 before the delay is tested, "
                f"found {found}"
            )
        held = {(name, at) for name, one in values.registers.items() if (at := one.number("address")) is not None}
        addresses = held if addresses is None else addresses & held
    return tuple(sorted(addresses or ()))


def _register(instruction: Instruction) -> str:
    """The register of the first operand at full width; empty for none."""
    operand = instruction.operands[0]
    return whole(operand.name) if isinstance(operand, Reg) else ""


def _closed(flow: Flow, start: int | None, end: int) -> tuple[Block, ...]:
    """The blocks that are reached from ``start``, which comes first, before ``end``; () where a way leads elsewhere."""
    blocks: dict[int, Block] = {}
    todo, ends = [start], False
    while todo:
        at = todo.pop()
        block = flow.blocks.get(at or 0)
        if block is None or len(blocks) > _MOST_BLOCKS or any(each.kind is Kind.CALL for each in block.instructions):
            return ()
        blocks[block.start] = block
        ends = ends or end in block.successors
        todo += [each for each in block.successors if each != end and each not in blocks]
        if not block.successors:
            return ()
    return tuple(blocks.values()) if ends else ()


def _check_constants(call: EpollCall, blocks: Sequence[Block]) -> None:
    """The constants of the delay's conversion must all be there; what it computes is compared by the proof."""
    found = {value for block in blocks for value in constants(block.instructions)}
    for value, meaning in _CONVERSION:
        if value not in found:
            raise ShapeMismatch(f"{call.name}: expected the constant {meaning} in the delay's conversion, found none")


def _tested(call: EpollCall, first: Block) -> str:
    """The register of the delay: to compare it is the first thing done with it."""
    tests = ("cmp", "cbz", "cbnz", "tbz", "tbnz", "tst")
    test = next((each for each in first.instructions if each.mnemonic in tests), first.instructions[-1])
    name = _register(test)
    if test.mnemonic not in tests or test.operands[0] != Reg(name):
        raise ShapeMismatch(f"{call.name}: expected a test of the delay, found {test}")
    return name


def _retry(call: EpollCall, flow: Flow, block: Block, conversion: _Conversion) -> tuple[Block, Instruction]:
    """Where an interrupted endless wait comes back (the block of the call itself, or one before it that only moves
    values), and the load of waitms.

    It comes from ``ldr w, [waitms]; cmp w, #0; b.le retry``, behind the call.
    """
    others = [each for each in flow.predecessors(block.start) if each not in conversion.blocks]
    other = only(call, "way back to the call", others)
    retry, test = (block, other) if _is_test(other, block.start) else (other, None)
    if test is None:
        tests = [each for each in flow.predecessors(retry.start) if _is_test(each, retry.start)]
        test = only(call, "test of waitms > 0 that goes back to the call", tests)
    return retry, _code(test)[-3]


def _is_test(block: Block, target: int) -> bool:
    last = _code(block)[-3:]
    if len(last) < 3 or last[1].mnemonic != "cmp" or (last[2].mnemonic, last[2].target) != ("b.le", target):
        return False
    loaded, compared, _ = last
    return (
        loaded.mnemonic in ("ldr", "ldrsw")
        and in_frame(loaded.operands[1])
        and loaded.memory(1).size == 4
        and compared.operands[1] in (Imm(0), Reg("wzr"))
        and _register(compared) == _register(loaded)
    )


def _kept(call: EpollCall, conversion: _Conversion, delay: str, wait_slot: int, events: int) -> Iterator[int]:
    """The slots in which the delay is kept; nothing else is but the milliseconds, and the events' zeros."""
    for each in (each for block in conversion.blocks for each in block.instructions if each.mnemonic.startswith("st")):
        memory = each.operands[-1]
        if not isinstance(memory, Mem) or not in_frame(memory):
            continue  # by a pointer: the events
        for index, source in enumerate(each.operands[:-1]):
            slot = memory.displacement + index * memory.size
            if source == Reg(delay):
                yield slot
            elif slot != wait_slot and not (events <= slot < events + _EVENT_BYTES):
                raise ShapeMismatch(
                    f"{call.name}: expected the delay or the milliseconds to be kept at [sp+{slot:#x}], found {each}"
                )


def _join(call: EpollCall, block: Block) -> tuple[int, str | None]:
    """The first instruction that looks at the result, and the register of the error."""
    behind = [each for each in block.instructions if each.address > call.address and not each.is_nop]
    found = behind[0] if behind else None
    if call.callee == "epollwait":
        if (
            found is not None
            and len(behind) > 1
            and found.mnemonic in ("ldr", "ldrsw")
            and _register(found) == "x0"
            and in_frame(found.operands[1])
            and found.memory(1).displacement == _RESULT
        ):
            return behind[1].address, None
        raise ShapeMismatch(f"{call.name}: expected the result to be loaded behind the call, found {found}")
    if found is None or found.mnemonic not in ("cbz", "cbnz", "cmp") or _register(found) != "x1":
        raise ShapeMismatch(f"{call.name}: expected a test of x1 behind the call, found {found}")
    return found.address, "x1"


def _body(functions: Functions, call: EpollCall) -> int:
    """Behind the function's prologue, which ends with ``sub x29, sp, #8`` (cmd/internal/obj/arm64/obj7.go)."""
    for each in functions.instructions(call.function):
        if each.mnemonic == "sub" and each.operands == (Reg("x29"), Reg("sp"), Imm(8)):
            return each.end
    raise ShapeMismatch(f"{call.name}: expected a prologue that sets x29, found none")


def _end(conversion: _Conversion, flow: Flow) -> int:
    """How far the conversion's own bytes reach from its start on."""
    own = {each.start: each.end for each in (*conversion.blocks, *flow.fillers)}
    end = conversion.first.start
    while end in own:
        end = own[end]
    return end
