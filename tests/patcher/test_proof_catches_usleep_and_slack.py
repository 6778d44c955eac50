"""Wrong stubs of strategies usleep and slack are refused, and the refusal names what is wrong."""

import re

import pytest

from patcher.edit.edit import Plan
from patcher.edit.room import Room
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.proving import prove
from patcher.strategies.slack import amd64 as slack
from patcher.strategies.strategy import MOST_NS, Options
from patcher.strategies.usleep import amd64 as usleep
from tests.patcher.alter import Change, altered

SLACK_NS = 12_345


@pytest.fixture(scope="module")
def usleep_plan(functions: Functions) -> Plan:
    return usleep.plan(functions, Room(functions.image))


@pytest.fixture(scope="module")
def slack_plan(functions: Functions) -> Plan:
    return slack.plan(functions, Room(functions.image), SLACK_NS)


def refusal(functions: Functions, right: Plan, *changes: Change) -> str:
    """What the proof says to the stub with its lines changed; ``{…}`` stands for where the stub goes on."""
    names = {"end": hex(usleep.locate(functions).end), "entry": hex(functions.image.entry)}
    wrong = altered(right, *((line.format(**names), pieces.format(**names)) for line, pieces in changes))
    assert wrong != right
    with pytest.raises(ProofFailed) as refused:
        prove(functions, wrong, Options(SLACK_NS))
    return str(refused.value)


def test_the_plans_as_they_are_hold(functions: Functions, usleep_plan: Plan, slack_plan: Plan) -> None:
    for plan in (usleep_plan, slack_plan):
        proof = prove(functions, plan, Options(SLACK_NS))
        assert proof.cases == proof.passed > 3


_CALL = r"usleep of 0 µs, answers \[0\]: expected clock_nanosleep\(CLOCK_MONOTONIC, 0, stock's timespec, NULL\), found"

USLEEP: dict[str, tuple[tuple[Change, ...], str]] = {
    "remaining time asked for": ((("xor r10d, r10d", "mov r10, rsp"),), _CALL + r" \(1, 0, \d+, [1-9]"),
    "the wall clock": ((("mov edi, 1", "xor edi, edi"),), _CALL + r" \(0, 0, "),
    "the processor's clock": ((("mov edi, 1", "mov edi, 2"),), _CALL + r" \(2, 0, "),
    "an absolute time": ((("xor esi, esi#1", "mov esi, 1"),), _CALL + r" \(1, 1, "),
    "another timespec": ((("mov rdx, rsp", "lea rdx, [rsp+8]"),), _CALL),
    "another system call": ((("mov eax, 230", "mov eax, 241"),), r"found \[241\]"),
    "another fallback": ((("mov eax, 35", "mov eax, 34"),), r"nanosleep if refused, found \[230, 34\]"),
    "the fallback with another timespec": ((("mov rdi, rsp", "lea rdi, [rsp+8]"),), "expected nanosleep as in stock"),
    "the fallback asks what remains": (
        (("mov eax, 35", "mov rsi, rsp; mov eax, 35"),),
        "expected nanosleep as in stock, found other arguments",
    ),
    "an interrupted wait goes on": (
        (("mov edi, 1", "again: ; mov edi, 1"), ("je back#2", "je again")),
        r"answers \[-4\]: system call 230 is made once more",
    ),
    "an interruption is a refusal": ((("cmp eax, -4", "cmp eax, -40"),), r"\[-4\]: system call 35 is made once more"),
    "an interrupted fallback goes on": (
        (
            ("test eax, eax", "cmp rdi, rsp; jne first; cmp eax, -4; je again; first: ; test eax, eax"),
            ("mov eax, 35", "again: ; mov eax, 35"),
        ),
        r"answers \[-38, -4\]: system call 35 is made once more",
    ),
    "a refusal is taken for success by its lowest byte": (
        (("test eax, eax", "test al, al"),),
        r"answers \[-256, 0\]: .* found \[230\]",
    ),
    "a refusal is taken for EINTR by its lowest byte": (
        (("cmp eax, -4", "cmp al, -4"),),
        r"answers \[-260, 0\]: .* found \[230\]",
    ),
    "a refusal ends the sleep": ((("je back#2", "jmp back"),), r"answers \[-38, 0\]: .* found \[230\]"),
    "the saved rbp overwritten": (
        (("mov eax, 230", "mov [rsp+0x10], rdx; mov eax, 230"),),
        "expected rbp as in stock, found 0x7",
    ),
    "a write above the frame": (
        (("mov eax, 230", "mov [rsp+0x28], rdx; mov eax, 230"),),
        "expected stock's writes to the frame and no others",
    ),
    "g lost": ((("mov eax, 230", "xor r14d, r14d; mov eax, 230"),), "expected r14 as in stock, found 0x0"),
    "rsp moved": ((("mov eax, 230", "sub rsp, 8; mov eax, 230"),), "where the program has nothing"),
    "a refused fallback asked again": (
        (("cmp rdi, rsp", ""), ("je back#3", "")),
        r"answers \[-38, -38\]: system call 35 is made once more",
    ),
    "a push and a pop": ((("syscall", "push rdx; syscall; pop rdx"),), "the stack is 0x20 bytes deep"),
    "the timespec overwritten": ((("mov edi, 1", "mov edi, 1; mov [rsp], rdi"),), _CALL),
    "a return into the epilogue": ((("jmp {end}", "jmp {end}+4"),), "does not come to an end"),
    "an instruction that no case reaches": (
        (("cmp rdi, rsp", "jmp over; nop; over: ; cmp rdi, rsp"),),
        "reached by no case",
    ),
}

