"""Wrong stubs of strategy sleep are refused, and the refusal names what is wrong."""

import re

import pytest

from patcher.edit.edit import Plan
from patcher.edit.room import Room, replace_run
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.golang.stackmap import live_slots
from patcher.proving import prove
from patcher.strategies.sleep.amd64 import locate, plan
from patcher.strategies.sleep.site import SLEEP, Site
from patcher.strategies.strategy import Options
from tests.patcher.alter import Change, altered, widened


@pytest.fixture(scope="module")
def site(functions: Functions) -> Site:
    return locate(functions)


@pytest.fixture(scope="module", name="right")
def make_right(functions: Functions) -> Plan:
    return widened(plan(functions, Room(functions.image)), locate(functions).epilogue)


def refusal(functions: Functions, site: Site, right: Plan, *changes: Change) -> str:
    """What the proof says to the stub with its lines changed; ``{…}`` stands for what the matcher read."""
    names = {
        "enter": f"call {site.enter:#x}",
        "leave": f"call {site.leave:#x}",
        "at": f"rsp+{site.timespec:#x}",
        "then": f"rsp+{site.timespec + 8:#x}",
        "pointer": f"rsp+{site.pointers[-1]:#x}",
        "before": f"rsp+{site.pointers[-1] - 8:#x}",
        "argument": f"rsp+{site.frame + 16:#x}",
        "above": f"rsp+{site.frame + 0x20:#x}",
        "epilogue": f"{site.epilogue:#x}",
    }
    wrong = altered(right, *((line.format(**names), pieces.format(**names)) for line, pieces in changes))
    assert wrong != right
    with pytest.raises(ProofFailed) as refused:
        prove(functions, wrong, Options())
    return str(refused.value)


def test_the_plan_as_it_is_holds(functions: Functions, right: Plan) -> None:
    proof = prove(functions, right, Options())
    assert proof.cases == proof.passed > 100


def test_the_frame_has_a_slot_that_the_stack_map_of_a_call_claims(
    functions: Functions, site: Site, right: Plan
) -> None:
    """Else the tests of live pointers below would test nothing."""
    returns = {call.end for call in functions.instructions(site.function) if call.mnemonic == "call"}
    assert any(live_slots(functions, site.function, site.frame, each) for each in returns)
    assert site.pointers


ORDER: dict[str, tuple[tuple[Change, ...], str]] = {
    "no exitsyscall": ((("{leave}", ""),), r"expected \['entersyscallblock', 'wait', 'exitsyscall'\], found"),
    "no entersyscallblock": ((("{enter}", ""),), r"expected \['entersyscallblock', .*found \['wait', 'exitsyscall'\]"),
    "exitsyscall before the wait": (
        (("mov eax, 230", "{leave}; mov eax, 230"),),
        r"expected \['entersyscallblock', 'wait'",
    ),
    "entersyscallblock at each interruption": (
        (("{enter}", ""), ("again:", "again: ; {enter}")),
        r"answers \[-4, -4, 0\]: expected \['entersyscallblock', 'wait', 'wait', 'wait'",
    ),
}

