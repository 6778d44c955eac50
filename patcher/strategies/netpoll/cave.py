"""The wait once more, as stock makes it, in free bytes elsewhere: what runs while the wait's own bytes are rewritten.

Code that lies in two pages is not written at once. So its entries are first made jumps to here, each by one write
within a page; then the rest may be written in any order, for nothing reaches it; then the entries get their bytes, the
start last. Whoever stops in between leaves code that waits as stock does.
"""

from dataclasses import dataclass

from patcher.edit.edit import Edit
from patcher.golang.functions import Functions

_ALIGN = 16


@dataclass(frozen=True)
class Cave:
    """The code at ``address``; ``entries``: (address in the wait, the jump from there to here), the start's first."""

    address: int
    code: bytes
    entries: tuple[tuple[int, bytes], ...]

    @property
    def end(self) -> int:
        """The address behind the last byte."""
        return self.address + len(self.code)


def free_at(functions: Functions, used: int) -> tuple[int, int]:
    """Where code may begin and must end in the free bytes behind the program's, ``used`` of which are another's."""
    padding = functions.image.padding
    if padding is None:
        return 0, 0
    return -(-(padding.address + used) // _ALIGN) * _ALIGN, padding.address + padding.size


def laid(address: int, old: bytes, new: bytes) -> Edit:
    """Bytes over others, for the emulator."""
    return Edit("", "as it stands in memory", address, 0, old, new, "")
