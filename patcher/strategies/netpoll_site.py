"""Recognising ``runtime.netpoll``: where its delay becomes milliseconds, and where it waits.

Every offset is read from the operands: none is the same in all builds. What differs by release is how EpollWait is
called: with arguments in registers (Go 1.21 and later), or ``epollwait`` with arguments on the stack (before).
"""

from dataclasses import dataclass

from patcher import errors
from patcher.code import Imm, Instruction, Mem, Operand, Reg
from patcher.functions import Functions
from patcher.pclntab import Function
from patcher.shape import Walk, constant, family, on_stack, register, slot, take_frame

NETPOLL = "runtime.netpoll"
EVENTS = 128  # runtime/netpoll_epoll.go: var events [128]…EpollEvent
EVENT_BYTES = 12 * EVENTS  # struct epoll_event is packed on x86-64
SPILL = 0x10  # bytes at [rsp] that the stub writes: one timespec


@dataclass(frozen=True)
class Site:
    """What the matcher read from one ``netpoll``. Addresses are virtual; slots are offsets from rsp."""

    function: Function
    frame: int  # rsp to the saved rbp
    start: int  # S: test rax, rax
    exit: int  # the early exit behind run A, kept
    retry: int  # R: where an interrupted endless wait comes back
    join: int  # the first instruction behind run B
    epfd: int  # address of runtime.epfd
    delay_slot: int
    wait_slot: int
    events: int
    errno_in_rbx: bool  # EpollWait (Go 1.21 on) gives (n, errno); epollwait before it gives n or -errno


