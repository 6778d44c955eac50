"""Who waits: every place where the runtime waits in epoll, found by its calls and not by a function's name.

The compiler inlines as it sees fit: with a profile ``runtime.netpoll`` into ``findRunnable``, EpollWait into either. So
all calls of EpollWait are looked at, and all of Syscall6 with epoll_pwait's number, in the whole text.
"""

from dataclasses import dataclass, field

from patcher.golang.callers import callers
from patcher.golang.functions import Functions
from patcher.golang.inlining import inlined_at
from patcher.golang.pclntab import Function
from patcher.golang.syscalls import EPOLL_WAITS, PACKAGES, SYSCALL6, by_stack, first_argument
from patcher.isa.flow import Flow

NETPOLL = "runtime.netpoll"
_OF_THE_RUNTIME = ("runtime.", *(f"{package}." for package in PACKAGES))
# These make the call that they are asked for, of whatever number (syscall/syscall_linux.go, runtime/os_linux.go).
_HAND_ON = frozenset({"syscall.RawSyscall6", "syscall.runtime_doAllThreadsSyscall", "runtime.runPerThreadSyscall"})
# Which argument the timeout is, counted in words: EpollWait(epfd, events slice, maxev, waitms) and Syscall6(number,
# epfd, events, maxev, waitms, …) in internal/runtime/syscall/linux, arguments in registers. Before Go 1.21 those of
# runtime.epollwait (runtime/sys_linux_NAME.s) are on the stack.
_TIMEOUT = {"EpollWait": 5, "Syscall6": 4}


@dataclass(frozen=True)
class EpollCall:
    """A call that may wait in epoll: in ``function``, at ``address``.

    ``callee`` is "EpollWait", "epollwait" (before Go 1.21), or "Syscall6" where EpollWait is inlined. ``timeout_ms`` is
    the timeout where it is a constant, else None. ``inlined`` are the functions whose inlined bodies the call stands
    in, innermost first; None where the table of these cannot be found.
    """

    function: Function
    address: int
    callee: str
    timeout_ms: int | None
    inlined: tuple[str, ...] | None
    flow: Flow = field(repr=False, compare=False)

    @property
    def polls(self) -> bool:
        """Whether it only looks, and never waits."""
        return self.timeout_ms == 0

    @property
    def name(self) -> str:
        """``runtime.findRunnable at 0x44f3a0 (runtime.netpoll inlined)``."""
        inlined = f" ({', '.join(self.inlined)} inlined)" if self.inlined else ""
        return f"{self.function.name} at {self.address:#x}{inlined}"


@dataclass(frozen=True)
class Waits:
    """All ``calls``, in the order of addresses; ``precise`` are functions that call epoll_pwait2 by themselves."""

    calls: tuple[EpollCall, ...]
    precise: tuple[str, ...]


def find_waits(functions: Functions) -> Waits:
    """Every call of EpollWait, or of Syscall6 with epoll_pwait's number where that is inlined, in the whole text; and
    of Syscall6 with a number that is not known, but by functions that hand on what they are asked for.

    Raises ShapeMismatch where one stands in code that cannot be followed. A call through a pointer is not seen.
    """
    return functions.once(_search)


def _search(functions: Functions) -> Waits:
    isa = functions.image.isa
    arguments, epoll_pwait = isa.abi.arguments, isa.system_calls["epoll_pwait"]
    waits = {each.start: each for name in EPOLL_WAITS for each in functions.all(name)}
    helpers = {each.start for name in SYSCALL6 for each in functions.all(name)}
    found: list[EpollCall] = []
    precise: list[str] = []
    for function, address in callers(functions, frozenset(waits) | helpers):
        if function.start in waits or function.start in helpers:
            continue  # EpollWait's own call of Syscall6, or a wrapper between calling conventions
        called = next(each for each in functions.instructions(function) if each.address == address)
        flow = functions.flow(function)
        inlined = inlined_at(functions, function, address)
        within = {function.name, *(inlined or ())}
        numbers: frozenset[int | None] = frozenset({epoll_pwait})
        if called.target in helpers:
            numbers = flow.constants(address, first_argument(functions, called.target))
        if isa.system_calls["epoll_pwait2"] in numbers and function.name.startswith(_OF_THE_RUNTIME):
            precise.append(function.name)
        elif epoll_pwait in numbers or within & {*EPOLL_WAITS} or (None in numbers and not within & _HAND_ON):
            callee = waits[called.target].name.rpartition(".")[2] if called.target in waits else "Syscall6"
            in_register = callee in _TIMEOUT and called.target not in by_stack(functions)
            timeout_ms = _constant(flow, address, arguments[_TIMEOUT[callee]]) if in_register else None
            found.append(EpollCall(function, address, callee, timeout_ms, inlined, flow))
    return Waits(tuple(found), tuple(precise))


def _constant(flow: Flow, address: int, register: str) -> int | None:
    values = tuple(flow.constants(address, register))
    return values[0] if len(values) == 1 else None
