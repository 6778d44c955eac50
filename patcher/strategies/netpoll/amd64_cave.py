"""The wait once more, as stock makes it, in free bytes elsewhere: what runs while the wait's own bytes are rewritten.

Code that lies in two pages is not written at once. So S and R are first made jumps to here, each by one write within a
page; then the rest may be written in any order, for nothing reaches it; then R, then S get their bytes. Whoever stops
in between leaves code that waits as stock does.
"""

from dataclasses import dataclass

from patcher.edit.edit import Edit
from patcher.golang.functions import Functions
from patcher.isa.amd64.asm import assemble
from patcher.isa.amd64.code import decode
from patcher.isa.instruction import Mem, Reg
from patcher.strategies.netpoll.amd64 import assembly
from patcher.strategies.netpoll.amd64_layout import DONE
from patcher.strategies.netpoll.amd64_site import Site

JUMP = 5  # bytes of a jmp that goes far
_ALIGN = 16


@dataclass(frozen=True)
class Cave:
    """The code at ``address``, where S's jump goes, and ``retry``, where R's does."""

    address: int
    retry: int
    code: bytes
    to_start: bytes
    to_retry: bytes

    @property
    def end(self) -> int:
        """The address behind the last byte."""
        return self.address + len(self.code)


def cave_of(functions: Functions, site: Site, used: int) -> Cave | None:
    """The code in the free bytes behind the program's, ``used`` of which are another's; None where it does not fit."""
    padding = functions.image.padding
    if padding is None:
        return None
    address = -(-(padding.address + used) // _ALIGN) * _ALIGN
    first, second = assembly(site, None, once=False)
    code = assemble(f"{first}{second}\n      {DONE}:\n        jmp   {site.join:#x}", address)
    if address + len(code) > padding.address + padding.size:
        return None
    retry = next(
        each.address
        for each in decode(code, address)
        if each.mnemonic == "mov"
        and each.operands[0] == Reg("r10d")
        and isinstance(each.operands[1], Mem)
        and each.operands[1].displacement == site.wait_slot
    )
    jumps = (assemble(f"jmp {address:#x}", site.start), assemble(f"jmp {retry:#x}", site.retry))
    if any(len(each) != JUMP for each in jumps):
        return None
    return Cave(address, retry, code, *jumps)


def laid(address: int, old: bytes, new: bytes) -> Edit:
    """Bytes over others, for the emulator."""
    return Edit("", "as it stands in memory", address, 0, old, new, "")
