"""The code in ``cave.py`` for x86-64: all that is left of a stub that makes no new call. S and R are its entries."""

from patcher.golang.functions import Functions
from patcher.isa.amd64.asm import assemble
from patcher.isa.amd64.code import decode
from patcher.isa.instruction import Mem, Reg
from patcher.strategies.netpoll.amd64 import assembly
from patcher.strategies.netpoll.amd64_layout import DONE, JUMP
from patcher.strategies.netpoll.amd64_site import Site
from patcher.strategies.netpoll.cave import Cave, free_at


def cave_of(functions: Functions, site: Site, used: int) -> Cave | None:
    """The code in the free bytes behind the program's, ``used`` of which are another's; None where it does not fit."""
    address, end = free_at(functions, used)
    if not end:
        return None
    first, second = assembly(site, None, once=False)
    code = assemble(f"{first}{second}\n      {DONE}:\n        jmp   {site.join:#x}", address)
    if address + len(code) > end:
        return None
    retry = next(
        each.address
        for each in decode(code, address)
        if each.mnemonic == "mov"
        and each.operands[0] == Reg("r10d")
        and isinstance(each.operands[1], Mem)
        and each.operands[1].displacement == site.wait_slot
    )
    jumps = [(at, assemble(f"jmp {to:#x}", at)) for at, to in ((site.start, address), (site.retry, retry))]
    return Cave(address, code, tuple(jumps)) if all(len(each) == JUMP for _, each in jumps) else None
