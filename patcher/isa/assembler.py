"""Assembly text made into machine code: the one place that calls Keystone."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from patcher.errors import ProofFailed

if TYPE_CHECKING:
    import keystone

# A decimal number that is no part of a name. Keystone's radix is what happens to lie in its memory until somebody sets
# it (ks_option, KS_OPT_SYNTAX; llvm/include/llvm/MC/MCAsmInfo.h): 230 has been read as 0x230.
_DECIMAL = re.compile(r"(?<!\w)\d+(?!\w)")


@dataclass(frozen=True)
class Assembler:
    """``engine`` makes one of Keystone's; ``comment`` begins what is for people; ``size_of``: (code, address) → how
    many of its bytes are instructions.
    """

    engine: Callable[[], "keystone.Ks"]
    comment: str
    size_of: Callable[[bytes, int], int]

    @cached_property
    def _made(self) -> "keystone.Ks":
        return self.engine()

    def assemble(self, text: str, address: int) -> bytes:
        """Machine code of ``text`` (one instruction a line) placed at ``address``.

        Raises ProofFailed if Keystone refuses the text or yields what does not decode again in full.
        """
        lines = (each.split(self.comment)[0].strip() for each in text.splitlines())
        source = "\n".join(_DECIMAL.sub(lambda number: hex(int(number[0])), line) for line in lines if line)
        import keystone  # noqa: PLC0415 - in the child process alone

        try:
            encoding, _count = self._made.asm(source, address, as_bytes=True)
        except keystone.KsError as error:
            raise ProofFailed(f"stub at {address:#x} does not assemble: {error}; please report this") from error
        code = bytes(encoding or b"")
        if self.size_of(code, address) != len(code):
            raise ProofFailed(f"stub at {address:#x} assembles to bytes that do not decode; please report this")
        return code
