"""The machine that runs the proofs, on AArch64: a system call keeps all but the result, what faults is refused."""

import pytest
from unicorn import arm64_const as arm64
from unicorn import x86_const as x86

from nanonap.toolchain.releases import NEWEST
from patcher.edit.edit import Edit
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.golang.waits import NETPOLL
from patcher.isa.amd64.isa import AMD64
from patcher.isa.arm64.asm import assemble
from patcher.isa.arm64.isa import ARM64
from patcher.proof.events import Answer, Run
from patcher.proof.machine import RETURN, TOP, Machine
from tests.patcher.arm64.builds import build


@pytest.fixture(scope="module", name="functions")
def make_functions() -> Functions:
    return Functions(read_image(build(NEWEST)))


def run_code(functions: Functions, text: str, *answers: int) -> Run:
    """Run ``text`` in place of netpoll's first bytes."""
    start = functions.one(NETPOLL).start
    new = assemble(text, start)
    edit = Edit(NETPOLL, "", start, 0, new, new, text)
    return Machine(functions.image, [edit]).run(start, {}, [Answer(each) for each in answers])


def test_code_that_returns_is_followed_to_its_return(functions: Functions) -> None:
    run = run_code(functions, "mov x8, #7; mov x0, #5; svc #0; str x0, [sp, #-16]!; ldr x1, [sp], #16; ret", -4)
    assert [(each.number, each.arguments[0]) for each in run.system_calls()] == [(7, 5)]
    assert run.registers["x1"] == (1 << 64) - 4
    assert (run.registers["sp"], len(run.steps), run.writes) == (TOP, 6, [(TOP - 16, 8)])
    assert run.stop == RETURN


def test_engines_of_two_instruction_sets_stand_in_one_process() -> None:
    """Whichever is made first: Unicorn asks for a register by a number that means another in each."""
    engines = [isa.processor().engine() for isa in (ARM64, AMD64, ARM64, AMD64)]
    assert [type(each).__mro__[2].__name__ for each in engines] == ["UcAArch64", "UcIntel"] * 2
    numbers = [(x86.UC_X86_REG_XMM0, x86.UC_X86_REG_RAX), (arm64.UC_ARM64_REG_V0, arm64.UC_ARM64_REG_X0)]
    for engine, (special, plain) in zip(engines, [*numbers[::-1]] * 2, strict=True):
        engine.reg_write(plain, 7)
        assert (engine.word(plain), engine.words((plain,)), engine.reg_read(plain)) == (7, (7,), 7)
        assert engine.reg_read(special) == 0


def test_a_system_call_spoils_its_result_alone(functions: Functions) -> None:
    before = run_code(functions, "mov x0, xzr; ret").registers
    after = run_code(functions, "mov x0, xzr; svc #0; ret", 7).registers
    assert {name for name, value in after.items() if value != before[name]} == {"x0"}


@pytest.mark.parametrize("text", ["brk #0", "hlt #0", "hvc #0"])
def test_what_faults_is_refused(functions: Functions, text: str) -> None:
    with pytest.raises(ProofFailed, match="the code faults at"):
        run_code(functions, f"{text}; ret")
