"""Recognising a wait of ``runtime.netpoll``, wherever the compiler put it: in the function, or inlined into a caller.

Registers, slots and the order of blocks are read from the code: none is the same in all builds. What is looked for is
the flow: a delay is tested and turned into milliseconds (``start``), the paths meet and spill what later code reads,
the event array is zeroed, the arguments of the call are set, the result is looked at (``join``); an interrupted endless
wait comes back to ``retry``. What the code computes is not judged here: the proof runs it beside the stub.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from patcher import errors
from patcher.golang.functions import Functions
from patcher.golang.waits import EpollCall
from patcher.isa.amd64.shape import Walk, family, is_imm, on_stack, take_frame
from patcher.isa.flow import Block, Flow
from patcher.isa.instruction import Imm, Instruction, Mem, Reg
from patcher.strategies.netpoll import site
from patcher.strategies.netpoll.amd64_layout import JUMP, Run
from patcher.strategies.netpoll.amd64_values import RESULT, Spill, Value, Values, call_arguments
from patcher.strategies.netpoll.site import EVENTS
from patcher.strategies.netpoll.waiting import check_closed, only, timed_waits

_EVENT_BYTES = 12 * EVENTS  # struct epoll_event is packed on x86-64
_SPILL_SPACE = 0x28  # of EpollWait's arguments; Syscall6 has more
_WHOLE = re.compile(r"r([abcd]x|[sd]i|\d+)")  # a register of 64 bits that is the compiler's to use
_MOST_BLOCKS = 16  # of the conversion; six were seen
_CONVERSION = ((1_000_000, "1e6"), (10**15, "1e15"), (10**9, "1e9"), (1, "1"))


@dataclass(frozen=True)
class Site(site.Site):
    """The same with what the stub is made of; slots are offsets from rsp.

    ``runs`` are where the stub may lie: the first begins at ``start``, another at
    ``retry``. On the way back to ``retry`` the register ``waited`` (its family) holds the milliseconds, and no other is
    written.
    """

    runs: tuple[Run, ...]
    spills: tuple[Spill, ...]
    wait_slot: int
    waited: str

    @property
    def entries(self) -> tuple[tuple[int, int], ...]:
        """A ``jmp`` that goes far has five bytes."""
        return (self.start, JUMP), (self.retry, JUMP)

    @property
    def errno(self) -> str | None:
        """The register of the call's error ("ebx", "ecx"), None where eax holds the result or the negative error."""
        return self.error and f"e{self.error[1:]}"


def locate(functions: Functions) -> tuple[Site, ...]:
    """Every wait of the runtime with a timeout, recognised. Raises AlreadyPrecise, or ShapeMismatch for the first that
    is none of netpoll's or is not as expected.
    """
    return tuple(_recognise(functions, each) for each in timed_waits(functions))


def _recognise(functions: Functions, call: EpollCall) -> Site:
    flow = call.flow
    block = flow.block_with(call.address)
    before = flow.predecessors(block.start)
    meeting = only(call, "way to the call that zeroes the events", [each for each in before if _zeroes(each)])
    retry, (waited, wait_slot) = _retry(call, flow, block, [each for each in before if each is not meeting])
    values = Values(call.name)
    values.follow(meeting.instructions)
    values.follow(each for each in block.instructions if each.address < call.address)
    arguments = call_arguments(call, values, EVENTS, _EVENT_BYTES)
    first, region = _conversion(call, flow, meeting, arguments.epfd)
    join, errno = _join(call, block)
    runs = _runs(call, flow, [*region, retry, block], first.start, retry.start, join)
    walk = Walk(call.function.name, functions.instructions(call.function))
    frame = take_frame(walk)
    spills = tuple(_spills(call, values, arguments.milliseconds, arguments.events))
    return Site(
        call=call,
        body=walk.instructions[walk.index].address,
        depth=frame + 8,
        top=frame + 8,
        before=tuple(_code(each)[-2].address for each in flow.predecessors(first.start)),
        start=first.start,
        retry=retry.start,
        join=join,
        runs=runs,
        spans=tuple((each.start, each.end) for each in runs),
        epfd=arguments.epfd,
        descriptor=None,
        known=(),
        delay=_tested(call, first),
        delays=tuple(each.slot for each in spills if each.what == "delay"),
        kept=frozenset(each.slot for each in spills),
        spills=spills,
        wait_slot=wait_slot,
        waited=waited,
        events=arguments.events,
        event_bytes=_EVENT_BYTES,
        scratch=(0, RESULT + 4 if errno is None else _SPILL_SPACE),
        error=errno and f"r{errno[1:]}",
    )


