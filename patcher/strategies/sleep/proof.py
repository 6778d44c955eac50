"""The proof of ``sleep``: a duration goes in, the goroutine leaves its P, the kernel waits so long, it comes back."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from patcher.edit.edit import Plan
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.isa.isa import Abi, Isa
from patcher.proof.events import Answer, Call, Run, SystemCall
from patcher.proof.machine import FRAME, RETURN, TOP, G, Machine
from patcher.proof.unwind import (
    check_live_slots,
    check_no_preemption,
    check_not_inlined,
    check_promises,
    check_stack_depth,
)
from patcher.strategies.sleep.site import Site

CLOCK_MONOTONIC = 1
EPERM, EINTR, EINVAL, ENOSYS = 1, 4, 22, 38
# The last two look like 0 and like EINTR to code that tests a byte too few.
_REFUSALS = (ENOSYS, EPERM, EINVAL, 256, 256 + EINTR)
_NS = 10**9
DURATIONS_NS = (1, 999, 50_000, 10**6, _NS - 1, _NS, _NS + 1, 1_500_000_000, 1 << 62, (1 << 63) - 1)
_AGAIN_NS = (-1, 0, 1, 1_500_000_000)  # run with the complement of all that is not set, too
_REMAINS = (3, 141_592_653)


@dataclass(frozen=True)
class Case:
    """A duration and what the kernel answers: to clock_nanosleep, and once it is refused, to nanosleep."""

    duration_ns: int
    answers: tuple[Answer, ...]
    complement: bool = False


def cases() -> Iterator[Case]:
    """Every duration: slept through, interrupted, refused, refused and interrupted; and durations that are no wait."""
    for case in _cases():
        yield case
        if case.duration_ns in _AGAIN_NS:
            yield replace(case, complement=True)


def _cases() -> Iterator[Case]:
    interrupted = Answer(-EINTR, _REMAINS)
    for duration in DURATIONS_NS:
        yield Case(duration, (Answer(0),))
        yield Case(duration, (interrupted, interrupted, Answer(0)))
        for errno in _REFUSALS:
            yield Case(duration, (Answer(-errno), Answer(0)))
            yield Case(duration, (Answer(-errno), interrupted, Answer(0)))
            yield Case(duration, (Answer(-errno), Answer(-errno)))
    for duration in (0, -1, -(1 << 63)):
        yield Case(duration, ())


def prove(functions: Functions, site: Site, plan: Plan) -> list[Run]:
    """Run every case. Raises ProofFailed, naming it."""
    check_no_preemption(functions, site.function, plan.code)
    machine = Machine(functions.image, plan.edits)
    runs = []
    for case in cases():
        try:
            runs.append(_prove_case(functions, site, machine, case))
        except ProofFailed as error:
            answers = [each.result for each in case.answers]
            raise ProofFailed(f"time.Sleep of {case.duration_ns} ns, answers {answers}: {error}") from error
    check_not_inlined(functions, site.function, runs)
    return runs


def _prove_case(functions: Functions, site: Site, machine: Machine, case: Case) -> Run:
    isa, abi = functions.image.isa, functions.image.isa.abi
    run = machine.run(
        site.function.start,
        {abi.arguments[0]: case.duration_ns},
        case.answers,
        calls={site.enter: "entersyscallblock", site.leave: "exitsyscall"},
        complement=case.complement,
    )
    check_stack_depth(functions, site.function, run)
    calls = [each for each in run.events if isinstance(each, Call)]
    for call in calls:
        if call.stack_pointer != TOP - site.depth:
            found = f"{abi.stack_pointer} {call.stack_pointer:#x}"
            raise ProofFailed(f"expected {call.name} to be called on the full frame, found {found}")
        check_live_slots(functions, site.function, site.frame, call, call.return_address)
        check_promises(call)
        if (call.frame_pointer, call.goroutine) != (abi.framed(TOP, site.depth), G):
            saved = f"{abi.frame_pointer} at the saved {abi.frame_pointer}"
            raise ProofFailed(
                f"expected {saved} and {abi.goroutine} = g at {call.name}, "
                f"found {call.frame_pointer:#x} and {call.goroutine:#x}"
            )
    _check_order(run, case)
    for wait in run.system_calls():
        check_live_slots(functions, site.function, site.frame, wait, calls[0].return_address)
    _check_waits(isa, run.system_calls(), case)
    _check_state(abi, site, run)
    spilled = TOP + abi.stack_arguments
    if case.answers and run.word(spilled) != case.duration_ns & 0xFFFFFFFFFFFFFFFF:
        raise ProofFailed(f"expected the duration in its spill slot, found {run.word(spilled):#x}")
    return run


def _check_order(run: Run, case: Case) -> None:
    """The waits stand between entersyscallblock and exitsyscall, each of which is called once."""
    found = [each.name if isinstance(each, Call) else "wait" for each in run.events]
    expected = ["entersyscallblock", *["wait"] * len(case.answers), "exitsyscall"] if case.answers else []
    if found != expected:
        raise ProofFailed(f"expected {expected}, found {found}")


def _check_waits(isa: Isa, waits: list[SystemCall], case: Case) -> None:
    clock_nanosleep = isa.system_calls["clock_nanosleep"]
    asked = divmod(case.duration_ns, _NS)
    number = clock_nanosleep
    for wait, answer in zip(waits, case.answers, strict=True):
        if wait.number != number:
            raise ProofFailed(f"expected system call {number}, found {wait.number}")
        if number == clock_nanosleep:
            clock, flags, request, remaining = wait.arguments[:4]
            timespec = wait.pointed[2]
            if (clock & 0xFFFFFFFF, flags & 0xFFFFFFFF) != (CLOCK_MONOTONIC, 0):
                raise ProofFailed(f"expected CLOCK_MONOTONIC and no flags, found {clock} and {flags}")
        else:
            request, remaining = wait.arguments[:2]
            timespec = wait.pointed[0]
        if timespec is None or remaining != request:
            raise ProofFailed(f"expected the request on the stack and what remains in its place, found {remaining:#x}")
        found = tuple(int.from_bytes(timespec[i : i + 8], "little") for i in (0, 8))
        if found != asked:
            raise ProofFailed(f"expected a wait of {asked}, found {found}")
        if answer.result == -EINTR:
            asked = answer.remaining or asked
        elif answer.result:
            number = isa.system_calls["nanosleep"]


def _check_state(abi: Abi, site: Site, run: Run) -> None:
    check_promises(run)
    expected = {abi.stack_pointer: TOP + abi.pushed, abi.frame_pointer: FRAME, abi.goroutine: G}
    expected[abi.program_counter] = RETURN
    for name, value in expected.items():
        if run.registers[name] != value:
            raise ProofFailed(f"expected {name} = {value:#x} after the return, found {run.registers[name]:#x}")
    for address, size in run.writes:
        if (address, size) == (
            TOP + abi.stack_arguments,
            8,
        ):  # the spill slot of the only argument is the callee's (ABIInternal)
            continue
        if not TOP - site.depth - abi.pushed <= address <= TOP - size:  # the calls' return addresses lie below
            raise ProofFailed(f"expected writes inside time.Sleep's frame only, found one at {address:#x}")
