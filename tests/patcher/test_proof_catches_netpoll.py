"""Wrong stubs of strategy netpoll are refused, and the refusal names what is wrong."""

import re

import pytest

from patcher.edit.edit import Plan
from patcher.golang.functions import Functions
from patcher.proving import prove
from patcher.strategies.netpoll.amd64_site import Site, locate
from patcher.strategies.strategy import Options
from patcher.wait import PRECISE
from tests.patcher.alter import Change
from tests.patcher.netpoll_stubs import refusal, right_plan


@pytest.fixture(scope="module")
def site(functions: Functions) -> Site:
    return locate(functions)[0]


@pytest.fixture(scope="module", name="right")
def make_right(functions: Functions) -> Plan:
    return right_plan(functions, PRECISE)


def test_the_plan_as_it_is_holds(functions: Functions, right: Plan) -> None:
    proof = prove(functions, right, Options())
    assert proof.cases == proof.passed > 300


SYSTEM_CALL: dict[str, tuple[tuple[Change, ...], str]] = {
    "timeout in another register": (
        (("mov eax, 441", "mov eax, 441; mov r11, r10; mov r10, rdx"),),
        "expected the timespec in the spill space",
    ),
    "timeout outside the spill space": (
        (("mov r10, rsp", "lea r10, [rsp+8]"),),
        "expected the timespec in the spill space",
    ),
    "another system call": ((("mov eax, 441", "mov eax, 241"),), r"epoll_pwait2 \(441\) first, found 241"),
    "another fallback call": ((("mov eax, 281", "mov eax, 232"),), r"expected the stock waits \[281\], found \[232\]"),
    "seconds and nanoseconds swapped": (
        (("mov [r10], rax", "mov [r10], rdx"), ("mov [r10+8], rdx", "mov [r10+8], rax")),
        r"delay of 1 ns.*expected a timeout of \(0, 1\), found \(1, 0\)",
    ),
    "what epoll adds not subtracted": (
        (("sub rax, r10", ""),),
        r"delay of 999 ns.*expected a timeout of \(0, 992\), found \(0, 999\)",
    ),
    "a division by too little": (
        (("div rcx#2", "mov ecx, 100000000; div rcx"),),
        r"expected a timeout of \(0, 992187500\), found \(9, 92187500\)",
    ),
    "seconds of 32 bits": ((("div rcx#2", "div ecx"),), r"expected a timeout of \(992187, 500000000\), found \("),
    "a signal mask": (
        (("xor r8d, r8d", "mov r8d, edx"),),
        r"128, 4294967295, 0\) as in stock, found \(5, \d+, 128, 4294967295, \d+\)",
    ),
    "fewer events": ((("mov dl, 128", "mov dl, 64"),), r"as in stock, found \(5, \d+, 64, "),
    "the number of events with stale bits": (
        (("xor edx, edx#2", ""),),
        r"as in stock, found \(5, \d+, \d{4,}, ",
    ),
    "events elsewhere": (
        (("lea rsi, [rsp+{events}]", "lea rsi, [rsp+{events}+12]"),),
        r"expected epoll_pwait\(5, \d+, 128, 4294967295, 0\) as in stock",
    ),
    "another descriptor": ((("mov edi, [{epfd}]", "mov edi, 7"),), r"as in stock, found \(7, "),
}

DECISION: dict[str, tuple[tuple[Change, ...], str]] = {
    "a poll asks epoll_pwait2": (
        (("jle endless", "jl endless"),),
        r"delay of 0 ns.*expected the stock waits \[281\], found \[441\]",
    ),
    "an endless wait asks epoll_pwait2": (
        (("jle endless", "je endless"),),
        r"delay of -\d+ ns.*the code faults at",
    ),
    "epoll_pwait2 is never asked": ((("jle endless", "jmp endless"),), r"epoll_pwait2 \(441\) first, found 281"),
    "EINTR is taken for a refusal": (
        (("cmp ebx, 4", "cmp ebx, 40"),),
        r"epoll_pwait2 → -4,.*system call 281 is made once more",
    ),
    "EPERM is handed on": ((("cmp ebx, 4", "cmp ebx, 1"),), "epoll_pwait2 → -4,.*281 is made once more"),
    "every refusal is handed on": ((("je done", "jmp done"),), r"expected the stock waits \[281\], found \[\]"),
    "a result is tested by its lowest byte": (
        (("test eax, eax", "test al, al"),),
        r"epoll_pwait → \[-4094\]: expected rbx = 0xffe as in stock, found 0x0",
    ),
    "a refusal is taken for EINTR by its lowest byte": (
        (("cmp ebx, 4", "cmp bl, 4; nop"),),
        r"epoll_pwait2 → -260, .*expected the stock waits \[281\], found \[\]",
    ),
    "a result is taken for a refusal": ((("jns done", "js done"),), "expected rbx = 0x0 as in stock"),
    "the fallback never gives up": (
        (("cmp r10, rsp", "cmp r10, r10"),),
        r"epoll_pwait → \[-9\]: system call 281 is made once more",
    ),
    "the refused call is made again": (
        (("je {stock}", "je {ask}"),),
        r"expected the stock waits \[281\], found \[\d+\]",
    ),
}