def _code(block: Block) -> list[Instruction]:
    return [each for each in block.instructions if not each.is_nop]


def _zeroes(block: Block) -> bool:
    return any(each.mnemonic == "rep stosq" for each in block.instructions)


def _retry(call: EpollCall, flow: Flow, block: Block, before: Sequence[Block]) -> tuple[Block, tuple[str, int]]:
    """Where an interrupted endless wait comes back (the block of the call itself, or one before it), and the register
    and the slot of waitms.

    It comes from ``mov r32, [waitms]; test r32, r32; jle retry``, behind the call.
    """
    other = only(call, "way back to the call", before)
    retry, test = (block, other) if _is_test(other, block.start) else (other, None)
    if test is None:
        tests = [each for each in flow.predecessors(retry.start) if _is_test(each, retry.start)]
        test = only(call, "test of waitms > 0 that goes back to the call", tests)
    load = _code(test)[-3]
    return retry, (family(load.operands[0]), load.memory(1).displacement)


def _is_test(block: Block, target: int) -> bool:
    last = _code(block)[-3:]
    if [each.mnemonic for each in last] != ["mov", "test", "jle"] or last[2].target != target:
        return False
    loaded, tested, _ = last
    return on_stack(loaded.operands[1], 4) and all(each == loaded.operands[0] for each in tested.operands)


def _conversion(call: EpollCall, flow: Flow, meeting: Block, epfd: int) -> tuple[Block, list[Block]]:
    """The blocks from the test of the delay to where the paths meet, its first; entered there alone."""
    first, region, todo = None, [meeting], [meeting]
    while todo and len(region) <= _MOST_BLOCKS:
        for each in flow.predecessors(todo.pop().start):
            if each in region:
                continue
            region.append(each)
            if _follows_epfd(flow, each, epfd):
                first = each
            else:
                todo.append(each)
    if todo or first is None:
        raise errors.ShapeMismatch(
            f"{call.name}: expected a test of the delay behind cmp dword [epfd], -1 and its conversion, found none"
        )
    for each in region:
        outside = [one for one in flow.predecessors(each.start) if one not in region]
        if each is not first and outside:
            found = outside[0].instructions[-1]
            raise errors.ShapeMismatch(
                f"{call.name}: expected no way into the delay's conversion from outside, found {found}"
            )
    _check_constants(call, [each for block in region for each in block.instructions])
    return first, region


def _follows_epfd(flow: Flow, block: Block, epfd: int) -> bool:
    """Whether the block is entered from ``cmp dword [epfd], -1`` alone."""
    before = flow.predecessors(block.start)
    return bool(before) and all(_compares_epfd(each, epfd) for each in before)


def _compares_epfd(block: Block, epfd: int) -> bool:
    last = _code(block)[-2:]
    if [each.mnemonic for each in last] not in (["cmp", "je"], ["cmp", "jne"]):
        return False
    memory, value = last[0].operands
    return isinstance(memory, Mem) and (memory.address, memory.size) == (epfd, 4) and is_imm(value, -1, 32)


def _check_constants(call: EpollCall, instructions: Iterable[Instruction]) -> None:
    """The constants of the delay's conversion must all be there; what it computes is compared by the proof."""
    found = {
        each.operands[-1].value & 0xFFFFFFFFFFFFFFFF
        for each in instructions
        if each.mnemonic in ("mov", "movabs", "cmp") and isinstance(each.operands[-1], Imm)
    }
    for value, meaning in _CONVERSION:
        if value not in found:
            raise errors.ShapeMismatch(
                f"{call.name}: expected the constant {meaning} in the delay's conversion, found none"
            )


