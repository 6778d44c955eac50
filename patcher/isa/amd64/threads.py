"""A stopped thread of x86-64 as the kernel shows it: its registers, and where its signal frames hide others.

No decoder, no assembler and no emulator is imported here: the agent reads this beside a stopped process.
"""

import ctypes
import re
import struct
from collections.abc import Iterator

from patcher.isa.threads import Buffer

READ, WRITE = (12, 0), (13, 0)  # PTRACE_GETREGS, PTRACE_SETREGS (linux/ptrace.h)
#: struct user_regs_struct, in order (arch/x86/include/asm/user_64.h).
REGISTERS = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)  # fmt: skip
_LAYOUT = struct.Struct(f"<{len(REGISTERS)}Q")
_WHERE = struct.Struct(f"<{8 * REGISTERS.index('rip')}xQQ8xQ")  # rip, cs, (eflags), rsp
SIZE = _LAYOUT.size
PROGRAM_COUNTER, STACK_POINTER, RESULT, IN_SYSTEM_CALL = "rip", "rsp", "rax", "orig_rax"
AUDIT_ARCH = 0xC000003E  # AUDIT_ARCH_X86_64 (linux/audit.h)
#: A thread that is put elsewhere is in no system call any more, for the kernel would move its counter back.
OUT_OF_CALL = {IN_SYSTEM_CALL: (1 << 64) - 1}
MODE = 0x33  # __USER_CS: a thread that runs 64-bit code (arch/x86/include/asm/segment.h)
_WORD = 8
# struct sigcontext (arch/x86/include/uapi/asm/sigcontext.h) holds … sp, ip, flags, then cs, gs, fs, ss as 16 bits each.
_SELECTORS = re.compile(re.escape(struct.pack("<4H", MODE, 0, 0, 0x2B)), re.DOTALL)
_BEFORE_SELECTORS = 2 * _WORD


def ready(buffer: Buffer) -> int:
    """As ``Threads.ready``."""
    return ctypes.addressof(buffer)


def pack(registers: dict[str, int]) -> bytes:
    """What PTRACE_SETREGS takes."""
    return _LAYOUT.pack(*(registers[each] for each in REGISTERS))


def unpack(data: bytes | Buffer) -> dict[str, int]:
    """What PTRACE_GETREGS gave, by name; unsigned."""
    return dict(zip(REGISTERS, _LAYOUT.unpack(data), strict=True))


def where(data: Buffer) -> tuple[int, int, int]:
    """The program counter, the code selector (the mode) and the stack pointer of what PTRACE_GETREGS gave."""
    counter, selector, stack = _WHERE.unpack_from(data)
    return counter, selector, stack


def interrupted_at(stack: bytes) -> Iterator[int]:
    """The program counters in what may be signal frames among these bytes of a stack, which begin at a whole word.

    A frame is known by its saved selectors. One that only looks like one is given too: whoever asks must take a
    counter for a doubt, not for a fact.
    """
    for hit in _SELECTORS.finditer(stack):
        at = hit.start() - _BEFORE_SELECTORS
        if at >= 0 and hit.start() % _WORD == 0:
            yield int.from_bytes(stack[at : at + _WORD], "little")