MILLISECONDS: dict[str, tuple[tuple[Change, ...], str]] = {
    "rounded up": (
        (("mov ecx, 1000000", "add rax, 999999; mov ecx, 1000000"),),
        r"delay of 1000001 ns.*as in stock, found other bytes",
    ),
    "not at least 1": (
        (("adc eax, 0", ""), ("cmp eax, 1", "")),
        r"delay of 1 ns.*as in stock, found other bytes",
    ),
    "not at most 10**9": (
        (("cmova eax, ecx", ""),),
        r"delay of 4294967296000001 ns.*as in stock, found other bytes",
    ),
    "lost before the fallback": (
        (("mov r10d, [rsp+{wait}]", "mov r10d, esp"),),
        r"expected epoll_pwait\(5, .* as in stock",
    ),
    "an endless wait made another": (
        (("mov [rsp+{wait}], edx", "mov [rsp+{wait}], ecx"),),
        r"delay of -\d+ ns.*expected epoll_pwait\(5",
    ),
}

RESULT: dict[str, tuple[tuple[Change, ...], str]] = {
    "errno with its sign": ((("sub ebx, eax", "mov ebx, eax"),), "expected rbx = 0x9 as in stock, found 0xfffffff7"),
    "errno not cleared": ((("xor ebx, ebx", "xor ecx, ecx"),), "expected rbx = 0x0 as in stock"),
    "errno left out": ((("sub ebx, eax", "mov ecx, eax"),), "expected rbx = 0x9 as in stock, found 0x0"),
    "the number of events lost": ((("xor ebx, ebx", "xor eax, eax"),), "expected rbx = 0x0 as in stock"),
    "no way on": ((("jmp {join}", "int3"),), "the code faults"),
}

FRAME: dict[str, tuple[tuple[Change, ...], str]] = {
    "rbp lost": (
        (("mov r10, rsp", "mov r10, rsp; xor ebp, ebp"),),
        "expected rbp = 0x[0-9a-f]+ as in stock, found 0x0",
    ),
    "the events overwritten": (
        (("jmp {ask}", "mov [rsp+{events}], eax; jmp {ask}"),),
        "event",
    ),
    "g lost": (
        (("mov r10, rsp", "mov r10, rsp; xor r14d, r14d"),),
        "expected r14 = 0x[0-9a-f]+ as in stock, found 0x0",
    ),
    "rsp moved for good": (
        (("mov eax, 441", "mov eax, 441; sub rsp, 8"),),
        "bytes deep, pclntab states 0x[0-9a-f]+; the unwinder would be misled",
    ),
    "a push and a pop": (
        (("mov eax, 441", "push rbx; mov eax, 441; pop rbx"),),
        "bytes deep, pclntab states 0x[0-9a-f]+; the unwinder would be misled",
    ),
    "a write below the frame": (
        (("mov r10, rsp", "mov r10, rsp; mov [rsp-8], rax"),),
        "expected writes inside the frame only",
    ),
    "a write above the frame": (
        (("mov r10, rsp", "mov r10, rsp; mov [rsp+{above}], rax"),),
        "expected writes inside the frame only",
    ),
    "the saved rbp overwritten": (
        (("mov r10, rsp", "mov r10, rsp; mov [rsp+{rbp}], rax"),),
        "as in stock, found other bytes",
    ),
    "the delay not kept": ((("mov [rsp+{delay}], rax", ""),), r"\[rsp\+0x63c, .* as in stock, found other bytes"),
    "the delay kept elsewhere": (
        (("mov [rsp+{delay}], rax", "mov [rsp+0x10], rax"),),
        "as in stock, found other bytes",
    ),
    "the wait kept elsewhere": (
        (("mov [rsp+{wait}], eax", "mov [rsp+0x10], eax"),),
        "as in stock, found other bytes",
    ),
    "an instruction that no case reaches": (
        (("mov r10, rsp", "mov r10, rsp; jmp beyond; nop; beyond: ; nop"),),
        "reached by no case",
    ),
    "a jump that no case takes": (
        (("mov r10, rsp", "mov r10, rsp; test rsp, rsp; je beyond; nop; beyond: ; nop"),),
        r"je 0x\w+ goes one way in every case",
    ),
    "what nobody has set decides": (
        (("mov eax, 441", "mov eax, 441; test r13, r13; js beyond; mov eax, 281; beyond: ; nop"),),
        r"epoll_pwait2 \(441\) first, found 281",
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
