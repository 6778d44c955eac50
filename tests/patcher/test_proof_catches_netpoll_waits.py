"""Wrong stubs of netpoll's opt-ins (quantum, dense, spin) are refused, and the refusal names what is wrong."""

import re

import pytest

from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.proving import prove
from patcher.strategies.netpoll.amd64_site import locate
from patcher.strategies.strategy import Options
from patcher.wait import PRECISE, Wait
from tests.patcher.alter import Change
from tests.patcher.netpoll_stubs import refusal, right_plan

QUANTUM, DENSE, SPIN = Wait(500_000), Wait(500_000, 32_768), Wait(spin_ns=40_000)

#: What the options change, made wrong.
WRONG_WAITS: dict[str, tuple[Wait, tuple[Change, ...], str]] = {
    "another quantum": (
        QUANTUM,
        (("mov eax, 500000", "mov eax, 500001"),),
        r"delay of 1 ns.*expected a timeout of \(0, 500000\), found \(0, 500001\)",
    ),
    "at most a quantum": (
        QUANTUM,
        (("cmovl rax, r10", "cmovge rax, r10"),),
        r"delay of 1 ns.*expected a timeout of \(0, 500000\), found \(0, 1\)",
    ),
    "a quantum for every wait": (
        QUANTUM,
        (("cmovl rax, r10", ""),),
        r"expected a timeout of \(0, 999999\), found \(0, 500000\)",
    ),
    "no quantum at all": (
        QUANTUM,
        (("cmovl rax, r10", "mov rax, r10"),),
        r"delay of 1 ns.*expected a timeout of \(0, 500000\), found \(0, 1\)",
    ),
    "compared in 32 bits": (
        QUANTUM,
        (("cmp rax, r10", "cmp eax, r10d"),),
        r"expected a timeout of \(\d+, \d+\), found \(0, 500000\)",
    ),
    "moved in 32 bits": (
        QUANTUM,
        (("cmovl rax, r10", "cmovl eax, r10d"),),
        r"expected a timeout of \(4, \d+\), found \(0, \d+\)|expected a timeout of \(\d{3,}, \d+\), found \(",
    ),
    "a little subtracted nevertheless": (
        QUANTUM,
        (("cmovl rax, r10", "cmovl rax, r10; mov r10, rax; shr r10, 7; sub rax, r10"),),
        r"delay of 1 ns.*expected a timeout of \(0, 500000\), found \(0, 496094\)",
    ),
    "divided by what is not 10**9": (
        QUANTUM,
        (("xor edx, edx#1", "mov ecx, 1000000; xor edx, edx"),),
        r"expected a timeout of \(0, 1000000\), found \(1, 0\)",
    ),
    "another bound": (
        DENSE,
        (("cmp r10, 32768", "cmp r10, 32767"),),
        r"delay of 32767 ns.*expected a timeout of \(0, 500000\), found \(0, 32767\)",
    ),
    "the bound itself is dense": (
        DENSE,
        (("cmovge rax, r10", "cmovg rax, r10"),),
        r"delay of 32768 ns.*expected a timeout of \(0, 32768\), found \(0, 500000\)|no stub uses",
    ),
    "only what is not dense lasts a quantum": (
        DENSE,
        (("cmovge rax, r10", "cmovl rax, r10"),),
        r"delay of 1 ns.*expected a timeout of \(0, 500000\), found \(0, 1\)",
    ),
    "the bound compared in 32 bits": (
        DENSE,
        (("cmp r10, 32768", "cmp r10d, 32768"),),
        r"expected a timeout of \(\d+, \d+\), found \(0, 500000\)",
    ),
    "the quantum for dense waits another": (
        DENSE,
        (("mov eax, 500000", "mov eax, 400000"),),
        r"delay of 1 ns.*expected a timeout of \(0, 500000\), found \(0, 400000\)",
    ),
    "another margin": (
        SPIN,
        (("sub rax, 40000", "sub rax, 39999"),),
        r"expected a timeout of \(\d+, \d+\), found \(\d+, \d+\)",
    ),
    "a margin added": (
        SPIN,
        (("sub rax, 40000", "sub rax, -40000"),),
        r"delay of 1 ns.*expected a timeout of \(0, 0\), found \(0, 40001\)",
    ),
    "a wait below zero": (
        SPIN,
        (("xor eax, eax", ""), ("jns early", "")),
        r"delay of 1 ns.*expected a timeout of \(0, 0\), found \(1844674407\d, ",
    ),
    "every wait a poll": (
        SPIN,
        (("jns early", "js early"),),
        r"delay of 1 ns.*expected a timeout of \(0, 0\), found \(1844674407\d, ",
    ),
    "the sign of 32 bits": (
        SPIN,
        (("jns early", "test eax, eax; jns early"),),
        r"expected a timeout of \(\d+, \d+\), found \(0, 0\)",
    ),
    "the margin taken from 32 bits": (
        SPIN,
        (("sub rax, 40000", "sub eax, 40000"),),
        r"expected a timeout of \(\d+, \d+\), found \(\d+, \d+\)",
    ),
    "what epoll adds forgotten beside a margin": (
        SPIN,
        (("sub rax, r10", ""),),
        r"expected a timeout of \(\d+, \d+\), found \(\d+, \d+\)",
    ),
    "a shift too many": (
        SPIN,
        (("shr r10, 7", "shr r10, 8"),),
        r"expected a timeout of \(\d+, \d+\), found \(\d+, \d+\)",
    ),
}


@pytest.mark.parametrize("wait", [QUANTUM, DENSE, SPIN, Wait(77, 7), Wait(4_000_000_000), Wait(spin_ns=1000)])
def test_the_plan_of_every_option_holds(functions: Functions, wait: Wait) -> None:
    proof = prove(functions, right_plan(functions, wait), Options(wait=wait))
    assert proof.cases == proof.passed > 400


@pytest.mark.parametrize("what", WRONG_WAITS)
def test_a_wrong_wait_is_refused_by_name(functions: Functions, what: str) -> None:
    site = locate(functions)[0]
    wait, changes, named = WRONG_WAITS[what]
    message = refusal(functions, site, right_plan(functions, wait), *changes, wait=wait)
    assert re.search(named, message), message


@pytest.mark.parametrize("other", [PRECISE, Wait(500_001), Wait(500_000, 499_999), Wait(spin_ns=500_000)])
def test_a_stub_that_was_asked_to_wait_otherwise_is_refused(functions: Functions, other: Wait) -> None:
    with pytest.raises(ProofFailed, match="expected a timeout of"):
        prove(functions, right_plan(functions, QUANTUM), Options(wait=other))
