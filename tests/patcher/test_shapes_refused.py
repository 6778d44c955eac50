"""Code that is not as a strategy expects is refused by name: what was expected, what was found. Nothing is written."""

import re
from pathlib import Path

import pytest

from patcher.errors import ProofFailed
from patcher.functions import Functions
from patcher.image import read_image
from patcher.strategies.usleep import USLEEP
from tests.patcher.mutate import found_in, put, refusal, write

NETPOLL, SLEEP = "runtime.netpoll", "time.Sleep"


# instruction as it is, what takes its place, what the refusal names
NETPOLL_SHAPES = {
    "no stack check of g": (r"cmp r12, .*", "cmp r12, [r14 + 0x18]", r"expected cmp rsp, \[r14\+16\], found .*0x18"),
    "no frame": (r"sub rsp, 0x\w+", "add rsp, 8", r"expected sub rsp, n, found 0x\w+: add rsp, 8"),
    "epfd compared with another value": (
        r"cmp dword ptr \[rip \+ \w+\], -1",
        "cmp dword ptr [rip + 0x200000], -2",
        r"expected cmp dword \[epfd\], -1, found 0x\w+: cmp dword ptr \[rip \+ 0x200000\], -2",
    ),
    "epfd read from elsewhere": (
        r"mov eax, dword ptr \[rip \+ \w+\]",
        "mov eax, [rip + 0x200000]",
        r"expected mov eax, \[epfd\], found 0x\w+: mov eax, dword ptr \[rip",
    ),
    "another test of the delay": (
        r"test rax, rax",
        "test rcx, rcx",
        r"expected test rax, rax, found 0x\w+: test rcx, rcx",
    ),
    "no millisecond": (r"cmp rax, 0xf4240", "cmp rax, 0xf4241", r"expected the constant 1e6 in the delay's conversion"),
    "another largest delay": (
        r"movabs rdx, 0x38d7ea4c68000",
        "movabs rdx, 0x38d7ea4c68001",
        "expected the constant 1e15 in the delay's conversion",
    ),
    "another largest wait": (r"mov edx, 0x3b9aca00", "mov edx, 0x3b9aca01", "expected the constant 1e9"),
    "another shortest wait": (r"mov edx, 1", "mov edx, 2", "expected the constant 1 in the delay's conversion"),
    "branches that do not meet": (r"jmp 0x\w+", "jmp {start} + 0x40", "to meet in one place, found 2"),
    "the delay spilled from another register": (
        r"mov qword ptr \[rsp \+ \w+\], rcx",
        "mov [rsp+0x670], rbx",
        r"expected mov \[rsp\+n\], rcx, found 0x\w+: mov qword ptr \[rsp \+ 0x670\], rbx",
    ),
    "an event array of another size": (r"mov ecx, 0xc0", "mov ecx, 0xb0", r"expected mov ecx, 192, found .*0xb0"),
    "another number of events": (
        r"mov ecx, 0x80",
        "mov ecx, 0x40",
        r"expected mov ecx, 128, found 0x\w+: mov ecx, 0x40",
    ),
    "another capacity": (r"mov esi, 0x80", "mov esi, 0x40", r"expected mov esi, 128, found 0x\w+: mov esi, 0x40"),
    "the wait in another register": (r"mov r8d, edx", "mov r9d, edx", r"expected mov r8d, edx, found .*mov r9d, edx"),
    "another retried error": (r"cmp rbx, 4", "cmp rbx, 5", r"expected cmp errno, EINTR, found 0x\w+: cmp rbx, 5"),
    "the wait reloaded from another slot": (
        r"mov r8d, dword ptr \[rsp \+ 0x2c\]",
        "mov r8d, [rsp + 0x34]",
        r"expected mov r32, \[waitms\], found 0x\w+: mov r8d, dword ptr \[rsp \+ 0x34\]",
    ),
    "a retry of timed waits too": (r"jle 0x\w+31", "jl {start} + 0xb1", r"expected jle, found 0x\w+: jl "),
    "a retry at another place": (
        r"jle 0x\w+31",
        "jle {start} + 0xb4",
        r"expected a retry at 0x\w+, found one at 0x\w+",
    ),
    "a jump into the conversion": (
        r"jae 0x\w+",
        "jae {start} + 0x40",
        r"expected no jump into the stub's place, found 0x\w+: jae 0x\w+",
    ),
    "a jump of unknown target": (r"mov r9, rcx", "jmp rcx", r"expected direct jumps only, found 0x\w+: jmp rcx"),
    "the delay's slot written again": (
        r"mov qword ptr \[rsp \+ 0x668\], rbx",
        "mov [rsp + 0x670], rbx",
        r"expected the delay's slot to be written once, found 0x\w+: mov qword ptr \[rsp \+ 0x670\], rbx",
    ),
    "the spill space read": (
        r"mov ebx, dword ptr \[rsp \+ 0x658\]",
        "mov ebx, [rsp + 8]",
        r"expected the spill space to be read by nobody, found 0x\w+: mov ebx, dword ptr \[rsp \+ 8\]",
    ),
}
SLEEP_SHAPES = {
    "another test": (r"test rax, rax", "test rbx, rbx", r"expected test rax, rax, found 0x\w+: test rbx, rbx"),
    "a sleep of zero": (r"jle 0x\w+", "jl {start} + 0x16b", r"expected jle, found 0x\w+: jl 0x\w+"),
    "a jump into the body from outside": (
        "jmp {start}",  # back to the beginning, with a larger stack
        "jmp {start} + 0x60",
        r"expected no jump into the body from outside, found 0x\w+: jmp 0x\w+",
    ),
    "an epilogue elsewhere": (
        r"jle 0x\w+",
        "jle {start} + 0x16d",
        r"expected the epilogue at 0x\w+, found no instruction starting there",
    ),
    "another frame": (
        r"sub rsp, 0x48",
        "sub rsp, 0x50",
        r"expected a frame of 0x50 to be freed, found 0x\w+: add rsp, 0x48",
    ),
}
USLEEP_SHAPES = {
    "no second": (r"mov ecx, 0xf4240", "mov ecx, 0xf4241", r"expected mov ecx, 1000000, found 0x\w+: mov ecx, 0xf4241"),
    "no microsecond": (r"mov eax, 0x3e8", "mov eax, 0x3e9", r"expected mov eax, 1000, found 0x\w+: mov eax, 0x3e9"),
    "another system call": (r"mov eax, 0x23", "mov eax, 0x22", r"expected mov eax, 35, found 0x\w+: mov eax, 0x22"),
    "no system call": (r"syscall", "ud2", r"expected syscall, found 0x\w+: ud2"),
    "another timespec": (r"mov rdi, rsp", "mov rdi, rbp", r"expected mov rdi, rsp, found 0x\w+: mov rdi, rbp"),
    "the argument elsewhere": (
        r"mov eax, dword ptr \[rsp \+ 0x20\]",
        "mov eax, [rsp + 0x28]",
        r"expected mov eax, \[microseconds\], found 0x\w+: mov eax, dword ptr \[rsp \+ 0x28\]",
    ),
    "a remaining time asked for": (r"mov esi, 0", "mov rsi, rsp", r"expected mov esi, 0, found 0x\w+: mov rsi, rsp"),
}


