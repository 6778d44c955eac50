"""A stopped thread of AArch64 as the kernel shows it: its registers, and where its signal frames hide others.

No decoder, no assembler and no emulator is imported here: the agent reads this beside a stopped process.
"""

import ctypes
import re
import struct
from collections.abc import Iterator

from patcher.isa.threads import Buffer

_NT_PRSTATUS = 1  # linux/elf.h
READ, WRITE = (0x4204, _NT_PRSTATUS), (0x4205, _NT_PRSTATUS)  # PTRACE_GETREGSET, PTRACE_SETREGSET (linux/ptrace.h)
#: struct user_pt_regs, in order (arch/arm64/include/uapi/asm/ptrace.h).
REGISTERS = (*(f"x{number}" for number in range(31)), "sp", "pc", "pstate")
_LAYOUT = struct.Struct(f"<{len(REGISTERS)}Q")
# Behind them in a buffer lies the struct iovec that both requests take; the kernel puts the bytes there that it gave.
_VECTOR = struct.Struct("<QQ")
SIZE = _LAYOUT.size + _VECTOR.size
_WHERE = struct.Struct(f"<{8 * REGISTERS.index('sp')}xQQ8x8xQ")  # sp, pc, (pstate, where they lie), how many bytes
PROGRAM_COUNTER, STACK_POINTER, RESULT = "pc", "sp", "x0"
# Nothing: what is to begin anew is made so before the stop, and looked at again only at the place where that was
# (arch/arm64/kernel/signal.c, do_signal: "if a debugger has chosen to restart at a different PC, ignore the restart").
OUT_OF_CALL: dict[str, int] = {}
MODE = _LAYOUT.size  # of a thread that runs 32-bit code the kernel gives fewer bytes (arch/arm64/kernel/ptrace.c)
AUDIT_ARCH = 0xC00000B7  # AUDIT_ARCH_AARCH64 (linux/audit.h)
_WORD = 8
# struct sigcontext (arch/arm64/include/uapi/asm/sigcontext.h) holds … sp, pc, pstate, then, at the next multiple of 16,
# records; the first is a struct fpsimd_context (arch/arm64/kernel/signal.c, setup_sigframe_layout).
_RECORD = re.compile(re.escape(struct.pack("<II", 0x46508001, 0x210)), re.DOTALL)
_BEFORE_RECORD = 3 * _WORD


def ready(buffer: Buffer) -> int:
    """As ``Threads.ready``."""
    address = ctypes.addressof(buffer)
    _VECTOR.pack_into(buffer, _LAYOUT.size, address, _LAYOUT.size)
    return address + _LAYOUT.size


def where(data: Buffer) -> tuple[int, int, int]:
    """As ``Threads.where``; the mode is how many bytes of registers the kernel gave."""
    stack, counter, size = _WHERE.unpack_from(data)
    return counter, size, stack


def pack(registers: dict[str, int]) -> bytes:
    """What PTRACE_SETREGSET takes, and room for the vector."""
    return _LAYOUT.pack(*(registers[each] for each in REGISTERS)) + bytes(_VECTOR.size)


def unpack(data: bytes | Buffer) -> dict[str, int]:
    """What PTRACE_GETREGSET gave, by name; unsigned."""
    return dict(zip(REGISTERS, _LAYOUT.unpack_from(data), strict=True))


def interrupted_at(stack: bytes) -> Iterator[int]:
    """As ``Threads.interrupted_at``: a frame is known by its first record's head."""
    for hit in _RECORD.finditer(stack):
        at = hit.start() - _BEFORE_RECORD
        if at >= 0 and hit.start() % _WORD == 0:
            yield int.from_bytes(stack[at : at + _WORD], "little")
