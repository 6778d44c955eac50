"""Wrong stubs of strategy netpoll are refused, and the refusal names what is wrong."""

import re

import pytest

from patcher.edit import Plan
from patcher.functions import Functions
from patcher.proof import prove
from patcher.strategies.netpoll_site import Site, locate
from patcher.wait import PRECISE
from tests.patcher.alter import Change
from tests.patcher.netpoll_stubs import refusal, right_plan


@pytest.fixture(scope="module")
def site(functions: Functions) -> Site:
    return locate(functions)


@pytest.fixture(scope="module", name="right")
def make_right(functions: Functions) -> Plan:
    return right_plan(functions, PRECISE)


def test_the_plan_as_it_is_holds(functions: Functions, right: Plan) -> None:
    proof = prove(functions, right, None)
    assert proof.cases == proof.passed > 300


SYSTEM_CALL: dict[str, tuple[tuple[Change, ...], str]] = {
    "timeout in another register": (
        (("mov r10, rsp", "mov r11, rsp"),),
        "expected the timespec in the spill space",
    ),
    "timeout outside the spill space": (
        (("mov r10, rsp", "lea r10, [rsp+8]"),),
        "expected the timespec in the spill space",
    ),
    "another system call": ((("mov eax, 441", "mov eax, 241"),), r"epoll_pwait2 \(441\) first, found 241"),
    "another fallback call": ((("mov eax, 281", "mov eax, 232"),), r"expected the stock waits \[281\], found \[232\]"),
    "seconds and nanoseconds swapped": (
        (("mov [rsp], rax", "mov [rsp], rdx"), ("mov [rsp+8], rdx", "mov [rsp+8], rax")),
        r"delay of 1 ns.*expected a timeout of \(0, 1\), found \(1, 0\)",
    ),
    "what epoll adds not subtracted": (
        (("sub rax, r10", ""),),
        r"delay of 999 ns.*expected a timeout of \(0, 992\), found \(0, 999\)",
    ),
    "a division by too little": (
        (("mov ecx, 1000000000#2", "mov ecx, 100000000"),),
        r"expected a timeout of \(0, 992187500\), found \(9, 92187500\)",
    ),
    "seconds of 32 bits": ((("div rcx#2", "div ecx"),), r"expected a timeout of \(992187, 500000000\), found \("),
    "a signal mask": (
        (("xor r8d, r8d", "mov r8d, 8"),),
        r"128, 4294967295, 0\) as in stock, found \(5, \d+, 128, 4294967295, 8\)",
    ),
    "fewer events": ((("mov dl, 128", "mov dl, 64"),), "epoll_pwait2 with stock's descriptor and events"),
    "fewer events in the fallback": (
        (("mov edx, 128", "mov edx, 64"),),
        r"expected epoll_pwait\(5, \d+, 128, \d+, 0\) as in stock, found \(5, \d+, 64, ",
    ),
    "events elsewhere": (
        (("lea rsi, [rsp+{events}]", "lea rsi, [rsp+{events}+12]"),),
        r"expected epoll_pwait\(5, \d+, 128, 4294967295, 0\) as in stock",
    ),
    "another descriptor": ((("mov edi, [{epfd}]", "mov edi, 7"),), r"as in stock, found \(7, "),
}

DECISION: dict[str, tuple[tuple[Change, ...], str]] = {
    "a poll asks epoll_pwait2": (
        (("jle {stock}", "jl {stock}"),),
        r"delay of 0 ns.*expected the stock waits \[281\], found \[441\]",
    ),
    "an endless wait asks epoll_pwait2": (
        (("jle {stock}", "je {stock}"),),
        r"delay of -\d+ ns.*expected the stock waits \[281\], found \[441\]",
    ),
    "epoll_pwait2 is never asked": ((("jle {stock}", "jmp {stock}"),), r"epoll_pwait2 \(441\) first, found 281"),
    "EINTR is taken for a refusal": (
        (("cmp eax, -4", "cmp eax, -40"),),
        r"epoll_pwait2 → -4,.*system call 281 is made once more",
    ),
    "EPERM is handed on": ((("cmp eax, -4", "cmp eax, -1"),), "epoll_pwait2 → -4,.*281 is made once more"),
    "every refusal is handed on": ((("je {done}", "jmp {done}"),), r"expected the stock waits \[281\], found \[\]"),
    "a result is tested by its lowest byte": (
        (("test eax, eax#1", "test al, al"),),
        "epoll_pwait2 → 128,.*281 is made once more",
    ),
    "the fallback's result is tested by its lowest byte": (
        (("test eax, eax#2", "test al, al"),),
        "epoll_pwait → .*expected rbx",
    ),
    "a refusal is taken for EINTR by its lowest byte": (
        (("cmp eax, -4", "cmp al, -4; nop"),),
        r"epoll_pwait2 → -260, .*expected the stock waits \[281\], found \[\]",
    ),
    "a result is taken for a refusal": ((("jns {done}", "js {done}"),), "epoll_pwait2 → 128,.*281 is made once more"),
    "the fallback never gives up": (
        (("mov edx, 128", "again: ; mov edx, 128"), ("sub ebx, eax", "js again")),
        r"epoll_pwait → \[-9\]: system call 281 is made once more",
    ),
    "epoll_pwait2 is asked again and again": (
        (("je {done}", "je {stock}"),),
        "epoll_pwait2 → -4,.*system call 281 is made once more",
    ),
}

