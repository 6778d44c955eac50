"""Wrong stubs for AArch64 are refused, and the refusal names what is wrong."""

import re

import pytest

from nanonap.toolchain.releases import NEWEST
from patcher.edit.edit import Plan
from patcher.edit.room import Room
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.isa.arm64.isa import ARM64
from patcher.proving import prove
from patcher.strategies.netpoll import arm64 as netpoll
from patcher.strategies.netpoll.arm64_site import Site, locate
from patcher.strategies.slack import arm64 as slack
from patcher.strategies.strategy import Options
from patcher.wait import Wait
from tests.patcher.alter import Change, altered, widened
from tests.patcher.arm64.builds import build

SLACK_NS = 12_345
Wrong = dict[str, tuple[tuple[Change, ...], str]]


@pytest.fixture(scope="module", name="functions")
def make_functions() -> Functions:
    return Functions(read_image(build(NEWEST)))


@pytest.fixture(scope="module")
def site(functions: Functions) -> Site:
    return locate(functions)[0]


def right(functions: Functions, site: Site, wait: Wait) -> Plan:
    # The early exit behind the wait is not reached from the stub: room for a stub that is longer.
    return widened(netpoll.plan(functions, Room(functions.image), wait), site.retry, ARM64)


def refusal(functions: Functions, site: Site, plan: Plan, *changes: Change, options: Options) -> str:
    """What the proof says to the stub with its lines changed; ``{…}`` stands for what the matcher read."""
    names = {
        "delay": site.delay,
        "ms": re.findall(r"csinv (\w+)", plan.edits[0].assembly)[0] if plan.strategy == "netpoll" else "",
        "half": f"w{site.waited[1:]}",
        "kept": site.delays[0],
        "wait": site.wait_slot,
        "events": site.events,
        "epfd": site.descriptor,
        "above": site.depth + 8,
        "below": site.depth - 8,
        "join": f"{site.join:#x}",
        "retry": f"{site.retry:#x}",
        "entry": f"{functions.image.entry:#x}",
    }
    wrong = altered(plan, *((line.format(**names), pieces.format(**names)) for line, pieces in changes), isa=ARM64)
    assert wrong != plan
    with pytest.raises(ProofFailed) as refused:
        prove(functions, wrong, options)
    return str(refused.value)


_DEEP = "bytes deep, pclntab states 0x[0-9a-f]+; the unwinder would be misled"
_OTHER_BYTES = "as in stock, found other bytes"

