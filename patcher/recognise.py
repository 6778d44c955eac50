"""Telling a binary that carries a patch of ours, from its own bytes."""

from nanonap.errors import NanonapError
from patcher.code import decode
from patcher.errors import AlreadyPatched
from patcher.functions import Functions
from patcher.strategies import netpoll, sleep, usleep
from patcher.strategies.netpoll_site import NETPOLL
from patcher.syscalls import inline
from patcher.wait import PRECISE, Wait

_ENTRY_BYTES = 64


def strategies_present(functions: Functions) -> tuple[str, ...]:
    """The strategies whose stubs this binary holds, found by the system calls that no stock function makes inline."""
    found = []
    if 441 in _numbers(functions, NETPOLL):
        found.append(netpoll.NAME)
    if 230 in _numbers(functions, sleep.SLEEP):
        found.append(sleep.NAME)
    if _leaves_its_function(functions):
        found.append(usleep.NAME)
    if entry_slack_ns(functions) is not None:
        found.append("slack")
    return tuple(found)


def refuse_patched(functions: Functions) -> None:
    """Raise AlreadyPatched for a binary with any of our stubs."""
    present = strategies_present(functions)
    if present:
        raise AlreadyPatched(
            f"{functions.image.path}: already patched ({' and '.join(present)}); run invoke revert on it first"
        )


def netpoll_wait(functions: Functions) -> Wait:
    """The options of the ``netpoll`` stub that this binary holds, by its code; of none where it holds none."""
    if netpoll.NAME not in strategies_present(functions):
        return PRECISE
    return netpoll.wait_in(functions.instructions(functions.one(NETPOLL)))


def entry_slack_ns(functions: Functions) -> int | None:
    """The slack that an entry stub of ours sets; None where the entry is the linker's."""
    image = functions.image
    if not any(s.executable and s.address <= image.entry < s.address + s.file_size for s in image.segments):
        return None
    size = min(
        _ENTRY_BYTES,
        *(
            s.address + s.file_size - image.entry
            for s in image.segments
            if s.executable and s.address <= image.entry < s.address + s.file_size
        ),
        _ENTRY_BYTES,
    )
    code = list(decode(image.read(image.entry, size), image.entry))[:5]
    shape = [each.mnemonic for each in code]
    if len(code) < 5 or [each.replace("movabs", "mov") for each in shape] != ["mov", "mov", "mov", "syscall", "jmp"]:
        return None
    try:
        number, option, slack = (each.immediate(1) for each in code[:3])
    except NanonapError:
        return None
    return slack if (number, option) == (157, 29) else None


def _numbers(functions: Functions, name: str) -> set[int | None]:
    return {site.number for function in functions.all(name) for site in inline(name, functions.instructions(function))}


def _leaves_its_function(functions: Functions) -> bool:
    """Stock ``usleep`` has no jump; a patched one jumps out of itself."""
    return any(
        each.mnemonic == "jmp" and each.target is not None and not function.start <= each.target < function.end
        for function in functions.all(usleep.USLEEP)
        for each in functions.instructions(function)
        if any(i.mnemonic == "div" for i in functions.instructions(function))
    )
