"""The stub of strategy ``netpoll`` for AArch64.

It lies in place of the delay's conversion, the spills and the zeroing of the events (``arm64_site.py``); stock's own
call stays, and is the fallback. The timespec is built at [sp+8]: [sp] is the saved return address.
"""

from collections.abc import Iterator, Sequence

from patcher.edit.edit import Code, Edit, Plan
from patcher.edit.room import Room, replace_run
from patcher.errors import ShapeMismatch
from patcher.golang.functions import Functions
from patcher.golang.pclntab import Function
from patcher.isa.arm64.abi import SYSTEM_CALLS
from patcher.isa.arm64.asm import constant
from patcher.isa.arm64.calls import sets_first
from patcher.isa.instruction import Imm, Instruction, Reg
from patcher.strategies.netpoll import NAME
from patcher.strategies.netpoll.arm64_site import Site, locate
from patcher.strategies.netpoll.site import EVENTS, SLACK_SHIFT
from patcher.strategies.netpoll.waiting import shown
from patcher.wait import PRECISE, Wait

__all__ = ["ASKS", "CALL_STAYS", "locate", "plan", "shapes", "wait_in"]  # what the strategy asks for

ASKS, _ = sets_first(SYSTEM_CALLS["epoll_pwait2"])  # mov x8, #441
CALL_STAYS = True
_FREE = tuple(f"x{number}" for number in range(5, 16) if number != 8)  # the compiler's to use, no argument of the call


def plan(functions: Functions, room: Room, wait: Wait = PRECISE) -> Plan:
    """The edits for this image; needs no room outside the waits. Raises ShapeMismatch or AlreadyPrecise."""
    del room
    edits: list[Edit] = []
    code: list[Code] = []
    for site in locate(functions):
        try:
            edit, laid = replace_run(
                functions.image,
                site.function.name,
                "wait in epoll_pwait2",
                start=site.start,
                end=site.spans[0][1],
                text=assembly(site, wait),
            )
        except ShapeMismatch as error:
            hint = "; without a quantum and a time to spin it is shorter" if wait.asked else ""
            raise ShapeMismatch(f"{error}{hint}") from error
        edits.append(edit)
        code.append(laid)
    return Plan(NAME, tuple(edits), tuple(code), ("epoll_pwait2",))


def shapes(functions: Functions) -> Iterator[tuple[Function, int | None, str]]:
    """Each wait: its function, its address, what ``locate`` recognised in it, for a person. Raises as ``locate``."""
    for site in locate(functions):
        yield (
            site.function,
            site.call.address,
            shown(functions.image.isa.abi, site.call, site.delay_slot, site.wait_slot, on_stack=site.error is None),
        )


def wait_in(instructions: Sequence[Instruction]) -> Wait:
    """The options that a stub among these instructions was made with, read from its operands.

    They stand between the jump to the retry and the division by 10**9.
    """
    asked = next((n for n, each in enumerate(instructions) if _sets(each, "x8", SYSTEM_CALLS["epoll_pwait2"])), 0)
    begins = max((n for n, each in enumerate(instructions[:asked]) if each.mnemonic == "b.mi"), default=asked)
    others: list[str] = []
    constants: list[int] = []
    for each in instructions[begins + 1 : asked]:
        if each.mnemonic == "udiv":
            break
        if each.mnemonic == "mov":
            constants.append(each.immediate(1))
        elif each.mnemonic == "movk":
            constants[-1] |= each.immediate(1)
        else:
            others.append(each.mnemonic)
    match others, constants:
        case ["sub", "subs", "csel"], [spin]:
            return Wait(spin_ns=spin)
        case ["cmp", "csel"], [quantum]:
            return Wait(quantum)
        case ["cmp", "csel"], [dense, quantum]:
            return Wait(quantum, dense)
    return PRECISE


