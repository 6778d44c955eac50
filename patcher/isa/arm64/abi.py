"""The registers of AArch64 by their roles, and Linux's system call numbers there."""

from patcher.isa.isa import Abi

_INTEGERS = tuple(f"x{number}" for number in range(16))  # cmd/compile/abi-internal.md, "arm64 architecture"

ABI = Abi(
    program_counter="pc",
    stack_pointer="sp",
    frame_pointer="x29",
    goroutine="x28",
    arguments=_INTEGERS,
    results=_INTEGERS,
    kept=frozenset({"sp", "x18", "x28", "x29"}),  # x18 is the platform's (AAPCS64)
    pushed=0,
    stack_arguments=8,  # behind the slot in which the callee's caller keeps the return address
    first_on_stack="[sp+8]",
    stack_alignment=16,  # a load or store by sp faults where it is not (Arm ARM, D1.8.2)
    framed=lambda entry, depth: entry - depth - 8,  # cmd/internal/obj/arm64/obj7.go: below the frame
    fini="x0",
    system_number="x8",
    system_arguments=("x0", "x1", "x2", "x3", "x4", "x5"),
    system_result="x0",
)
# include/uapi/asm-generic/unistd.h, which has no epoll_wait
SYSTEM_CALLS = {
    "epoll_pwait": 22,
    "futex": 98,
    "nanosleep": 101,
    "clock_gettime": 113,
    "clock_nanosleep": 115,
    "sched_yield": 124,
    "prctl": 167,
    "seccomp": 277,
    "epoll_pwait2": 441,
}
