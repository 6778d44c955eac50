"""The stub of strategy ``netpoll`` for x86-64.

It lies in what is the wait's own (``amd64_site.py``): the conversion of the delay up to the zeroing of the event array,
and the set-up and the call. The timespec is built at [rsp].
"""

from collections.abc import Iterator, Sequence

from patcher.edit.edit import Code, Edit, Plan
from patcher.edit.room import Room
from patcher.errors import ShapeMismatch
from patcher.golang.functions import Functions
from patcher.golang.pclntab import Function
from patcher.isa.amd64.abi import SYSTEM_CALLS
from patcher.isa.amd64.calls import sets_first
from patcher.isa.instruction import Imm, Instruction, Reg
from patcher.strategies.netpoll import NAME
from patcher.strategies.netpoll.amd64_layout import DONE, Work, lay_out
from patcher.strategies.netpoll.amd64_site import Site, locate
from patcher.strategies.netpoll.site import EVENTS, SLACK_SHIFT
from patcher.strategies.netpoll.waiting import shown
from patcher.wait import PRECISE, Wait

__all__ = ["ASKS", "CALL_STAYS", "locate", "plan", "shapes", "wait_in"]  # what the strategy asks for

ASKS, _ = sets_first(SYSTEM_CALLS["epoll_pwait2"])  # mov eax, 441
CALL_STAYS = False
_UINT32 = 0xFFFFFFFF


def plan(functions: Functions, room: Room, wait: Wait = PRECISE) -> Plan:
    """The edits for this image; needs no room outside the waits. Raises ShapeMismatch or AlreadyPrecise."""
    del room
    edits: list[Edit] = []
    code: list[Code] = []
    for site in locate(functions):
        placed, laid = _laid_out(functions, site, wait)
        edits += placed
        code += laid
    return Plan(NAME, tuple(edits), tuple(code), ("epoll_pwait2",))


def _laid_out(functions: Functions, site: Site, wait: Wait) -> tuple[tuple[Edit, ...], tuple[Code, ...]]:
    refusal: ShapeMismatch | None = None
    for once in (False, True):
        work = Work(site.runs, *assembly(site, wait, once=once), site.retry, site.join)
        try:
            return lay_out(functions.image, site.function.name, "wait in epoll_pwait2", work)
        except ShapeMismatch as error:
            refusal = error
    hint = "; without a quantum and a time to spin it is shorter" if wait.asked else ""
    raise ShapeMismatch(f"{refusal}{hint}") from refusal


def shapes(functions: Functions) -> Iterator[tuple[Function, int | None, str]]:
    """Each wait: its function, its address, what ``locate`` recognised in it, for a person. Raises as ``locate``."""
    for site in locate(functions):
        yield (
            site.function,
            site.call.address,
            shown(functions.image.isa.abi, site.call, site.delay_slot, site.wait_slot, on_stack=site.errno is None),
        )


def wait_in(instructions: Sequence[Instruction]) -> Wait:
    """The options that a stub among these instructions was made with, read from its operands."""
    for one, two, three in zip(instructions, instructions[1:], instructions[2:], strict=False):
        match [(each.mnemonic, each.operands) for each in (one, two, three)]:
            case [("sub", (Reg("rax"), Imm(margin))), ("jns", _), ("xor", (Reg("eax"), Reg("eax")))]:
                return Wait(spin_ns=margin)
            case [
                ("cmp", (Reg("r10"), Imm(dense))),
                ("mov", (Reg("eax"), Imm(quantum))),
                ("cmovge", (Reg("rax"), Reg("r10"))),
            ]:
                return Wait(quantum & _UINT32, dense)
            case [
                ("mov", (Reg("eax"), Imm(quantum))),
                ("cmp", (Reg("rax"), Reg("r10"))),
                ("cmovl", (Reg("rax"), Reg("r10"))),
            ]:
                return Wait(quantum & _UINT32)
    return PRECISE


