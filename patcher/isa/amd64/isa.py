"""x86-64 as an instruction set."""

import re

from patcher.isa.amd64 import threads
from patcher.isa.amd64.abi import ABI, SYSTEM_CALLS
from patcher.isa.amd64.asm import assemble
from patcher.isa.amd64.calls import direct_calls, sets_first, sets_second, takes_stack
from patcher.isa.amd64.code import decode, instruction_starts
from patcher.isa.amd64.flow import Amd64Flow
from patcher.isa.isa import Isa
from patcher.isa.processor import Processor


def _processor() -> Processor:
    from patcher.isa.amd64.processor import Amd64Processor

    return Amd64Processor()


AMD64 = Isa(
    name="amd64",
    machine=62,  # EM_X86_64 (elf.h)
    kernel="x86_64",
    relative=8,  # R_X86_64_RELATIVE (elf.h)
    page=4096,
    quantum=1,  # cmd/internal/sys/arch.go, MinLC
    trap=b"\xcc",  # int3
    nop=b"\x90",
    padding=b"\xcc",  # cmd/link/internal/amd64/obj.go, CodePad
    breakpoints=(b"\xcc",),
    used=frozenset({
        "adc", "call", "cmova", "cmovge", "cmovl", "cmp", "cqo", "div", "ja", "je", "jle", "jmp", "jns", "js",
        "lea", "mov", "movabs", "shr", "sub", "syscall", "test", "xchg", "xor",
    }),
    system_calls=SYSTEM_CALLS,
    abi=ABI,
    threads=threads,
    decode=decode,
    starts=instruction_starts,
    assemble=assemble,
    flow=Amd64Flow,
    direct_calls=direct_calls,
    sets_first=sets_first,
    sets_second=sets_second,
    traced=lambda register: re.sub(r"^r(?=[a-z])", "", register),  # arch/x86/kernel/ptrace.c, regoffset_table
    takes_stack=takes_stack,
    processor=_processor,
)  # fmt: skip
