"""The registers of x86-64 by their roles, and Linux's system call numbers there."""

from patcher.isa.isa import Abi

_INTEGERS = ("rax", "rbx", "rcx", "rdi", "rsi", "r8", "r9", "r10", "r11")  # cmd/compile/abi-internal.md

ABI = Abi(
    program_counter="rip",
    stack_pointer="rsp",
    frame_pointer="rbp",
    goroutine="r14",
    arguments=_INTEGERS,
    results=_INTEGERS,
    kept=frozenset({"rsp", "rbp", "r14"}),
    pushed=8,
    stack_arguments=8,  # behind the return address
    first_on_stack="[rsp]",
    stack_alignment=1,
    framed=lambda entry, depth: entry - 8,  # cmd/internal/obj/x86/obj6.go: where the caller's is kept
    fini="rdx",
    system_number="rax",
    system_arguments=("rdi", "rsi", "rdx", "r10", "r8", "r9"),
    system_result="rax",
)
# arch/x86/entry/syscalls/syscall_64.tbl
SYSTEM_CALLS = {
    "sched_yield": 24,
    "nanosleep": 35,
    "prctl": 157,
    "futex": 202,
    "clock_gettime": 228,
    "clock_nanosleep": 230,
    "epoll_wait": 232,
    "epoll_pwait": 281,
    "seccomp": 317,
    "epoll_pwait2": 441,
}