_UNTOUCHED = "entry stub: expected rsp, rdx and the stack untouched"

SLACK: dict[str, tuple[tuple[Change, ...], str]] = {
    "rdx lost": ((("mov edi, 29", "mov edi, 29; xor edx, edx"),), _UNTOUCHED),
    "rsp moved": ((("mov edi, 29", "mov edi, 29; sub rsp, 8"),), _UNTOUCHED),
    "rsp moved and moved back": (
        (("mov edi, 29", "push rdi; mov edi, 29"), ("syscall", "syscall; pop rdi")),
        _UNTOUCHED,
    ),
    "argc overwritten": ((("mov edi, 29", "mov edi, 29; mov [rsp], rdi"),), _UNTOUCHED),
    "another option": (
        (("mov edi, 29", "mov edi, 30"),),
        r"expected prctl\(PR_SET_TIMERSLACK, 12345\), found \[\(157, 30, 12345\)\]",
    ),
    "another system call": ((("mov eax, 157", "mov eax, 158"),), r"found \[\(158, 29, 12345\)\]"),
    "another slack": ((("mov esi, 0x3039", "mov esi, 0x3038"),), r"found \[\(157, 29, 12344\)\]"),
    "a refusal asked again": (
        (("syscall", "again: ; syscall; test eax, eax; js again"),),
        r"system call \d+ is made once more",
    ),
    "a refusal that ends the program": (
        (("syscall", "syscall; test eax, eax; jns on; int3; on: ; nop"),),
        "the code faults",
    ),
    "no system call": ((("syscall", ""),), r"PR_SET_TIMERSLACK, 12345\), found \[\]"),
    "another entry": ((("jmp {entry}", "jmp {entry}+1"),), "where the program has nothing"),
    "an instruction that no case reaches": ((("syscall", "syscall; jmp {entry}"),), "reached by no case"),
}


@pytest.mark.parametrize("what", USLEEP)
def test_a_wrong_usleep_is_refused_by_name(functions: Functions, usleep_plan: Plan, what: str) -> None:
    changes, named = USLEEP[what]
    message = refusal(functions, usleep_plan, *changes)
    assert re.search(named, message)


@pytest.mark.parametrize("what", SLACK)
def test_a_wrong_entry_stub_is_refused_by_name(functions: Functions, slack_plan: Plan, what: str) -> None:
    changes, named = SLACK[what]
    message = refusal(functions, slack_plan, *changes)
    assert re.search(named, message)


def test_a_slack_is_proven_against_the_one_that_was_asked_for(functions: Functions, slack_plan: Plan) -> None:
    with pytest.raises(ProofFailed, match=r"expected prctl\(PR_SET_TIMERSLACK, 1\), found \[\(157, 29, 12345\)\]"):
        prove(functions, slack_plan, Options(1))


@pytest.mark.parametrize("slack_ns", [1, 50_000, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, MOST_NS])
def test_every_slack_reaches_the_kernel_whole(functions: Functions, slack_ns: int) -> None:
    proof = prove(functions, slack.plan(functions, Room(functions.image), slack_ns), Options(slack_ns))
    assert proof.cases == proof.passed
