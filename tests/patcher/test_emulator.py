"""The machine that runs the proofs has bounds: what runs on, strays or faults is refused, and says where."""

from dataclasses import replace

import pytest

from patcher.edit.edit import Edit
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.golang.waits import NETPOLL
from patcher.isa.amd64.asm import assemble
from patcher.proof.events import Answer, Run
from patcher.proof.machine import TOP, Machine


def run_code(functions: Functions, text: str, *answers: int) -> Run:
    """Run ``text`` in place of netpoll's first bytes."""
    start = functions.one(NETPOLL).start
    new = assemble(text, start)
    edit = Edit(NETPOLL, "", start, functions.image.offset_of(start), functions.image.read(start, len(new)), new, text)
    return Machine(functions.image, [edit]).run(start, {}, [Answer(each) for each in answers])


def test_code_that_returns_is_followed_to_its_return(functions: Functions) -> None:
    run = run_code(functions, "mov eax, 7; mov edi, 5; syscall; push rax; pop rbx; ret", -4)
    assert [(each.number, each.arguments[0]) for each in run.system_calls()] == [(7, 5)]
    assert run.registers["rbx"] == (1 << 64) - 4
    assert (run.registers["rsp"], len(run.steps), run.writes) == (TOP + 8, 6, [(TOP - 8, 8)])


@pytest.mark.parametrize("loop", ["here: jmp here", "here: push rax; pop rax; jmp here"])
def test_an_endless_loop_is_refused(functions: Functions, loop: str) -> None:
    with pytest.raises(ProofFailed, match="does not come to an end"):
        run_code(functions, loop)


def test_an_endless_recursion_is_refused(functions: Functions) -> None:
    with pytest.raises(ProofFailed, match="not its stack"):
        run_code(functions, "here: call here")


STRAYS = {
    "a read of nothing": ("mov rax, [0x10000]; ret", "reads 8 bytes at 0x10000, where the program has nothing"),
    "a write to nothing": ("mov [0x10000], rax; ret", "writes to 0x10000, which is not its stack"),
    "a jump to nothing": ("mov eax, 0x12345; jmp rax", "at 0x12345, where the program has nothing"),
    "a breakpoint": ("int3; ret", "faults"),
    "no instruction": ("ud2", "faults"),
    "a division by zero": ("xor ecx, ecx; div rcx; ret", "faults"),
    "a privileged instruction": ("hlt; ret", "does not come to an end"),
    "a system call without an answer": ("mov eax, 39; syscall; ret", "system call 39 is made once more"),
}


@pytest.mark.parametrize("what", STRAYS)
def test_code_that_strays_is_refused_by_name(functions: Functions, what: str) -> None:
    text, named = STRAYS[what]
    with pytest.raises(ProofFailed, match=named):
        run_code(functions, text)


def test_a_system_call_spoils_rcx_and_r11_alone(functions: Functions) -> None:
    keep = ("rbx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r12", "r13", "r14", "r15")
    before = run_code(functions, "xor eax, eax; ret").registers
    after = run_code(functions, "xor eax, eax; syscall; ret", 0).registers
    assert {name: after[name] for name in keep} == {name: before[name] for name in keep}
    assert after["rcx"] != before["rcx"]
    assert after["r11"] != before["r11"]


def test_runs_do_not_see_what_earlier_ones_left(functions: Functions) -> None:
    """Neither in registers, nor on the stack, nor in the image's own pages."""
    start = functions.one(NETPOLL).start
    text = f"mov rbx, [rsp-0x100]; mov rax, [{start + 0x100:#x}]; mov [rsp-0x100], rsp; ret"
    new = assemble(text, start)
    edit = Edit(NETPOLL, "", start, 0, new, new, text)
    machine = Machine(functions.image, [edit])
    first = machine.run(start, {}, [])
    second = machine.run(start, {}, [])
    assert first.registers == second.registers
    assert second.registers["rbx"] == 0xA5A5A5A5A5A5A5A5
    assert second.registers["rax"] == int.from_bytes(functions.image.read(start + 0x100, 8), "little")


def test_code_is_emulated_with_the_edits_laid_over_the_file(functions: Functions) -> None:
    start = functions.one(NETPOLL).start
    for value in (1, 2):
        new = assemble(f"mov eax, {value}; ret", start)
        edit = Edit(NETPOLL, "", start, 0, new, new, "")
        assert Machine(functions.image, [replace(edit)]).run(start, {}, []).registers["rax"] == value


@pytest.mark.parametrize("text", ["mov eax, ", "nosuch eax", "jmp nowhere"])
def test_assembly_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ProofFailed, match="0x401000 does not assemble"):
        assemble(text, 0x401000)