def _tested(call: EpollCall, first: Block) -> str:
    """The register of the delay, by its 64-bit name: ``test rax, rax`` is the first thing done with it."""
    test = next(each for each in first.instructions if not each.is_nop)
    tested = set(test.operands) if test.mnemonic == "test" else set()
    register = tested.pop() if len(tested) == 1 else None
    if not isinstance(register, Reg) or not _WHOLE.fullmatch(register.name):
        raise errors.ShapeMismatch(f"{call.name}: expected a test of the delay, found {test}")
    return register.name


def _join(call: EpollCall, block: Block) -> tuple[int, str | None]:
    """The first instruction that looks at the result, and the register of the error."""
    behind = [each for each in block.instructions if each.address > call.address and not each.is_nop]
    if call.callee != "epollwait":
        register = {"EpollWait": "b", "Syscall6": "c"}[call.callee]
        name = {"b": "ebx", "c": "ecx"}[register]
        if not behind or behind[0].mnemonic != "test" or any(family(each) != register for each in behind[0].operands):
            found = behind[0] if behind else "the block's end"
            raise errors.ShapeMismatch(f"{call.name}: expected test {name}, {name} behind the call, found {found}")
        return behind[0].address, name
    # Behind an ABI0 call the compiler sets xmm15 and r14 anew, and the result comes from the stack; the stub changes
    # neither. The offset of g comes in a register in a PIE, and from the global offset table in a C library.
    for index, each in enumerate(behind):
        if each.mnemonic == "mov" and family(each.operands[0]) == "a" and on_stack(each.operands[1], 4):
            if index + 1 < len(behind) and each.memory(1).displacement == RESULT:
                return behind[index + 1].address, None
            break
        if not (each.mnemonic == "xorps" or (each.mnemonic == "mov" and family(each.operands[0]) == "r14")):
            break
    raise errors.ShapeMismatch(f"{call.name}: expected xmm15, r14 and the result to be loaded behind the call")


def _spills(call: EpollCall, values: Values, milliseconds: Value, events: int) -> Iterator[Spill]:
    """What the stub must leave in the frame as stock does; the call's own arguments there are none."""
    delays = set()
    for each in values.stores:
        if call.callee == "epollwait" and each.slot < RESULT:
            continue
        plain = replace(each.value, extended=False)
        if plain == milliseconds and each.size == (8 if each.value.extended else 4):
            yield Spill(each.slot, each.size, "milliseconds")
        elif each.value == Value("stack", events) and each.size == 8:
            yield Spill(each.slot, each.size, "events")
        elif each.value.kind == "register" and each.size == 8 and not each.value.extended:
            delays.add(each.value)
            yield Spill(each.slot, each.size, "delay")
        else:
            raise errors.ShapeMismatch(
                f"{call.name}: expected the delay or the milliseconds to be kept at [rsp+{each.slot:#x}], "
                f"found {each.value}"
            )
    if len(delays) > 1:
        raise errors.ShapeMismatch(f"{call.name}: expected the delay alone to be kept, found {len(delays)} values")


def _runs(call: EpollCall, flow: Flow, own: Sequence[Block], start: int, retry: int, join: int) -> tuple[Run, ...]:
    """The bytes that are the wait's alone, ``own`` up to the join and fillers beside them that nothing reaches.

    In pieces that begin at ``start``, first, and at ``retry``.
    """
    block = flow.block_with(call.address)
    check_closed(call, [each for each in own if each is not block], frozenset({block.start}))
    spans = {(each.start, each.end) for each in own if each is not block} | {(block.start, join)}
    edges = {edge for span in spans for edge in span}
    spans |= {(each.start, each.end) for each in flow.fillers if {each.start, each.end} & edges}
    merged: list[Run] = []
    for low, high in sorted(spans):
        if merged and merged[-1].end == low and low not in (start, retry):
            merged[-1] = Run(merged[-1].start, high)
        else:
            merged.append(Run(low, high))
    return tuple(sorted(merged, key=lambda each: (each.start != start, each.start)))