@pytest.mark.parametrize("what", NETPOLL_SHAPES)
def test_an_unknown_netpoll_is_refused_by_name(program: Path, what: str) -> None:
    instruction, replacement, named = NETPOLL_SHAPES[what]
    put(program, NETPOLL, instruction, replacement)
    assert re.search("program: runtime.netpoll.*" + named, refusal(program, "netpoll"))


@pytest.mark.parametrize("what", SLEEP_SHAPES)
def test_an_unknown_sleep_is_refused_by_name(program: Path, what: str) -> None:
    instruction, replacement, named = SLEEP_SHAPES[what]
    put(program, SLEEP, instruction, replacement)
    assert re.search("program: time.Sleep: " + named, refusal(program, "sleep"))


@pytest.mark.parametrize("what", USLEEP_SHAPES)
def test_an_unknown_usleep_is_refused_by_name(program: Path, what: str) -> None:
    instruction, replacement, named = USLEEP_SHAPES[what]
    put(program, USLEEP, instruction, replacement)
    assert re.search("program: runtime.usleep: " + named, refusal(program, "usleep"))


# What the shape does not tell apart, the comparison with the stock function does.
CONVERSIONS = {
    "another factor": (
        r"movabs rax, 0x8637bd05af6c69b6",
        "movabs rax, 0x8637bd05aff069b6",
        "delay of 999999999999999 ns",
    ),
    "another shift": (r"shr rdx, 0x13", "shr rdx, 0x12", "delay of 1000000 ns"),
    "another endless wait": (
        r"mov edx, 0xffffffff",
        "mov edx, 0xfffffffe",
        r"delay of -\d+ ns.*expected epoll_pwait\(5, \d+, 128, 4294967294, 0\) as in stock",
    ),
    "another frame": (
        r"sub rsp, 0x680",
        "sub rsp, 0x690",
        "the stack is 0x698 bytes deep, pclntab states 0x688; the unwinder would go astray",
    ),
}


@pytest.mark.parametrize("what", CONVERSIONS)
def test_a_netpoll_that_computes_otherwise_is_refused_by_the_proof(program: Path, what: str) -> None:
    instruction, replacement, named = CONVERSIONS[what]
    put(program, NETPOLL, instruction, replacement)
    assert re.search(named, refusal(program, "netpoll", ProofFailed))


def test_bytes_that_are_no_instructions_are_refused_by_name(program: Path) -> None:
    functions = Functions(read_image(program))
    victim = found_in(functions, NETPOLL, "mov r9, rcx")
    write(program, functions.image.offset_of(victim.address), b"\x06\x06\x06")
    expected = (
        rf"runtime.netpoll: expected x86-64 instructions up to 0x\w+, found bytes that are none at {victim.address:#x}"
    )
    assert re.search(expected, refusal(program, "netpoll"))


def test_a_call_of_another_function_is_refused_by_name(program: Path) -> None:
    functions = Functions(read_image(program))
    callee = functions.one("internal/runtime/syscall/linux.EpollWait").start
    other = functions.one("internal/runtime/syscall/linux.Syscall6").start
    put(program, NETPOLL, f"call {callee:#x}", f"call {other:#x}")
    expected = r"expected a call of EpollWait at 0x\w+, found internal/runtime/syscall/linux\.Syscall6"
    assert re.search(expected, refusal(program, "netpoll"))