def assembly(site: Site, options: Wait | None, *, once: bool) -> tuple[str, str]:
    """From the test of the delay to the new call, and from the retry to the join: all that is left of the wait.

    With ``options`` None the new call is not made: what is left is stock's wait.

    The arguments are set before each call, or with ``once`` on the first way to it alone: no system call spoils them,
    and the way to the retry spoils one of them at the most. That is shorter where the two parts lie far apart.
    """
    descriptor = f"""
        mov   edi, [{site.epfd:#x}]
        lea   rsi, [rsp+{site.events:#x}]"""
    count = f"""
        xor   edx, edx                  # a byte shorter than the whole
        mov   dl, {EVENTS}"""
    mask = """
        xor   r8d, r8d                  # no signal mask; its size (r9) is then not read"""
    again = {"r8": mask, "d": count}.get(site.waited, "")
    first = f"""
{_kept(site, "delay", site.delay)}
{_move("rax", site.delay)}
{_move("r10", site.delay)}
{_events(site)}{descriptor + mask if once else ""}
        cqo                             # -1 for an endless wait, else 0
        test  rax, rax
        jle   endless
        mov   ecx, 1000000
        div   rcx                       # whole milliseconds, downwards (rdx is 0)
        mov   ecx, 1000000000
        cmp   rax, rcx
        cmova eax, ecx                  # at most 10**9
        cmp   eax, 1
        adc   eax, 0                    # at least 1
{_kept(site, "milliseconds", "rax", "eax")}
{"        jmp   stock" if options is None else _asking(options, count if once else "")}
      endless:
{_kept(site, "milliseconds", "rdx", "edx")}{count if once else ""}
        jmp   stock"""
    second = f"""{again if once else ""}
      stock:
        mov   r10d, [rsp+{site.wait_slot:#x}]
        mov   eax, 281                  # epoll_pwait, as stock
      ask:{"" if once else descriptor + mask + count}
        syscall"""
    if site.errno is None:
        second += f"""
        test  eax, eax
        jns   {DONE}
        cmp   eax, -4                   # EINTR means what it always meant"""
    else:
        second += f"""
        xor   {site.errno}, {site.errno}
        test  eax, eax
        jns   {DONE}
        sub   {site.errno}, eax                  # (n, errno)
        cmp   {site.errno}, 4                    # EINTR means what it always meant"""
    second += f"""
        je    {DONE}
        cmp   r10, rsp                  # was that epoll_pwait2?
        je    stock"""
    return first, second


def _asking(options: Wait, count: str) -> str:
    """For how long, in the timespec at [rsp], and by which call."""
    return f"""{_adjustment(options)}
        xor   edx, edx
        div   rcx                       # rcx is 10**9
        mov   r10, rsp
        mov   [r10], rax                # struct timespec; a byte shorter than by rsp
        mov   [r10+8], rdx{count}
        mov   eax, 441                  # epoll_pwait2
        jmp   ask"""


def _kept(site: Site, what: str, whole: str, half: str = "") -> str:
    """Stores of what stock keeps in the frame, from a register of 64 bits or its lower half."""
    lines = []
    for each in (each for each in site.spills if each.what == what):
        lines.append(f"        mov   [rsp+{each.slot:#x}], {half if half and each.size == 4 else whole}")
    return "\n".join(lines)


def _events(site: Site) -> str:
    """The pointer to the events, where stock keeps it; rcx is free."""
    kept = _kept(site, "events", "rcx")
    return f"        lea   rcx, [rsp+{site.events:#x}]\n{kept}" if kept else ""


def _move(to: str, source: str) -> str:
    return "" if to == source else f"        mov   {to}, {source}"


def _adjustment(options: Wait) -> str:
    """How long to wait, in rax, for the delay in r10; see patcher/wait.py."""
    if not options.asked:
        return f"""
        mov   rax, r10
        shr   r10, {SLACK_SHIFT}
        sub   rax, r10                  # what epoll and waking up will add"""
    if options.spin_ns is not None:
        return f"""
        mov   rax, r10
        shr   r10, {SLACK_SHIFT}
        sub   rax, r10                  # what epoll and waking up will add
        sub   rax, {options.spin_ns}    # and the time to spin
        jns   early
        xor   eax, eax                  # a poll: the scheduler comes back until its timer is due
      early:"""
    if options.dense_ns is not None:
        return f"""
        cmp   r10, {options.dense_ns}   # are deadlines dense?
        mov   eax, {options.quantum_ns}
        cmovge rax, r10"""
    return f"""
        mov   eax, {options.quantum_ns}
        cmp   rax, r10
        cmovl rax, r10                  # at least a quantum"""
