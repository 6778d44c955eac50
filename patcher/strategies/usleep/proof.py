"""The proof of ``usleep``: the same timespec as the stock function passes, to clock_nanosleep first."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from patcher.edit.edit import Plan
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.proof.events import Answer, Run, SystemCall
from patcher.proof.machine import TOP, Machine
from patcher.proof.unwind import check_promises, check_stack_depth
from patcher.strategies.usleep.site import Site

CLOCK_MONOTONIC = 1
EPERM, EINTR, EINVAL, ENOSYS = 1, 4, 22, 38
# The last two look like 0 and like EINTR to code that tests a byte too few.
_REFUSALS = (ENOSYS, EPERM, EINVAL, 256, 256 + EINTR)
_AGAIN = (0, 20, 1_000_001)  # microseconds; run with the complement of all that is not set, too
MICROSECONDS = (0, 1, 20, 999, 1000, 10_000, 999_999, 1_000_000, 1_000_001, 2_500_000, (1 << 32) - 1)


@dataclass(frozen=True)
class Case:
    """Microseconds, and what the kernel answers to clock_nanosleep and to nanosleep after a refusal."""

    microseconds: int
    answers: tuple[int, ...]
    complement: bool = False


def cases() -> Iterator[Case]:
    """Every duration: slept through, interrupted (which ends the sleep, as in stock), refused."""
    for case in _cases():
        yield case
        if case.microseconds in _AGAIN:
            yield replace(case, complement=True)


def _cases() -> Iterator[Case]:
    for microseconds in MICROSECONDS:
        yield from (Case(microseconds, (answer,)) for answer in (0, -EINTR))
        yield from (Case(microseconds, (-errno, then)) for errno in _REFUSALS for then in (0, -EINTR, -errno))


def prove(functions: Functions, site: Site, plan: Plan) -> list[Run]:
    """Run every case on stock and patched code. Raises ProofFailed, naming it."""
    stock, patched = Machine(functions.image), Machine(functions.image, plan.edits)
    runs = []
    for case in cases():
        try:
            runs.append(_prove_case(functions, site, stock, patched, case))
        except ProofFailed as error:
            raise ProofFailed(
                f"runtime.usleep of {case.microseconds} µs, answers {list(case.answers)}: {error}"
            ) from error
    return runs


def _prove_case(functions: Functions, site: Site, stock: Machine, patched: Machine, case: Case) -> Run:
    # ABI0: a uint32 on the stack; what lies above it is not its own
    argument = {TOP + functions.image.isa.abi.stack_arguments: 0xFFFFFFFF << 32 | case.microseconds}
    expected = stock.run(
        site.function.start, {}, [Answer(case.answers[-1])], words=argument, complement=case.complement
    )
    script = [Answer(each) for each in case.answers]
    found = patched.run(site.function.start, {}, script, words=argument, complement=case.complement)
    check_stack_depth(functions, site.function, found)
    check_promises(found)
    wanted = expected.system_calls()[0].pointed[0]
    isa, calls = functions.image.isa, found.system_calls()
    numbers = [isa.system_calls[each] for each in ("clock_nanosleep", "nanosleep")]
    if [each.number for each in calls] != numbers[: len(case.answers)]:
        raise ProofFailed(f"expected clock_nanosleep, then nanosleep if refused, found {[c.number for c in calls]}")
    _check_clock_nanosleep(calls[0], wanted)
    if len(calls) > 1 and (calls[1].pointed[0] != wanted or calls[1].arguments[1]):
        raise ProofFailed("expected nanosleep as in stock, found other arguments")
    for name in (isa.abi.stack_pointer, isa.abi.frame_pointer, isa.abi.goroutine, isa.abi.program_counter):
        if found.registers[name] != expected.registers[name]:
            raise ProofFailed(f"expected {name} as in stock, found {found.registers[name]:#x}")
    if found.writes != expected.writes:
        raise ProofFailed("expected stock's writes to the frame and no others")
    if {TOP - each.stack_pointer for each in calls} != {site.depth}:
        raise ProofFailed("expected the waits on the full frame")
    return found


def _check_clock_nanosleep(call: SystemCall, wanted: bytes | None) -> None:
    clock, flags, _request, remaining = call.arguments[:4]
    if (clock & 0xFFFFFFFF, flags & 0xFFFFFFFF, remaining) != (CLOCK_MONOTONIC, 0, 0) or call.pointed[2] != wanted:
        raise ProofFailed(
            f"expected clock_nanosleep(CLOCK_MONOTONIC, 0, stock's timespec, NULL), found {call.arguments}"
        )
