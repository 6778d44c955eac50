"""The proof of ``netpoll``: the stock wait, run beside, is what the patched one is measured by.

Each wait is run from the test of its delay to where the result is looked at. The patched one may differ in one thing:
for a positive delay it first asks epoll_pwait2, for the time that the patch's options make of the delay. Every other
system call, and every register and word of the frame that later code can read, must be as in stock: of registers, those
of the result alone, since a call spoils all others (Go's ABIInternal).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from patcher.edit.edit import Plan
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.isa.isa import Abi, Isa
from patcher.proof.events import STACK, Answer, Run, SystemCall
from patcher.proof.machine import TOP, Machine
from patcher.proof.unwind import check_no_preemption, check_promises, check_stack_depth
from patcher.strategies.netpoll.site import EVENTS, Site
from patcher.wait import PRECISE, Wait

EPERM, EINTR, EBADF, EINVAL, ENOSYS = 1, 4, 9, 22, 38
_NS = 10**9
DESCRIPTOR = 5  # that epfd holds, in every case

DELAYS_NS = (
    -(1 << 63), -1, 0, 1, 999, 999_999, 10**6, 10**6 + 1, 1_500_000, 2_000_000 - 1,
    _NS - 1, _NS, _NS + 1, 10**15 - 1, 10**15, (1 << 32) * 10**6 + 1, 1 << 62, (1 << 63) - 1,
)  # fmt: skip
# With every refusal and all that can follow it, and again with the complement of all that is not set.
THOROUGH_NS = (-1, 0, 1, 1_500_000, 1 << 62)

# What the kernel answers to epoll_pwait2 (None: it is not asked) and then to each epoll_pwait.
_NEW_CALL = (128, 3, 0, -EINTR)
# The last two look like 0 and like -EINTR to code that tests a byte too few.
_REFUSALS = (-ENOSYS, -EPERM, -EINVAL, -EBADF, -4095, -256, -256 - EINTR)
# The runtime takes -4095 for no error (internal/runtime/syscall/asm_linux_NAME.s), so -4094 is the last that is one.
_STOCK_CALLS = ((7,), (0,), (-EBADF,), (-4094,), (-EINTR, -EINTR, 2))


@dataclass(frozen=True)
class Case:
    """A delay, what epoll_pwait2 answers if it is asked, and what each epoll_pwait answers after it."""

    delay_ns: int
    refused_or_answered: int | None
    stock: tuple[int, ...]
    complement: bool = False

    @property
    def answers(self) -> tuple[int, ...]:
        """What the kernel answers to the patched function's calls, in order."""
        return self.stock if self.refused_or_answered is None else (self.refused_or_answered, *self.stock)

    @property
    def stock_answers(self) -> tuple[int, ...]:
        """And to the stock function's: a refusal is not seen there."""
        return self.stock or self.answers


def timeout_ns(delay_ns: int, wait: Wait) -> int:
    """What epoll_pwait2 must be asked for, for a positive delay."""
    if wait.quantum_ns is not None:
        dense_ns = wait.quantum_ns if wait.dense_ns is None else wait.dense_ns
        return wait.quantum_ns if delay_ns < dense_ns else delay_ns
    early_ns = delay_ns // 128  # what epoll and waking up add
    return max(delay_ns - early_ns - (wait.spin_ns or 0), 0)


