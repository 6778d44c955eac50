"""Programs that set a system call filter themselves (seccomp(2)), which was made for the calls of the stock program.

What a filter does with a call is decided as the program runs, so a file can only show that there may be one: by a
package that is made for it, or by a call of seccomp or prctl(PR_SET_SECCOMP) in Go code.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from patcher.file.elf_tables import MOST_SHORT_HITS
from patcher.golang.functions import Functions
from patcher.golang.syscalls import PACKAGES as RUNTIME
from patcher.golang.syscalls import PR_SET_SECCOMP, moves
from patcher.isa.instruction import Kind

#: Function names of pclntab begin with these.
PACKAGES = (
    "github.com/elastic/go-seccomp-bpf",
    "github.com/seccomp/libseccomp-golang",
    "gvisor.dev/gvisor/pkg/seccomp",
)
_NAMES = ("Syscall", "Syscall6", "RawSyscall", "RawSyscall6", "AllThreadsSyscall", "AllThreadsSyscall6")
_HELPERS = tuple(f"{package}.{name}" for package in ("syscall", "golang.org/x/sys/unix", *RUNTIME) for name in _NAMES)
_PRCTL = "golang.org/x/sys/unix.Prctl"
_MOST_SHOWN = 3
_NEAR = 64  # bytes before and behind a number within which its call's other arguments are set


@dataclass(frozen=True)
class FilterCall:
    """A place where Go code sets a filter by itself; ``call`` is ``seccomp`` or ``prctl(PR_SET_SECCOMP)``."""

    function: str
    address: int
    call: str


@dataclass(frozen=True)
class Filters:
    """What shows that the program may set a filter: packages that it holds, and calls."""

    packages: tuple[str, ...]
    calls: tuple[FilterCall, ...]

    def __bool__(self) -> bool:
        """True where anything was found."""
        return bool(self.packages or self.calls)

    def __str__(self) -> str:
        """``package gvisor.dev/gvisor/pkg/seccomp, seccomp called by main.main at 0x401000``; the first few."""
        said = [f"package {each}" for each in self.packages]
        said += [f"{each.call} called by {each.function} at {each.address:#x}" for each in self.calls]
        more = len(said) - _MOST_SHOWN
        return ", ".join(said[:_MOST_SHOWN]) + f" and {more} more" * (more > 0)


def find_filters(functions: Functions) -> Filters:
    """Look for packages and calls; what C code calls is not seen."""
    packages = tuple(each for each in PACKAGES if functions.table.has_prefix(f"{each}."))
    return Filters(packages, tuple(sorted(_calls(functions), key=lambda each: each.address)))


def _calls(functions: Functions) -> Iterator[FilterCall]:
    helpers = {each.start for name in _HELPERS for each in functions.all(name)}
    prctl = {each.start for each in functions.all(_PRCTL)}
    isa = functions.image.isa
    for function, call, _ in _made(functions, isa.system_calls["seccomp"], helpers):
        yield FilterCall(function, call, "seccomp")
    for function, call, near in _made(functions, isa.system_calls["prctl"], helpers):
        if any(each in near for each in isa.sets_second(PR_SET_SECCOMP)):
            yield FilterCall(function, call, "prctl(PR_SET_SECCOMP)")
    for function, call, _ in _made(functions, PR_SET_SECCOMP, prctl):
        yield FilterCall(function, call, "prctl(PR_SET_SECCOMP)")


def _made(functions: Functions, number: int, callees: set[int]) -> Iterator[tuple[str, int, bytes]]:
    """Calls of one of ``callees`` or of the kernel, with ``number`` first: function, address, the bytes before it."""
    starts = functions.image.isa.sets_first(number)
    for address in (at for move in starts for at in moves(functions, move, MOST_SHORT_HITS)):
        by = functions.table.at(address)
        if by is None:
            continue
        call = _call(functions, address, min(address + _NEAR, by.end), callees)
        if call is not None:
            before = max(address - _NEAR, by.start)
            yield by.name, call, functions.image.read(before, call - before)


def _call(functions: Functions, start: int, end: int, callees: set[int]) -> int | None:
    """The address of the call that the code from ``start`` on comes to, if it is one of the kernel or a callee."""
    for each in functions.image.isa.decode(functions.image.read(start, end - start), start):
        if each.kind is Kind.SYSTEM_CALL or (each.kind is Kind.CALL and each.target in callees):
            return each.address
        if each.is_branch or each.kind in (Kind.CALL, Kind.RETURN):
            return None
    return None
