"""Code that is not as a strategy expects is refused by name: what was expected, what was found. Nothing is written."""

import re
from pathlib import Path

import pytest

from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.golang.syscalls import USLEEP
from tests.patcher.mutate import found_in, put, refusal, write

NETPOLL, SLEEP = "runtime.netpoll", "time.Sleep"


# instruction as it is, what takes its place, what the refusal names
NETPOLL_SHAPES = {
    "epfd compared with another value": (
        r"cmp dword ptr \[rip \+ \w+\], -1",
        "cmp dword ptr [rip + 0x200000], -2",
        r"expected a test of the delay behind cmp dword \[epfd\], -1 and its conversion, found none",
    ),
    "epfd read from elsewhere": (
        r"mov eax, dword ptr \[rip \+ \w+\]",
        "mov eax, [rip + 0x200000]",
        r"expected a test of the delay behind cmp dword \[epfd\], -1 and its conversion, found none",
    ),
    "no test of the delay": (r"test rax, rax", "mov rax, rcx", r"expected a test of the delay, found .*mov rax, rcx"),
    "a test of half the delay": (r"test rax, rax", "test eax, eax", r"expected a test of the delay, found .*test eax"),
    "no millisecond": (r"cmp rax, 0xf4240", "cmp rax, 0xf4241", r"expected the constant 1e6 in the delay's conversion"),
    "another largest delay": (
        r"movabs rdx, 0x38d7ea4c68000",
        "movabs rdx, 0x38d7ea4c68001",
        "expected the constant 1e15 in the delay's conversion",
    ),
    "another largest wait": (r"mov edx, 0x3b9aca00", "mov edx, 0x3b9aca01", "expected the constant 1e9"),
    "another shortest wait": (r"mov edx, 1", "mov edx, 2", "expected the constant 1 in the delay's conversion"),
    "an event array of another size": (
        r"mov ecx, 0xc0",
        "mov ecx, 0xb0",
        r"expected 1536 bytes of events to be zeroed at stack (0x\w+), found 1408 at \1",
    ),
    "events elsewhere": (
        r"lea rbx, \[rsp \+ \w+\]",
        "lea rbx, [rsp + {slot} + 0xc]",
        r"expected 1536 bytes of events to be zeroed at stack (0x\w+), found 1536 at (?!\1)",
    ),
    "another number of events": (
        r"mov ecx, 0x80",
        "mov ecx, 0x40",
        "expected room for 128 events, found constant 0x40",
    ),
    "another capacity": (r"mov esi, 0x80", "mov esi, 0x40", "expected room for 128 events, found constant 0x40"),
    "the wait in another register": (
        r"mov r8d, edx",
        "mov r9d, edx",
        r"expected the delay or the milliseconds to be kept at \[rsp\+0x\w+\], found register d",
    ),
    "a computation on the way to the call": (
        r"mov edi, ecx",
        "add edi, ecx",
        r"expected values moved to the call of EpollWait, found 0x\w+: add edi, ecx",
    ),
    "another value kept": (
        r"mov dword ptr \[rsp \+ \w+\], edx",
        "mov dword ptr [rsp+{slot}], esi",
        r"expected the delay or the milliseconds to be kept at \[rsp\+0x\w+\], found register si",
    ),
    "another result looked at": (r"test rbx, rbx", "test rax, rax", r"expected test ebx, ebx behind the call, found "),
    "a retry of timed waits too": (r"jle 0x\w+", "jl {target}", "expected one test of waitms > 0 .* found 0"),
    "a retry at another place": (r"jle 0x\w+", "jle {target} + 3", "expected one way back to the call, found 2"),
    "a jump into the conversion": (
        r"jae 0x\w+",
        "jae {to[cmp rax, 0xf4240]}",
        r"expected a test of the delay behind cmp dword \[epfd\], -1 and its conversion, found none",
    ),
    "a jump of unknown target": (r"mov r9, rcx", "jmp rcx", r"expected direct jumps only, found 0x\w+: jmp rcx"),
}
SLEEP_SHAPES = {
    "another test": (r"test rax, rax", "test rbx, rbx", r"expected test rax, rax, found 0x\w+: test rbx, rbx"),
    "a sleep of zero": (r"jle 0x\w+", "jl {target}", r"expected jle, found 0x\w+: jl 0x\w+"),
    "a jump into the body from outside": (
        "jmp {start}",  # back to the beginning, with a larger stack
        "jmp {middle}",
        r"expected no jump into the body from outside, found 0x\w+: jmp 0x\w+",
    ),
    "an epilogue elsewhere": (
        r"jle 0x\w+",
        "jle {target} + 2",
        r"expected the epilogue at 0x\w+, found no instruction starting there",
    ),
    "another frame": (
        r"sub rsp, 0x\w+",
        "sub rsp, 0x70",
        r"expected a frame of 0x70 to be freed, found 0x\w+: add rsp, 0x",
    ),
}
USLEEP_SHAPES = {
    "no second": (r"mov ecx, 0xf4240", "mov ecx, 0xf4241", r"expected mov ecx, 1000000, found 0x\w+: mov ecx, 0xf4241"),
    "no microsecond": (r"mov eax, 0x3e8", "mov eax, 0x3e9", r"expected mov eax, 1000, found 0x\w+: mov eax, 0x3e9"),
    "another system call": (r"mov eax, 0x23", "mov eax, 0x22", r"expected mov eax, 35, found 0x\w+: mov eax, 0x22"),
    "no system call": (r"syscall", "ud2", r"expected syscall, found 0x\w+: ud2"),
    "another timespec": (r"mov rdi, rsp", "mov rdi, rbp", r"expected mov rdi, rsp, found 0x\w+: mov rdi, rbp"),
    "the argument elsewhere": (
        r"mov eax, dword ptr \[rsp \+ \w+\]",
        "mov eax, [rsp + {slot} + 8]",
        r"expected mov eax, \[microseconds\], found 0x\w+: mov eax, dword ptr \[rsp \+ 0x\w+\]",
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
    "another register tested": (r"test rax, rax", "test rcx, rcx", r"delay of -\d+ ns.*as in stock, found other bytes"),
    "branches that do not meet": (
        r"jmp 0x\w+",
        "jmp {to[cmp rax, 0xf4240]}",
        r"delay of -\d+ ns.*expected epoll_pwait\(5, \d+, 128, 1, 0\) as in stock",
    ),
    "another register kept": (
        r"mov qword ptr \[rsp \+ \w+\], rcx",
        "mov [rsp+{slot}], rbx",
        r"delay of -\d+ ns.*as in stock, found other bytes",
    ),
    "another retried error": (r"cmp rbx, 4", "cmp rbx, 5", r"delay of -\d+ ns.*epoll_pwait → \[-4, -4, 2\]: "),
    "the wait reloaded from another slot": (
        r"mov r8d, dword ptr \[rsp \+ \w+\]",
        "mov r8d, [rsp + {slot} + 8]",
        r"delay of -\d+ ns.*expected epoll_pwait\(5, \d+, 128, 4294967295, 0\) as in stock",
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
        rf"runtime.netpoll: expected amd64 instructions up to 0x\w+, found bytes that are none at {victim.address:#x}"
    )
    assert re.search(expected, refusal(program, "netpoll"))


def test_a_call_of_another_function_is_refused_by_name(program: Path) -> None:
    functions = Functions(read_image(program))
    callee = functions.one("internal/runtime/syscall/linux.EpollWait").start
    other = functions.one("internal/runtime/syscall/linux.Syscall6").start
    put(program, NETPOLL, f"call {callee:#x}", f"call {other:#x}")
    expected = r"runtime\.netpoll at 0x\w+: expected 281 in a, found memory 0x\w+"
    assert re.search(expected, refusal(program, "netpoll"))
