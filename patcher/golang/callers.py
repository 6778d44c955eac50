"""Where the runtime's waits and sleeps are called from: every direct call of them in the executable segments."""

from collections.abc import Iterator

from patcher.errors import MalformedBinary
from patcher.golang.functions import Functions
from patcher.golang.pclntab import Function
from patcher.golang.syscalls import EPOLL_WAITS, SYSCALL6, USLEEP

_LONGEST_FUNCTION = 1 << 20  # bytes; a longer one is no function, or none that is worth a table of instructions
_MOST = 10_000  # more calls than any program has of these functions
_SEARCHED = (*EPOLL_WAITS, *SYSCALL6, USLEEP)

Call = tuple[Function, int]


def callers(functions: Functions, targets: frozenset[int]) -> tuple[Call, ...]:
    """(function, address of the call) of each call of a target, in the order of addresses.

    ``targets`` are starts of functions named in ``_SEARCHED``. A hit in the bytes counts where pclntab has a function
    and an instruction starts there; a call through a pointer is not seen. Raises MalformedBinary for calls without end.
    """
    found = functions.once(_search)
    return tuple(call for call, target in found if target in targets)


def _search(functions: Functions) -> tuple[tuple[Call, int], ...]:
    targets = frozenset(each.start for name in _SEARCHED for each in functions.all(name))
    found: list[tuple[Call, int]] = []
    starts: dict[int, frozenset[int]] = {}  # by the function's start
    for address, target in sorted(_hits(functions, targets)):
        function = functions.table.at(address)
        if function is None:
            continue
        if function.start not in starts and function.end - function.start <= _LONGEST_FUNCTION:
            code = functions.image.read(function.start, function.end - function.start)
            starts[function.start] = functions.image.isa.starts(code, function.start)
        # What cannot be decoded so far counts as a call: whoever looks at the function refuses it by its name.
        known = starts.get(function.start, frozenset())
        if address in known or address > max(known, default=0):
            found.append(((function, address), target))
        if len(found) > _MOST:
            raise MalformedBinary(f"{functions.image.path}: more than {_MOST} calls of the runtime's sleep functions")
    return tuple(found)


def _hits(functions: Functions, targets: frozenset[int]) -> Iterator[tuple[int, int]]:
    image = functions.image
    for each in image.segments:
        if each.executable and targets:
            end = each.offset + each.file_size
            yield from image.isa.direct_calls(image.data, each.offset, end, each.address, targets)