FRAME: Wrong = {
    "the return address overwritten": (
        (("mov x8, #441", "str x9, [sp]; mov x8, #441"),),
        r"expected the frame's \[sp\+0x0, sp\+0x8\) as in stock, found other bytes",
    ),
    "the timespec on the return address": (
        (("stp x9, x10, [sp, #8]", "stp x9, x10, [sp]"), ("add x3, sp, #8", "mov x3, sp")),
        "expected the timespec in the spill space",
    ),
    "sp not aligned": (
        (("mov x8, #441", "mov x8, #441; sub sp, sp, #8; ldr x9, [sp]"),),
        _DEEP,
    ),
    "sp moved and moved back": (
        (("mov x8, #441", "sub sp, sp, #16; mov x8, #441; add sp, sp, #16"),),
        _DEEP,
    ),
    "x18 lost": (
        (("mov x8, #441", "mov x8, #441; mov x18, xzr"),),
        "expected x18 = 0x[0-9a-f]+ as in stock, found 0x0",
    ),
    "g lost": ((("mov x8, #441", "mov x8, #441; mov x28, xzr"),), "expected x28 = 0x[0-9a-f]+ as in stock, found 0x0"),
    "x29 lost": (
        (("mov x8, #441", "mov x8, #441; mov x29, xzr"),),
        "expected x29 = 0x[0-9a-f]+ as in stock, found 0x0",
    ),
    "floating point done otherwise": (
        (("mov x8, #441", "mov x8, #441; movz x9, #0xc0, lsl #16; msr fpcr, x9"),),
        "floating point",
    ),
    "a write behind the spill space": (
        (("mov x8, #441", "mov x8, #441; str x8, [sp, #0x30]"),),
        _OTHER_BYTES,
    ),
    "a write below the frame": (
        (("mov x8, #441", "mov x8, #441; stur x8, [sp, #-16]"),),
        "expected writes inside the frame only",
    ),
    "a write above the frame": (
        (("mov x8, #441", "mov x8, #441; str x8, [sp, #{above}+8]"),),
        "expected writes inside the frame only",
    ),
    "the events overwritten": ((("mov x8, #441", "mov x8, #441; str x8, [sp, #{events}]"),), "event"),
    "the delay not kept": ((("str {delay}, [sp, #{kept}]", ""),), _OTHER_BYTES),
    "the wait not kept": ((("str {half}, [sp, #{wait}]", "nop"),), _OTHER_BYTES),
}
CALLS: Wrong = {
    "a call through x30": (
        (("mov x8, #441", "mov x8, #441; blr x30"),),
        "found no system call",
    ),
    "a return": ((("mov x8, #441", "mov x8, #441; ret"),), "found no system call"),
    "another system call": ((("mov x8, #441", "mov x8, #442"),), r"epoll_pwait2 \(441\) first, found 442"),
    "the number in another register": ((("mov x8, #441", "mov x9, #441"),), "epoll_pwait2 .441. first, found"),
    "seconds and nanoseconds swapped": (
        (("stp x9, x10, [sp, #8]", "stp x10, x9, [sp, #8]"),),
        r"delay of 1 ns.*expected a timeout of \(0, 1\), found \(1, 0\)",
    ),
    "what epoll adds not subtracted": (
        (("sub {delay}, {delay}, {delay}, lsr #7", ""),),
        r"delay of 999 ns.*expected a timeout of \(0, 992\), found \(0, 999\)",
    ),
    "a signal mask": ((("mov x4, xzr", "mov x4, x3"),), r"as in stock|with stock's descriptor"),
    "fewer events": ((("mov x2, #128", "mov x2, #64"),), "with stock's descriptor and events|as in stock"),
    "events elsewhere": (
        (("add x1, sp, #{events}", "add x1, sp, #{events}+16"),),
        "with stock's descriptor and events",
    ),
    "another descriptor": ((("mov x0, {epfd}", "mov x0, #7"),), "with stock's descriptor and events"),
}
DECISION: Wrong = {
    "EINTR lost": (
        (("ccmn x0, #4, #4, lt", "ccmn x0, #5, #4, lt"),),
        r"epoll_pwait2 → -4,.*system call 22 is made once",
    ),
    "every refusal is handed on": (
        (("b.eq {join}", "b {join}"),),
        r"expected the stock waits \[22\], found \[\]",
    ),
    "EINTR is told by 32 bits of another": (
        (("ccmn x0, #4, #4, lt", "and x9, x0, #0xff; cmp x9, #0xfc; ccmp x0, #0, #4, ne"),),
        "epoll_pwait2 → -?[0-9]+",
    ),
    "a poll asks epoll_pwait2": (
        (("ccmp {ms}, #0, #8, gt", "ccmp {ms}, #0, #8, ge"),),
        r"delay of 0 ns.*expected",
    ),
    "an endless wait asks epoll_pwait2": ((("b.mi {retry}", "nop"),), r"delay of -\d+ ns"),
    "epoll_pwait2 is never asked": ((("b.mi {retry}", "b {retry}"),), r"epoll_pwait2 \(441\) first, found 22"),
    "a result is taken for a refusal": (
        (("ccmn x0, #4, #4, lt", "ccmn x0, #4, #0, lt"),),
        "system call 22 is made once more",
    ),
    "the refused call is made again": (
        (("svc #0", "again: ; svc #0"), ("b {retry}", "b again")),
        r"system call|expected the stock waits \[22\]",
    ),
    "errno with its sign": ((("csneg x1, xzr, x0, ge", "csel x1, xzr, x0, ge"),), "expected x1 = 0x4 as in stock"),
    "errno not cleared": ((("csneg x1, xzr, x0, ge", "neg x1, x0"),), "expected x1 = 0x0 as in stock"),
    "a jump that no case takes": (
        (("mov x8, #441", "mov x8, #441; cmp x8, #0; b.eq beyond; nop; beyond: ; nop"),),
        r"b\.eq #?0x\w+ goes one way in every case",
    ),
    "an instruction that no case reaches": (
        (("mov x8, #441", "mov x8, #441; b beyond; nop; beyond: ; nop"),),
        "reached by no case",
    ),
    "what nobody has set decides": (
        (("mov x8, #441", "mov x8, #441; cmp x21, #0; b.mi beyond; mov x8, #22; beyond: ; nop"),),
        r"epoll_pwait2 \(441\) first, found 22",
    ),
}
MILLISECONDS: Wrong = {
    "not at least 1": ((("cinc {ms}, {ms}, eq", ""),), rf"delay of 1 ns.*{_OTHER_BYTES}"),
    "not at most 10**9": ((("csel {ms}, {ms}, x7, lo", ""),), "as in stock"),
    "an endless wait made another": ((("csinv {ms}, {ms}, xzr, ge", ""),), r"delay of -\d+ ns.*as in stock"),
}
WRONG = {**FRAME, **CALLS, **DECISION, **MILLISECONDS}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_stub_is_refused_by_name(functions: Functions, site: Site, what: str) -> None:
    changes, named = WRONG[what]
    message = refusal(functions, site, right(functions, site, Wait()), *changes, options=Options())
    assert re.search(named, message)


