"""Strategy ``netpoll``: the idle scheduler waits with epoll_pwait2, to the nanosecond.

``runtime.netpoll`` turns its delay into whole milliseconds for epoll_pwait (runtime/netpoll_epoll.go). The stub
keeps that conversion, in less space, and uses it where it is right: for a poll (0) and an endless wait (-1), and
whenever epoll_pwait2 is refused. For a positive delay it asks epoll_pwait2 first. Any negative result but -EINTR
is taken for a refusal (ENOSYS before Linux 5.11, EPERM or whatever else from a sandbox) and the stock call is made
once; its answer stands. So a genuine error is reported as the stock runtime reports it.

epoll may end a wait later than asked by 0.1 % of it (0.5 % if niced, at most 100 ms), which is more than the thread's
timer slack for long waits, and the kernel normally uses all of it (fs/select.c, select_estimate_accuracy). So the stub
asks for 1/128 less: the wait then ends 0.7 % before the delay (0.3 % if niced). Of a few milliseconds that is the time
that a processor needs to come out of idle; and sysmon, which the runtime parks until the same deadline, is not woken
first. In longer waits the scheduler finds that its timer is not due and waits for the rest, short and from a busy
processor, as it does in stock whenever whole milliseconds fell short.

Two opt-ins change the time that is asked for (patcher/wait.py). With a quantum, a wait shorter than it lasts the
quantum: every timer that is due is run at each wake-up, so the next comes at least a quantum later, and a longer wait
keeps its precision, which rounding up to a grid would cost it. Nothing is subtracted then: the short rest of a wait
that ends early would be rounded up. With a margin to spin, the wait ends that much early, and what is left of it is
polled through: epoll_pwait2 with a timeout of zero returns at once, and findRunnable (runtime/proc.go) goes round its
own loop, looking for timers, work and the collector, until the timer is due.

The new code lies in two runs of bytes that it replaces, both inside ``netpoll`` and at its full-frame SP delta:

    A  from the test of the delay to the early exit: the conversion, the two spills, the zeroing of the event array
       (the kernel fills the first n events, only those are read, and they hold no pointers)
    B  from the retry label to the join behind the call of EpollWait: the argument set-up and the call

The timespec is built at [rsp]: the spill space of EpollWait's register arguments (the stack arguments of
``epollwait`` before Go 1.21), which the callee owns and nothing reads.
"""

from collections.abc import Sequence

from patcher.asm import assemble
from patcher.code import Imm, Instruction, Reg
from patcher.edit import Plan
from patcher.functions import Functions
from patcher.pclntab import Function
from patcher.room import Room, replace_run
from patcher.strategies.netpoll_site import EVENTS, NETPOLL, Site, locate
from patcher.wait import PRECISE, Wait

NAME = "netpoll"
_UINT32 = 0xFFFFFFFF
SLACK_SHIFT = 7  # 1/128 of the wait is subtracted: epoll's own slack is 0.1 % of it, waking up takes the rest


def plan(functions: Functions, room: Room, wait: Wait = PRECISE) -> Plan:
    """The edits for this image; needs no room outside ``netpoll``. Raises ShapeMismatch or AlreadyPrecise."""
    del room
    site = locate(functions)
    head, tail = _assembly(site, wait)
    runs = (
        replace_run(
            functions.image, NETPOLL, "convert the delay, epoll_pwait2", start=site.start, end=site.exit, text=head
        ),
        replace_run(
            functions.image, NETPOLL, "fall back, hand on the result", start=site.retry, end=site.join, text=tail
        ),
    )
    return Plan(NAME, tuple(edit for edit, _ in runs), tuple(code for _, code in runs), ("epoll_pwait2",))