WAIT: dict[str, tuple[tuple[Change, ...], str]] = {
    "an interrupted wait ends": ((("je again", "je done"),), r"answers \[-4, -4, 0\]: expected \['entersyscallblock'"),
    "an interrupted fallback ends": (
        (("je refused", "nop"),),
        r"answers \[-38, -4, 0\]: expected \['entersyscallblock",
    ),
    "an interruption is a refusal": (
        (("je again", "je refused"),),
        r"answers \[-4, -4, 0\]: expected system call 230, found 35",
    ),
    "what remains is not asked for": ((("mov r10, rdx", "xor r10d, r10d"),), "what remains in its place, found 0x0"),
    "what remains goes elsewhere": ((("mov r10, rdx", "mov r10, rsp"),), "what remains in its place, found 0x7"),
    "the fallback ignores what remains": ((("mov rsi, rdi", "xor esi, esi"),), "what remains in its place, found 0x0"),
    "each wait starts anew": (
        (
            ("mov [{at}], rax", "mov [{at}], rax; mov [rsp], rax"),
            ("mov [{then}], rdx", "mov [{then}], rdx; mov [rsp+8], rdx"),
            ("again:", "again: ; mov rax, [rsp]; mov [{at}], rax; mov rax, [rsp+8]; mov [{then}], rax"),
        ),
        r"answers \[-4, -4, 0\]: expected a wait of \(3, 141592653\), found \(0, 1\)",
    ),
    "a refusal ends the sleep": (
        (("je again", "je again; jmp done"),),
        r"answers \[-38, 0\]: expected \['entersyscallblock', 'wait', 'wait', 'exitsyscall'\]",
    ),
    "a refusal is taken for success by its lowest byte": (
        (("test eax, eax", "test al, al"),),
        r"answers \[-256, 0\]: expected \['entersyscallblock', 'wait', 'wait', 'exitsyscall'\]",
    ),
    "a refusal is taken for EINTR by its lowest byte": (
        (("cmp eax, -4#1", "cmp al, -4"),),
        r"answers \[-260, 0\]: expected system call 35, found 230",
    ),
    "a refusal is asked again": (
        (("je again", "jmp again"),),
        r"answers \[-38, 0\]: expected system call 35, found 230",
    ),
    "a failed fallback is asked again": ((("je refused", "jmp refused"),), "system call 35 is made once more"),
    "the wall clock": ((("mov edi, 1", "xor edi, edi"),), "expected CLOCK_MONOTONIC and no flags, found 0 and 0"),
    "an absolute time": ((("xor esi, esi", "mov esi, 1"),), "expected CLOCK_MONOTONIC and no flags, found 1 and 1"),
    "another system call": ((("mov eax, 230", "mov eax, 241"),), "expected system call 230, found 241"),
    "another fallback": ((("mov eax, 35", "mov eax, 34"),), "expected system call 35, found 34"),
    "seconds and nanoseconds swapped": (
        (("mov [{at}], rax", "mov [{at}], rdx"), ("mov [{then}], rdx", "mov [{then}], rax")),
        r"Sleep of 1 ns.*expected a wait of \(0, 1\), found \(1, 0\)",
    ),
    "the duration in 32 bits": (
        (("div rcx", "div ecx"),),
        r"Sleep of 4611686018427387904 ns.*expected a wait of \(4611686018, 427387904\)",
    ),
}

POINTERS: dict[str, tuple[tuple[Change, ...], str]] = {
    "a pointer slot holds junk": (
        (("mov [{pointer}], rdx", ""),),
        r"during the call of entersyscallblock the stack map at 0x\w+ calls \[rsp\+0x40\] a live pointer and "
        r"the stub leaves 0xa5a5a5a5a5a5a5a5 there",
    ),
    "the timespec lies in a pointer slot": (
        (
            ("mov [{at}], rax", "mov [{before}], rax"),
            ("mov [{then}], rdx", "mov [{pointer}], rdx"),
            ("lea rdx, [{at}]", "lea rdx, [{before}]"),
            ("lea rdi, [{at}]", "lea rdi, [{before}]"),
        ),
        r"Sleep of 1 ns, answers \[0\]: .* calls \[rsp\+0x40\] a live pointer and the stub leaves 0x1 there",
    ),
    "a pointer slot is used after the zeroing": (
        (("mov eax, 230", "mov [{pointer}], rdx; mov eax, 230"),),
        "during the call of exitsyscall the stack map .* a live pointer",
    ),
    "a pointer slot is used during the wait alone": (
        (
            ("mov eax, 230", "mov [{pointer}], rdx; mov eax, 230"),
            ("{leave}", "xor ecx, ecx; mov [{pointer}], rcx; {leave}"),
        ),
        "during system call 230 the stack map .* a live pointer",
    ),
    "no slot is zeroed and the call moved on": (
        (("mov [{pointer}], rdx", "nop; nop; nop"), ("{enter}", "nop; nop; nop; nop; {enter}")),
        "a live pointer and the stub leaves",
    ),
}