OPTIONS: dict[str, tuple[Wait, tuple[Change, ...], str]] = {
    "a quantum that cuts short": (
        Wait(quantum_ns=800_000),
        (("csel {delay}, x9, {delay}, lo", "csel {delay}, x9, {delay}, hs"),),
        r"expected a timeout of \(0, 800000\)",
    ),
    "a quantum beside the limit": (
        Wait(quantum_ns=800_000, dense_ns=32_768),
        (("csel {delay}, x9, {delay}, lo", "csel {delay}, x9, {delay}, ls"),),
        r"delay of 32768 ns.*expected a timeout of \(0, 32768\), found \(0, 800000\)",
    ),
    "a spin below zero": (
        Wait(spin_ns=40_000),
        (("csel {delay}, {delay}, xzr, pl", ""),),
        r"expected a timeout of \(0, 0\)",
    ),
}


@pytest.mark.parametrize("what", OPTIONS)
def test_a_wrong_stub_of_an_option_is_refused_by_name(functions: Functions, site: Site, what: str) -> None:
    wait, changes, named = OPTIONS[what]
    message = refusal(functions, site, right(functions, site, wait), *changes, options=Options(wait=wait))
    assert re.search(named, message)


_UNTOUCHED = "entry stub: expected sp, x0 and the stack untouched"
SLACK: Wrong = {
    "x0 lost": ((("mov x0, x9", ""),), _UNTOUCHED),
    "sp moved": ((("mov x8, #167", "mov x8, #167; sub sp, sp, #16"),), _UNTOUCHED),
    "sp not aligned for a while": (
        (("svc #0", "sub sp, sp, #8; svc #0; add sp, sp, #8"),),
        "runs with sp = 0x[0-9a-f]+8, which is no multiple of 16",
    ),
    "argc overwritten": ((("mov x8, #167", "mov x8, #167; str x8, [sp]"),), _UNTOUCHED),
    "another option": ((("mov x0, #29", "mov x0, #30"),), r"found \[\(167, 30, 12345\)\]"),
    "another slack": ((("movz x1, #0x3039, lsl #0", "mov x1, #0x3038"),), r"found \[\(167, 29, 12344\)\]"),
    "another entry": ((("b {entry}", "b {entry}+4"),), "the code|where the program has nothing|expected to go on"),
    "a refusal that ends the program": (
        (("svc #0", "svc #0; tbz x0, #63, on; brk #0; on: ; nop"),),
        "the code faults",
    ),
}


@pytest.mark.parametrize("what", SLACK)
def test_a_wrong_entry_stub_is_refused_by_name(functions: Functions, site: Site, what: str) -> None:
    changes, named = SLACK[what]
    plan = slack.plan(functions, Room(functions.image), SLACK_NS)
    message = refusal(functions, site, plan, *changes, options=Options(SLACK_NS))
    assert re.search(named, message)
