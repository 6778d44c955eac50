"""Assembly text made into machine code: the one place that calls Keystone."""

import re
from functools import cache
from typing import TYPE_CHECKING

from patcher.errors import ProofFailed
from patcher.isa.amd64.code import size_of

if TYPE_CHECKING:
    import keystone

# A decimal number that is no part of a name. Keystone's radix is what happens to lie in its memory until somebody sets
# it (ks_option, KS_OPT_SYNTAX; llvm/include/llvm/MC/MCAsmInfo.h): 230 has been read as 0x230.
_DECIMAL = re.compile(r"(?<!\w)\d+(?!\w)")


@cache
def _assembler() -> "keystone.Ks":
    import keystone

    engine = keystone.Ks(keystone.KS_ARCH_X86, keystone.KS_MODE_64)
    engine.syntax = keystone.KS_OPT_SYNTAX_INTEL
    return engine


def assemble(text: str, address: int) -> bytes:
    """Machine code of ``text`` (Intel syntax, one instruction a line, ``#`` comments) placed at ``address``.

    Raises ProofFailed if Keystone refuses the text or yields what does not decode again in full.
    """
    lines = (each.split("#")[0].strip() for each in text.splitlines())
    source = "\n".join(_DECIMAL.sub(lambda number: hex(int(number[0])), line) for line in lines if line)
    import keystone

    try:
        encoding, _count = _assembler().asm(source, address, as_bytes=True)
    except keystone.KsError as error:
        raise ProofFailed(f"stub at {address:#x} does not assemble: {error}; please report this") from error
    code = bytes(encoding or b"")
    if size_of(code, address) != len(code):
        raise ProofFailed(f"stub at {address:#x} assembles to bytes that do not decode; please report this")
    return code
