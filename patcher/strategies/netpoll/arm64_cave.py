"""The code in ``cave.py`` for AArch64: stock's conversion, which goes on to stock's retry. S is its only entry."""

from patcher.golang.functions import Functions
from patcher.isa.arm64.asm import assemble
from patcher.strategies.netpoll.arm64 import assembly
from patcher.strategies.netpoll.arm64_site import Site
from patcher.strategies.netpoll.cave import Cave, free_at

_REACH = 1 << 27  # bytes that a b goes, either way (Arm ARM, C6.2.26)


def cave_of(functions: Functions, site: Site, used: int) -> Cave | None:
    """The code in the free bytes behind the program's, ``used`` of which are another's; None where it does not fit, or
    lies too far away.
    """
    address, end = free_at(functions, used)
    if not end or max(abs(end - site.start), abs(end - site.retry)) >= _REACH:
        return None
    code = assemble(assembly(site, None), address)
    if address + len(code) > end:
        return None
    return Cave(address, code, ((site.start, assemble(f"b {address:#x}", site.start)),))