def shape(functions: Functions) -> tuple[Function, str]:
    """The function and what ``locate`` recognised in it, for a person. Raises as ``locate``."""
    site = locate(functions)
    passed = "in registers (Go 1.21 and later)" if site.errno_in_rbx else "on the stack (before Go 1.21)"
    return site.function, (
        f"epoll_pwait in whole milliseconds: delay at [rsp+{site.delay_slot:#x}], milliseconds at "
        f"[rsp+{site.wait_slot:#x}], arguments {passed}"
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


def _assembly(site: Site, options: Wait) -> tuple[str, str]:
    """The two runs' assembly. Labels that one run needs of the other are laid down by measuring the first."""
    convert = f"""
        mov   [rsp+{site.delay_slot:#x}], rax
        mov   r10, rax                  # the delay, kept over the division
        cqo
        mov   ecx, edx                  # -1 for an endless wait, else 0
        test  rax, rax
        jle   converted
        mov   ecx, 1000000
        div   rcx                       # whole milliseconds, downwards (rdx is 0)
        mov   ecx, 1000000000
        cmp   rax, rcx
        cmova eax, ecx                  # at most 10**9
        cmp   eax, 1
        adc   eax, 0                    # at least 1
        xchg  eax, ecx
      converted:
        mov   [rsp+{site.wait_slot:#x}], ecx"""
    wait = site.start + len(assemble(convert, site.start))
    check = """
        test  eax, eax
        jns   {done}
        cmp   eax, -4                   # EINTR means what it always meant
        je    {done}"""
    stock = f"""
        mov   edx, {EVENTS}
        mov   r10d, ebx
        mov   eax, 281                  # epoll_pwait, as stock
        syscall"""
    result = """
        xor   ebx, ebx
        test  eax, eax
        jns   {join}
        sub   ebx, eax                  # (n, errno)"""
    retry = f"""
        jmp   {wait:#x}"""
    timeout, new = _timeout(options)
    if site.errno_in_rbx:
        timeout, new = timeout + new, ""
    else:  # run A is shorter in those releases, run B longer
        retry += new
    new_at = site.retry + 2
    check_at = site.retry + len(assemble(retry, site.retry))
    stock_at = check_at + len(assemble(check.format(done=f"{check_at + 32:#x}"), check_at))
    done_at = stock_at + len(assemble(stock, stock_at))
    check = check.format(done=f"{done_at:#x}")
    tail = retry + check + stock
    tail += result.format(join=f"{site.join:#x}") if site.errno_in_rbx else f"\n        jmp   {site.join:#x}"
    head = (
        convert
        + f"""
        mov   edi, [rip+{{epfd}}]
        lea   rsi, [rsp+{site.events:#x}]
        xor   r8d, r8d                  # no signal mask; its size (r9) is then not read
        mov   ebx, [rsp+{site.wait_slot:#x}]
        test  ebx, ebx
        jle   {stock_at:#x}"""
        + timeout
        + f"""
        jmp   {new_at if new else check_at:#x}"""
    )
    return head.replace("[rip+{epfd}]", f"[{site.epfd:#x}]"), tail


_ASK = """
        mov   eax, 441                  # epoll_pwait2
        syscall"""


def _timeout(options: Wait) -> tuple[str, str]:
    """From the positive delay in r10 to the call of epoll_pwait2: what run A has room for, and the rest.

    eax is 10**9 by now, from the conversion.
    """
    if not options.asked:
        return (
            f"""
        mov   rax, r10                  # positive, so this is no retry: those are of endless waits
        shr   r10, {SLACK_SHIFT}
        sub   rax, r10                  # what epoll and waking up will add
        xor   edx, edx
        mov   ecx, 1000000000
        div   rcx
        mov   [rsp], rax                # struct timespec
        mov   [rsp+8], rdx
        mov   r10, rsp
        xor   edx, edx                  # a byte shorter than the whole: Go 1.20 has room for it and no more
        mov   dl, {EVENTS}""",
            _ASK,
        )
    return (
        "\n        mov   ecx, eax                  # 10**9; the delay is positive: retries are of endless waits"
        + _adjustment(options)
        + """
        xor   edx, edx
        div   rcx""",
        f"""
        mov   r10, rsp
        mov   [r10], rax                # struct timespec; a byte shorter than by rsp
        mov   [r10+8], rdx
        xor   edx, edx
        mov   dl, {EVENTS}"""
        + _ASK,
    )


def _adjustment(options: Wait) -> str:
    """How long to wait, in rax, for the delay in r10; see patcher/wait.py."""
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
