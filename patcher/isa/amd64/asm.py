"""Assembly text made into machine code: the one place that calls Keystone."""

from functools import cache

import keystone

from patcher.code import decode
from patcher.errors import ProofFailed


@cache
def _assembler() -> keystone.Ks:
    return keystone.Ks(keystone.KS_ARCH_X86, keystone.KS_MODE_64)


def assemble(text: str, address: int) -> bytes:
    """Machine code of ``text`` (Intel syntax, one instruction a line, ``#`` comments) placed at ``address``.

    Raises ProofFailed if Keystone refuses the text or yields what does not decode again in full.
    """
    source = "\n".join(line for each in text.splitlines() if (line := each.split("#")[0].strip()))
    try:
        encoding, _count = _assembler().asm(source, address, as_bytes=True)
    except keystone.KsError as error:
        raise ProofFailed(f"stub at {address:#x} does not assemble: {error}; please report this") from error
    code = bytes(encoding or b"")
    if sum(each.size for each in decode(code, address)) != len(code):
        raise ProofFailed(f"stub at {address:#x} assembles to bytes that do not decode; please report this")
    return code