FRAME: dict[str, tuple[tuple[Change, ...], str]] = {
    "a call one word deeper": (
        (("{enter}", "push rax; {enter}; pop rax"),),
        "bytes deep, pclntab states 0x[0-9a-f]+; the unwinder would be misled",
    ),
    "a wait one word deeper": (
        (("mov eax, 230", "push rax; mov eax, 230"), ("test eax, eax", "pop rcx; test eax, eax")),
        "bytes deep, pclntab states 0x[0-9a-f]+; the unwinder would be misled",
    ),
    "a write below the frame": (
        (("mov eax, 230", "mov [rsp-0x20], rdx; mov eax, 230"),),
        "expected writes inside time.Sleep's frame only",
    ),
    "a write above the frame": (
        (("mov eax, 230", "mov [{above}], rdx; mov eax, 230"),),
        "expected writes inside time.Sleep's frame only",
    ),
    "the argument not in its spill slot": (
        (("mov [{argument}], rax", ""),),
        r"Sleep of 1 ns.*expected the duration in its spill slot, found 0x\w+",
    ),
    "the argument's spill slot overwritten": (
        (("mov eax, 230", "mov [{argument}], rdx; mov eax, 230"),),
        r"Sleep of 1 ns.*expected the duration in its spill slot, found 0x7",
    ),
    "another epilogue": ((("jmp {epilogue}", "jmp {epilogue}+4"),), "where the program has nothing"),
    "an instruction that no case reaches": (
        (("mov r10, rdx", "mov r10, rdx; jmp on; nop; on: ; nop"),),
        "reached by no case",
    ),
}

# A Go function is called with g in r14, a frame pointer in rbp and zero in xmm15 (ABIInternal), and so is returned to.
REGISTERS: dict[str, tuple[tuple[Change, ...], str]] = {
    "g lost at the return": ((("jmp {epilogue}", "xor r14d, r14d; jmp {epilogue}"),), "r14"),
    "g lost at exitsyscall and found again": (
        (
            ("mov eax, 230", "mov [rsp], r14; mov eax, 230"),
            ("{leave}", "xor r14d, r14d; {leave}; mov r14, [rsp]"),
        ),
        "r14",
    ),
    "rbp lost at exitsyscall": ((("mov eax, 230", "xor ebp, ebp; mov eax, 230"),), "rbp"),
    "xmm15 not zero": ((("mov eax, 230", "pcmpeqd xmm15, xmm15; mov eax, 230"),), "xmm15"),
}

WRONG = {**ORDER, **WAIT, **POINTERS, **FRAME, **REGISTERS}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_stub_is_refused_by_name(functions: Functions, site: Site, right: Plan, what: str) -> None:
    changes, named = WRONG[what]
    message = refusal(functions, site, right, *changes)
    assert re.search(named, message)


def test_a_call_where_another_was_inlined_is_refused(functions: Functions, site: Site, right: Plan) -> None:
    """A traceback would show the inlined function's name and line for it (PCDATA_InlTreeIndex)."""
    shift = sum(line.strip() == "nop" for line in right.edits[0].assembly.splitlines())
    assert shift, "the calls need no shift in this release; try another"
    without = [(f"nop#{number}", "") for number in range(1, shift + 1)]
    assert "inlined" in refusal(functions, site, right, *without)


def test_a_call_from_outside_the_function_is_refused(functions: Functions, site: Site, right: Plan) -> None:
    room = Room(functions.image)
    outside, outside_code = room.place("the same stub in the padding", right.edits[0].assembly)
    leave, leave_code = replace_run(
        functions.image, SLEEP, "to it", start=site.body, end=site.body + 8, text=f"jmp {outside.address:#x}"
    )
    wrong = Plan("sleep", (leave, outside), (leave_code, outside_code), right.new_syscalls)
    with pytest.raises(ProofFailed, match=r"the call of entersyscallblock returns to 0x\w+, outside time\.Sleep"):
        prove(functions, wrong, Options())
