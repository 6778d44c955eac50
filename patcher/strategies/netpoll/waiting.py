"""The waits of a program that are netpoll's, whatever the instruction set: found, or refused by name."""

from collections.abc import Sequence
from typing import TypeVar

from patcher import errors
from patcher.golang.functions import Functions
from patcher.golang.waits import NETPOLL, EpollCall, find_waits
from patcher.isa.flow import Block
from patcher.isa.isa import Abi

T = TypeVar("T")


def timed_waits(functions: Functions) -> list[EpollCall]:
    """Every wait of the runtime with a timeout. Raises AlreadyPrecise, or ShapeMismatch for the first that is none of
    netpoll's: half of the waits patched would be worse than none.
    """
    functions.all(NETPOLL)  # symbols and function table must agree on it, whoever calls it
    waits = find_waits(functions)
    if waits.precise:
        raise errors.AlreadyPrecise(
            f"{functions.image.path}: its runtime calls epoll_pwait2 in {waits.precise[0]} and is precise by itself: "
            "no patch is needed; if that is off by default, start the program with GODEBUG=epollpwait2=1"
        )
    timed = [each for each in waits.calls if not each.polls]
    if not timed:
        raise errors.ShapeMismatch(
            f"{NETPOLL}: expected a call of EpollWait with a timeout, found {len(waits.calls)} calls, all of them polls"
        )
    for each in timed:
        _check_owner(each)
    return timed


def _check_owner(call: EpollCall) -> None:
    """Only waits of netpoll are understood; any other that could last leaves the program half patched."""
    if NETPOLL not in (call.function.name, *(call.inlined or ())):
        raise errors.ShapeMismatch(
            f"{call.name}: calls {call.callee} with a timeout and is not {NETPOLL}; expected only {NETPOLL} to wait: "
            "if one of two waits is patched, sleepers that use the other gain nothing"
        )


def only(call: EpollCall, what: str, found: Sequence[T]) -> T:
    """The one thing that was found. Raises ShapeMismatch for none or several."""
    if len(found) != 1:
        raise errors.ShapeMismatch(f"{call.name}: expected one {what}, found {len(found)}")
    return found[0]


def check_closed(call: EpollCall, blocks: Sequence[Block], exits: frozenset[int]) -> None:
    """Raises ShapeMismatch where the blocks are left for another than one of them or of ``exits``."""
    inside = exits | {each.start for each in blocks}
    for each in blocks:
        if not set(each.successors) <= inside:
            raise errors.ShapeMismatch(
                f"{call.name}: expected no way out of the delay's conversion, found {each.instructions[-1]}"
            )


def shown(abi: Abi, call: EpollCall, delay: int | None, milliseconds: int, *, on_stack: bool) -> str:
    """What was recognised, for a person: the slots of the delay (None: it has none) and of the milliseconds."""
    passed = "on the stack (before Go 1.21)" if on_stack else "in registers (Go 1.21 and later)"
    inlined = f"{', '.join(call.inlined)} inlined; " if call.inlined else ""
    kept = "" if delay is None else f"delay at [{abi.stack_pointer}+{delay:#x}], "
    return (
        f"{inlined}epoll_pwait in whole milliseconds: {kept}milliseconds at [{abi.stack_pointer}+{milliseconds:#x}], "
        f"arguments {passed}"
    )
