"""AArch64 as an instruction set."""

from patcher.isa.arm64 import threads
from patcher.isa.arm64.abi import ABI, SYSTEM_CALLS
from patcher.isa.arm64.asm import assemble
from patcher.isa.arm64.calls import direct_calls, sets_first, sets_second, starts, takes_stack
from patcher.isa.arm64.code import decode
from patcher.isa.arm64.flow import Arm64Flow
from patcher.isa.isa import Isa
from patcher.isa.processor import Processor


def _processor() -> Processor:
    from patcher.isa.arm64.processor import Arm64Processor

    return Arm64Processor()


ARM64 = Isa(
    name="arm64",
    machine=183,  # EM_AARCH64 (elf.h)
    kernel="aarch64",
    relative=1027,  # R_AARCH64_RELATIVE (elf.h)
    page=65_536,
    quantum=4,  # cmd/internal/sys/arch.go, MinLC
    trap=b"\x00\x00\x20\xd4",  # brk #0
    nop=b"\x1f\x20\x03\xd5",
    padding=b"\0",  # cmd/link/internal/arm64/obj.go has no CodePad
    # brk #0, debuggers'; brk #5, uprobes' (arch/arm64/include/asm/brk-imm.h)
    breakpoints=(b"\x00\x00\x20\xd4", b"\xa0\x00\x20\xd4"),
    used=frozenset({
        "add", "b", "b.eq", "b.mi", "ccmn", "ccmp", "cinc", "cmp", "csel", "csinv", "csneg", "mov", "movk", "msub",
        "stp", "str", "sub", "subs", "svc", "udiv",
    }),
    system_calls=SYSTEM_CALLS,
    abi=ABI,
    threads=threads,
    decode=decode,
    starts=starts,
    assemble=assemble,
    flow=Arm64Flow,
    direct_calls=direct_calls,
    sets_first=sets_first,
    sets_second=sets_second,
    traced=lambda register: register,  # arch/arm64/kernel/ptrace.c, regoffset_table
    takes_stack=takes_stack,
    processor=_processor,
)  # fmt: skip