def _sets(instruction: Instruction, register: str, value: int) -> bool:
    return (instruction.mnemonic, instruction.operands) == ("mov", (Reg(register), Imm(value)))


def assembly(site: Site, options: Wait | None) -> str:
    """From the test of the delay to the new call, and with its answer to the join, else to the retry.

    With ``options`` None the new call is not made: what is left is stock's conversion.
    """
    delay, waited = site.delay, site.waited
    free = [each for each in _FREE if each not in (delay, site.descriptor)]
    direct = waited in free  # else the register is in use up to the call
    milliseconds = waited if direct else free[0]
    most, other, rest = [each for each in free if each != milliseconds][:3]
    retry = f"{site.retry:#x}"
    back = "" if direct else f"\n      back:\n        mov   {waited}, {milliseconds}"
    kept = "\n".join(f"        str   {delay}, [sp, #{slot}]" for slot in site.delays)
    asking = "" if options is None else _asking(site, options, (most, other, rest), retry if direct else "back")
    return f"""
{kept}
{constant(other, 10**6)}
        udiv  {milliseconds}, {delay}, {other}      // whole milliseconds, downwards
{constant(most, 10**9)}
        cmp   {milliseconds}, {most}
        csel  {milliseconds}, {milliseconds}, {most}, lo    // at most 10**9
        cmp   {delay}, #0
        csinv {milliseconds}, {milliseconds}, xzr, ge   // -1 for an endless wait
        ccmp  {milliseconds}, #0, #8, gt        // of a delay that is not positive: negative
        cinc  {milliseconds}, {milliseconds}, eq        // at least 1
        str   w{milliseconds[1:]}, [sp, #{site.wait_slot}]{asking}{back}
        b     {retry}"""


def _asking(site: Site, options: Wait, free: tuple[str, str, str], refused: str) -> str:
    """For how long, in the timespec, and what becomes of the answer; 10**9 is in the first of the free registers."""
    delay, (most, other, rest) = site.delay, free
    timespec, _ = site.scratch
    # The error's register; before Go 1.21 the result holds a negative error.
    error = "" if site.error is None else f"\n        csneg {site.error}, xzr, x0, ge"
    return f"""
        b.mi  {refused}
{_adjustment(options, delay, other)}
        udiv  {other}, {delay}, {most}
        msub  {rest}, {other}, {most}, {delay}
        stp   {other}, {rest}, [sp, #{timespec}]    // struct timespec
        mov   x0, {site.descriptor}
        add   x1, sp, #{site.events}
        mov   x2, #{EVENTS}
        add   x3, sp, #{timespec}
        mov   x4, xzr                   // no signal mask; its size (x5) is then not read
        mov   x8, #{SYSTEM_CALLS["epoll_pwait2"]}
        svc   #0
        cmp   x0, #0{error}
        ccmn  x0, #4, #4, lt            // EINTR means what it always meant
        b.eq  {site.join:#x}"""


def _adjustment(options: Wait, delay: str, free: str) -> str:
    """How long to wait, in place of the delay; see patcher/wait.py."""
    early = f"        sub   {delay}, {delay}, {delay}, lsr #{SLACK_SHIFT}    // what epoll and waking up will add"
    if not options.asked:
        return early
    if options.spin_ns is not None:
        return f"""{early}
{constant(free, options.spin_ns)}
        subs  {delay}, {delay}, {free}          // and the time to spin
        csel  {delay}, {delay}, xzr, pl         // a poll: the scheduler comes back until its timer is due"""
    quantum_ns = options.quantum_ns or 0
    if options.dense_ns is None:
        return f"""{constant(free, quantum_ns)}
        cmp   {delay}, {free}
        csel  {delay}, {free}, {delay}, lo      // at least a quantum"""
    return f"""{constant(free, options.dense_ns)}
        cmp   {delay}, {free}           // are deadlines dense?
{constant(free, quantum_ns)}
        csel  {delay}, {free}, {delay}, lo"""