MILLISECONDS: dict[str, tuple[tuple[Change, ...], str]] = {
    "rounded up": (
        (("mov ecx, 1000000", "add rax, 999999; mov ecx, 1000000"),),
        r"delay of 1000001 ns.*as in stock, found other bytes",
    ),
    "not at least 1": (
        (("adc eax, 0", ""), ("cmp eax, 1", "")),
        r"delay of 1 ns.*expected epoll_pwait2 \(441\) first, found 281",
    ),
    "not at most 10**9": (
        (("cmova eax, ecx", ""),),
        r"delay of 4294967296000001 ns.*as in stock, found other bytes",
    ),
    "lost before the fallback": ((("mov r10d, ebx", "mov r10d, ecx"),), r"expected epoll_pwait\(5, .* as in stock"),
    "-1 made 0": ((("mov ecx, edx", "xor ecx, ecx"),), r"delay of -\d+ ns.*expected epoll_pwait\(5"),
}

RESULT: dict[str, tuple[tuple[Change, ...], str]] = {
    "errno with its sign": ((("sub ebx, eax", "mov ebx, eax"),), "expected rbx = 0x9 as in stock, found 0xfffffff7"),
    "errno not cleared": ((("xor ebx, ebx", "xor ecx, ecx"),), "expected rbx = 0x0 as in stock"),
    "errno left out": ((("sub ebx, eax", "mov ecx, eax"),), "expected rbx = 0x9 as in stock, found 0x0"),
    "the number of events lost": ((("xor ebx, ebx", "xor eax, eax"),), "expected rbx = 0x0 as in stock"),
    "no way on from a failure": ((("sub ebx, eax", ""),), "the code faults"),
}

FRAME: dict[str, tuple[tuple[Change, ...], str]] = {
    "rbp lost": (
        (("mov r10, rsp", "mov r10, rsp; xor ebp, ebp"),),
        "expected rbp = 0x[0-9a-f]+ as in stock, found 0x0",
    ),
    "the events overwritten": (
        (("jmp {check}", "mov [rsp+{events}], eax; jmp {check}"),),
        "event",
    ),
    "g lost": (
        (("mov r10, rsp", "mov r10, rsp; xor r14d, r14d"),),
        "expected r14 = 0x[0-9a-f]+ as in stock, found 0x0",
    ),
    "rsp moved for good": (
        (("mov r10, rsp", "mov r10, rsp; sub rsp, 8"),),
        "bytes deep, pclntab states 0x[0-9a-f]+; the unwinder would go astray",
    ),
    "a push and a pop around the call": (
        (("syscall#1", "push rbx; syscall; pop rbx"),),
        "bytes deep, pclntab states 0x[0-9a-f]+; the unwinder would go astray",
    ),
    "a write below the frame": (
        (("mov r10, rsp", "mov r10, rsp; mov [rsp-8], rax"),),
        "expected writes inside netpoll's frame only",
    ),
    "a write above the frame": (
        (("mov r10, rsp", "mov r10, rsp; mov [rsp+{above}], rax"),),
        "expected writes inside netpoll's frame only",
    ),
    "the saved rbp overwritten": (
        (("mov r10, rsp", "mov r10, rsp; mov [rsp+{rbp}], rax"),),
        "as in stock, found other bytes",
    ),
    "the delay not kept": ((("mov [rsp+{delay}], rax", ""),), r"\[rsp\+0x63c, .* as in stock, found other bytes"),
    "the delay kept elsewhere": (
        (("mov [rsp+{delay}], rax", "mov [rsp+0x10], rax"), ("mov rax, r10", "mov rax, [rsp+0x10]")),
        "as in stock, found other bytes",
    ),
    "the wait kept elsewhere": (
        (("mov [rsp+{wait}], ecx", "mov [rsp+0x10], ecx"), ("mov ebx, [rsp+{wait}]", "mov ebx, [rsp+0x10]")),
        "as in stock, found other bytes",
    ),
    "an instruction that no case reaches": (
        (("mov r10, rsp", "mov r10, rsp; jmp on; nop; on: ; nop"),),
        "reached by no case",
    ),
    "a jump that no case takes": (
        (("mov r10, rsp", "mov r10, rsp; test rsp, rsp; je on; nop; on: ; nop"),),
        r"je 0x\w+ goes one way in every case",
    ),
    "what nobody has set decides": (
        (("xor r8d, r8d", "xor r8d, r8d; test r13, r13; js on; mov r8d, 8; on: ; nop"),),
        r"expected epoll_pwait\(5, .* as in stock",
    ),
}

# Go's ABIInternal promises these at every return from a call; compiled code zeroes memory with xmm15.
REGISTERS: dict[str, tuple[tuple[Change, ...], str]] = {
    "xmm15 not zero": ((("mov r10, rsp", "mov r10, rsp; pcmpeqd xmm15, xmm15"),), "xmm15"),
    "the direction flag set": ((("mov r10, rsp", "mov r10, rsp; std"),), "flag"),
}

WRONG = {**SYSTEM_CALL, **DECISION, **MILLISECONDS, **RESULT, **FRAME, **REGISTERS}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_stub_is_refused_by_name(functions: Functions, site: Site, right: Plan, what: str) -> None:
    changes, named = WRONG[what]
    message = refusal(functions, site, right, *changes)
    assert re.search(named, message)