def delays_ns(wait: Wait) -> tuple[int, ...]:
    """The delays to try: those of every patch, and those beside which the options change what is asked for."""
    edges = [each for each in (wait.quantum_ns, wait.dense_ns, wait.spin_ns) if each is not None]
    if wait.spin_ns is not None:  # where the delay less its 128th is the margin
        edges.append(wait.spin_ns * 128 // 127)
    # Read as a signed word of 32 bits, or as a word of its lower half alone, these are other than they are.
    halves = [(1 << 31) + 1, (1 << 32) + 1, (1 << 32) - 1] if edges else []
    beside = {edge + step for edge in edges for step in (-1, 0, 1, 1 << 32)}
    beside |= {edge + step for edge in edges[-1:] for step in (-2, 2)}
    return (*DELAYS_NS, *sorted({each for each in (*beside, *halves) if each > 0} - set(DELAYS_NS)))


def cases(wait: Wait = PRECISE) -> Iterator[Case]:
    """Every delay with every answer that can come; for some delays every refusal with all that can follow it."""
    for delay in delays_ns(wait):
        yield from _every_script(delay) if delay in THOROUGH_NS else some_scripts(delay)
        if delay in THOROUGH_NS:
            yield from (replace(case, complement=True) for case in some_scripts(delay))


def _every_script(delay: int) -> Iterator[Case]:
    if delay <= 0:
        yield from (Case(delay, None, script) for script in _STOCK_CALLS)
        return
    yield from (Case(delay, answer, ()) for answer in _NEW_CALL)
    # A timed wait that is interrupted returns to the caller, so stock makes one call.
    yield from (Case(delay, refusal, script[:1]) for refusal in _REFUSALS for script in _STOCK_CALLS)


def some_scripts(delay: int) -> Iterator[Case]:
    """Each answer of epoll_pwait2 once, and each of epoll_pwait once."""
    for case in _every_script(delay):
        if not case.stock or case.refused_or_answered in (None, _REFUSALS[0]) or case.stock == _STOCK_CALLS[0]:
            yield case


def prove(functions: Functions, sites: Iterable[Site], plan: Plan, wait: Wait = PRECISE) -> list[Run]:
    """Run every case on stock and patched code, at every wait. Raises ProofFailed, naming the case; gives the patched
    runs.
    """
    return [run for site in sites for run in _prove_site(functions, site, plan, wait)]


def _prove_site(functions: Functions, site: Site, plan: Plan, wait: Wait) -> Iterator[Run]:
    memory = {site.epfd: DESCRIPTOR.to_bytes(4, "little")}  # netpollinit has run: epfd is a descriptor
    stock, patched = Machine(functions.image, (), memory, [site.join]), Machine(functions.image, plan.edits, memory)
    isa = functions.image.isa
    inside = tuple(each for each in plan.code if site.function.start <= each.start < site.function.end)
    check_no_preemption(functions, site.function, inside)
    _check_prologue(functions, site)

    @cache
    def expected(delay_ns: int, answers: tuple[int, ...], complement: bool) -> Run:
        return _run(isa.abi, stock, site, delay_ns, answers, complement)

    for case in cases(wait):
        try:
            found = _run(isa.abi, patched, site, case.delay_ns, case.answers, case.complement)
            stock_run = expected(case.delay_ns, case.stock_answers, case.complement)
            _check_case(functions, site, case, found, stock_run, timeout_ns(case.delay_ns, wait))
        except ProofFailed as error:
            raise ProofFailed(
                f"{site.call.name}, with a delay of {case.delay_ns} ns, epoll_pwait2 → {case.refused_or_answered}, "
                f"epoll_pwait → {list(case.stock)}: {error}"
            ) from error
        yield found


def _check_prologue(functions: Functions, site: Site) -> None:
    """The function's own way to its full frame: what pclntab states of it, and the depth that the matcher read."""
    run = Machine(functions.image).run(site.function.start, {}, [], {site.body: 1})
    stack_pointer = run.registers[functions.image.isa.abi.stack_pointer]
    run.steps.append((site.body, stack_pointer))
    check_stack_depth(functions, site.function, run)
    if stack_pointer != TOP - site.depth:
        raise ProofFailed(f"expected a frame of {site.depth:#x} bytes, found {TOP - stack_pointer:#x}")


def _check_case(functions: Functions, site: Site, case: Case, found: Run, expected: Run, asked_ns: int) -> None:
    check_stack_depth(functions, site.function, found)
    check_promises(found)
    isa, calls = functions.image.isa, found.system_calls()
    if case.refused_or_answered is not None:
        check_new_call(isa, site, calls.pop(0) if calls else None, asked_ns, expected.system_calls()[0])
    if case.stock:
        check_stock_calls(isa, calls, expected.system_calls())
    check_state(functions, site, found, expected)


def _run(abi: Abi, machine: Machine, site: Site, delay_ns: int, answers: tuple[int, ...], complement: bool) -> Run:
    """From the test of the delay to the join, with the last of the answers; those before it are interruptions."""
    # A refused epoll_pwait2 does not reach the join; each answer of epoll_pwait does.
    arrivals = len(answers) - (answers[0] in _REFUSALS and len(answers) > 1)
    script = [Answer(each) for each in answers]
    return machine.run(site.start, at_start(abi, site, delay_ns), script, {site.join: arrivals}, complement=complement)


def at_start(abi: Abi, site: Site, delay_ns: int) -> dict[str, int]:
    """What registers hold where a wait begins."""
    start = {site.delay: delay_ns, abi.stack_pointer: TOP - site.depth, abi.frame_pointer: abi.framed(TOP, site.depth)}
    start |= dict(site.known)
    if site.descriptor is not None:
        start[site.descriptor] = DESCRIPTOR
    return start


def check_new_call(isa: Isa, site: Site, call: SystemCall | None, asked_ns: int, stock: SystemCall) -> None:
    """The call that stock does not make: epoll_pwait2, as stock's call beside it, for ``asked_ns``."""
    number = isa.system_calls["epoll_pwait2"]
    if call is None or call.number != number:
        raise ProofFailed(f"expected epoll_pwait2 ({number}) first, found {call.number if call else 'no system call'}")
    _descriptor, events, most, timeout, _mask, _size = call.arguments
    ours, theirs = _wait_arguments(call), _wait_arguments(stock)
    if ours[:3] + ours[4:] != theirs[:3] + theirs[4:]:
        raise ProofFailed(f"expected epoll_pwait2 with stock's descriptor and events, found {call.arguments}")
    if (most & 0xFFFFFFFF) != EVENTS or events != call.stack_pointer + site.events:
        at = f"[{isa.abi.stack_pointer}+{site.events:#x}]"
        raise ProofFailed(f"expected room for {EVENTS} events at {at}, found {call.arguments}")
    timespec = call.pointed[3]
    if timespec is None or timeout != call.stack_pointer + site.scratch[0]:
        raise ProofFailed(f"expected the timespec in the spill space, found it at {timeout:#x}")
    seconds, nanoseconds = (int.from_bytes(timespec[i : i + 8], "little") for i in (0, 8))
    expected = divmod(asked_ns, _NS)
    if (seconds, nanoseconds) != expected:
        raise ProofFailed(f"expected a timeout of {expected}, found {(seconds, nanoseconds)}")


def _wait_arguments(call: SystemCall) -> tuple[int, ...]:
    """What the kernel reads of epoll_pwait's arguments: ints but for the events and the mask.

    The mask's size is read only with a mask; stock leaves it to chance before Go 1.21.
    """
    descriptor, events, most, timeout, mask, _size = call.arguments
    return descriptor & 0xFFFFFFFF, events, most & 0xFFFFFFFF, timeout & 0xFFFFFFFF, mask


def check_stock_calls(isa: Isa, found: list[SystemCall], expected: list[SystemCall]) -> None:
    """The calls that stock makes, too: the same, with the same arguments."""
    numbers = [each.number for each in found]
    if numbers != [each.number for each in expected] or set(numbers) - {isa.system_calls["epoll_pwait"]}:
        raise ProofFailed(f"expected the stock waits {[e.number for e in expected]}, found {numbers}")
    for ours, theirs in zip(found, expected, strict=True):
        if _wait_arguments(ours) != _wait_arguments(theirs):
            raise ProofFailed(
                f"expected epoll_pwait{_wait_arguments(theirs)} as in stock, found {_wait_arguments(ours)}"
            )


def check_state(functions: Functions, site: Site, found: Run, expected: Run) -> None:
    """Registers and memory that later code reads: the result, what a callee keeps, the frame, the caller's frame."""
    abi = functions.image.isa.abi
    result = abi.results[0]
    names = [*sorted(abi.kept), abi.program_counter]
    names += [site.error] if site.error else []
    if not site.error or not expected.registers[site.error]:
        names.append(result)
    for name in names:
        # n is an int32, but for Syscall6, which gives the whole register
        mask = 0xFFFFFFFF if name == result and site.call.callee != "Syscall6" else 0xFFFFFFFFFFFFFFFF
        if found.registers[name] & mask != expected.registers[name] & mask:
            raise ProofFailed(
                f"expected {name} = {expected.registers[name] & mask:#x} as in stock, "
                f"found {found.registers[name] & mask:#x}"
            )
    base = TOP - site.depth
    _check_frame(abi, site, found, expected, base)
    for (address, size), by in zip(found.writes, found.writers, strict=True):
        below = address < base and functions.table.at(by) not in (None, site.function)  # a callee's own frame
        if not (base <= address <= base + site.top - size or below):
            raise ProofFailed(f"expected writes inside the frame only, found one at {address:#x}")
        if base + site.events - size < address < base + site.events + site.event_bytes:
            raise ProofFailed(f"expected the events to be the kernel's alone, found a write at {address:#x}")


def _check_frame(abi: Abi, site: Site, found: Run, expected: Run, base: int) -> None:
    """Every word from the frame's bottom to the site's top, but scratch (spill space, call results) and events."""
    kept = ((0, site.scratch[0]), (site.scratch[1], site.events), (site.events + site.event_bytes, site.top))
    for low, high in kept:
        start, stop = base + low - STACK, base + high - STACK
        if found.stack[start:stop] != expected.stack[start:stop]:
            where = f"[{abi.stack_pointer}+{low:#x}, {abi.stack_pointer}+{high:#x})"
            raise ProofFailed(f"expected the frame's {where} as in stock, found other bytes")