def locate(functions: Functions) -> Site:
    """Recognise ``netpoll`` and read its slots and addresses from the operands."""
    function = functions.one(NETPOLL)
    instructions = functions.instructions(function)
    _refuse_precise(functions, instructions)
    walk = Walk(NETPOLL, instructions)
    frame = take_frame(walk)
    first = walk.take(
        "cmp dword [epfd], -1",
        lambda i: (
            i.mnemonic == "cmp"
            and isinstance(i.operands[0], Mem)
            and i.operands[0].size == 4
            and constant(-1)(i.operands[1])
        ),
    )
    epfd = _absolute(first)
    early_exit = walk.jump("je")
    start = walk.test("rax").address
    _check_conversion(instructions, start, early_exit)
    spill_at = _spill(walk, instructions, start, early_exit)
    walk.go_to(spill_at, "the spill of the delay")
    delay = walk.move("mov [rsp+n], rcx", slot(8), register("c")).memory(0).displacement
    wait = walk.move("mov [rsp+n], edx", slot(4), register("d")).memory(0).displacement
    zeroed = walk.take("lea rdi, [rsp+n]", lambda i: i.mnemonic == "lea" and family(i.operands[0]) == "di")
    events = zeroed.memory(1).displacement
    walk.take("xor eax, eax", lambda i: i.mnemonic == "xor" and all(family(o) == "a" for o in i.operands))
    walk.move(f"mov ecx, {EVENT_BYTES // 8}", register("c"), constant(EVENT_BYTES // 8))
    walk.take("rep stosq", lambda i: i.mnemonic == "rep stosq")
    set_up = walk.jump("jmp")
    walk.go_to(set_up, "the arguments of EpollWait")
    call, errno_in_rbx = _take_call(functions, walk, epfd, events)
    join = _take_join(walk, errno_in_rbx)
    retry = _retry(instructions, set_up)
    site = Site(function, frame, start, early_exit, retry, join, epfd, delay, wait, events, errno_in_rbx)
    _check_answer(walk, site)
    _check_surroundings(instructions, site, call)
    return site


def _refuse_precise(functions: Functions, instructions: tuple[Instruction, ...]) -> None:
    """A runtime that can call epoll_pwait2 needs no patch, whatever the rest of its netpoll looks like."""
    for each in instructions:
        callee = functions.table.at(each.target) if each.mnemonic == "call" and each.target is not None else None
        if callee is not None and callee.name.rpartition(".")[2].lower() in ("epollpwait2", "epollwait2"):
            raise errors.AlreadyPrecise(
                f"{functions.image.path}: its runtime calls {callee.name} and is precise by itself: no patch "
                "is needed; where that is opt-in, start it with GODEBUG=epollpwait2=1"
            )


def _absolute(instruction: Instruction) -> int:
    address = instruction.memory(0).address
    if address is None:
        raise errors.ShapeMismatch(f"{NETPOLL}: expected rip-relative epfd, found {instruction}")
    return address


def _check_conversion(instructions: tuple[Instruction, ...], start: int, end: int) -> None:
    """The constants of the delay's conversion must all be there; what it computes is compared by the proof."""
    found = {
        operand & 0xFFFFFFFFFFFFFFFF
        for each in instructions
        if start <= each.address < end and each.mnemonic in ("mov", "movabs", "cmp")
        for operand in [_immediate(each)]
        if operand is not None
    }
    for value, meaning in ((1_000_000, "1e6"), (10**15, "1e15"), (10**9, "1e9"), (1, "1")):
        if value not in found:
            raise errors.ShapeMismatch(
                f"{NETPOLL}: expected the constant {meaning} in the delay's conversion at {start:#x}, found none"
            )


def _immediate(instruction: Instruction) -> int | None:
    last = instruction.operands[-1]
    return getattr(last, "value", None)


def _spill(walk: Walk, instructions: tuple[Instruction, ...], start: int, end: int) -> int:
    """Where the branches of the conversion meet: all its jumps stay inside, all its ``jmp`` go to one place."""
    targets = {
        each.target
        for each in instructions
        if start <= each.address < end and each.mnemonic == "jmp" and each.target is not None and each.target < end
    }
    if len(targets) != 1:
        raise errors.ShapeMismatch(
            f"{NETPOLL}: expected the delay's conversion at {start:#x} to meet in one place, found {len(targets)}"
        )
    return targets.pop() or 0


def _take_call(functions: Functions, walk: Walk, epfd: int, events: int) -> tuple[int, bool]:
    """The argument set-up and the call, in ABIInternal (Go 1.21 on) or on the stack (before)."""
    walk.move("mov eax, [epfd]", register("a"), lambda o: isinstance(o, Mem) and o.address == epfd)
    following = walk.peek()
    if following is not None and following.mnemonic == "mov":
        return _take_stack_call(functions, walk, events), False
    walk.take(
        "lea rbx, [events]",
        lambda i: i.mnemonic == "lea" and family(i.operands[0]) == "b" and i.memory(1).displacement == events,
    )
    walk.move(f"mov ecx, {EVENTS}", register("c"), constant(EVENTS))
    walk.move("mov edi, ecx", register("di"), register("c"))
    walk.move(f"mov esi, {EVENTS}", register("si"), constant(EVENTS))
    walk.move("mov r8d, edx", register("r8"), register("d"))
    return _take_named_call(functions, walk, "EpollWait"), True


def _take_stack_call(functions: Functions, walk: Walk, events: int) -> int:
    walk.move("mov [rsp], eax", slot(4, 0), register("a"))
    walk.take(
        "lea rax, [events]",
        lambda i: i.mnemonic == "lea" and family(i.operands[0]) == "a" and i.memory(1).displacement == events,
    )
    walk.move("mov [rsp+8], rax", slot(8, 8), register("a"))
    walk.move(f"mov dword [rsp+16], {EVENTS}", slot(4, 16), constant(EVENTS))
    walk.move("mov [rsp+20], edx", slot(4, 20), register("d"))
    call = _take_named_call(functions, walk, "epollwait")
    # Behind an ABI0 call the compiler sets xmm15 and r14 anew; the stub changes neither.
    walk.take("xorps xmm15, xmm15", lambda i: i.mnemonic == "xorps" and family(i.operands[0]) == "xmm15")
    following = walk.peek()
    source = following.operands[-1] if following is not None and following.operands else None
    if not isinstance(source, Mem) or source.segment != "fs":
        # The offset of g comes in a register: in a PIE as a constant, in a C library from the global offset table.
        walk.move("mov r14, the offset of g", register("r14"), lambda o: isinstance(o, Imm) or _in_image(o))
    walk.move("mov r14, fs:[g]", register("r14"), lambda o: isinstance(o, Mem) and o.segment == "fs")
    walk.move("mov eax, [rsp+24]", register("a"), slot(4, 24))
    return call


def _in_image(operand: Operand) -> bool:
    return isinstance(operand, Mem) and operand.address is not None and operand.size == 8


def _take_named_call(functions: Functions, walk: Walk, name: str) -> int:
    call = walk.take(f"call {name}", lambda i: i.mnemonic == "call" and i.target is not None)
    callee = functions.table.at(call.immediate(0))
    if callee is None or callee.name.rpartition(".")[2] != name:
        found = callee.name if callee else "no function"
        raise errors.ShapeMismatch(f"{NETPOLL}: expected a call of {name} at {call.address:#x}, found {found}")
    return call.address


def _take_join(walk: Walk, errno_in_rbx: bool) -> int:
    """The first instruction that reads the result, and the branches on it that the stub relies on."""
    if errno_in_rbx:
        return walk.test("rbx").address
    join = walk.take("mov [rsp+n], eax", lambda i: i.mnemonic == "mov" and on_stack(i.operands[0], 4)).address
    walk.test("eax")
    return join


def _retry(instructions: tuple[Instruction, ...], set_up: int) -> int:
    """The retry label: the one instruction before the set-up, which brings waitms back to edx."""
    before = [each for each in instructions if each.end == set_up]
    if len(before) != 1 or before[0].mnemonic != "mov" or family(before[0].operands[0]) != "d":
        raise errors.ShapeMismatch(
            f"{NETPOLL}: expected mov edx, waitms before {set_up:#x}, found {before or 'nothing'}"
        )
    return before[0].address


def _check_answer(walk: Walk, site: Site) -> None:
    """Behind the call: errno 4 (EINTR), waitms reloaded from its slot, ``jle`` back to the retry label."""
    walk.jump("je", "jge")
    walk.take(
        "cmp errno, EINTR",
        lambda i: i.mnemonic == "cmp" and (constant(4)(i.operands[1]) or constant(-4)(i.operands[1])),
    )
    walk.jump("jne")
    loaded = walk.take("mov r32, [waitms]", lambda i: i.mnemonic == "mov" and slot(4, site.wait_slot)(i.operands[1]))
    waited = loaded.operands[0]
    walk.test(waited.name if isinstance(waited, Reg) else "r32")
    back = walk.jump("jle")
    if back != site.retry:
        raise errors.ShapeMismatch(f"{NETPOLL}: expected a retry at {site.retry:#x}, found one at {back:#x}")


def _check_surroundings(instructions: tuple[Instruction, ...], site: Site, call: int) -> None:
    """Nothing outside the two runs may jump into them, but to the retry label, nor rely on what they no longer do."""
    for each in instructions:
        if _inside(each.address, site):
            continue
        if each.is_branch and each.target is None:
            raise errors.ShapeMismatch(f"{NETPOLL}: expected direct jumps only, found {each}")
        if each.target is not None and _inside(each.target, site) and each.target not in (site.retry, site.start):
            raise errors.ShapeMismatch(f"{NETPOLL}: expected no jump into the stub's place, found {each}")
        if each.address < call:
            continue
        for position, operand in enumerate(each.operands):
            if not isinstance(operand, Mem) or operand.base != "rsp" or operand.index:
                continue
            writes = position == 0 and each.mnemonic == "mov"
            if operand.displacement == site.delay_slot and writes:
                raise errors.ShapeMismatch(f"{NETPOLL}: expected the delay's slot to be written once, found {each}")
            if 0 <= operand.displacement < SPILL and not writes and not _in_tail(each, instructions):
                raise errors.ShapeMismatch(f"{NETPOLL}: expected the spill space to be read by nobody, found {each}")


def _inside(address: int, site: Site) -> bool:
    return site.start <= address < site.exit or site.retry <= address < site.join


def _in_tail(instruction: Instruction, instructions: tuple[Instruction, ...]) -> bool:
    """True in the stack-growth tail, which runs before the frame exists: behind the last ``ret``."""
    returns = [each.address for each in instructions if each.mnemonic == "ret"]
    return bool(returns) and instruction.address > returns[-1]
