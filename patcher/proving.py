"""The proof: stubs run in an emulator, unwinding tables checked against the code. No proof, no output."""

from patcher.edit.edit import Plan, Proof
from patcher.golang.functions import Functions
from patcher.proof.unwind import check_alignment, check_executed, check_instructions
from patcher.strategies.strategy import Options
from patcher.strategies.table import STRATEGIES


def prove(functions: Functions, plan: Plan, options: Options) -> Proof:
    """Prove one strategy's plan. Raises ProofFailed with the case that does not hold."""
    runs = STRATEGIES[plan.strategy].prove(functions, plan, options)
    isa = functions.image.isa
    instructions = tuple(
        instruction
        for code in plan.code
        for edit in plan.edits
        if edit.address <= code.start < edit.end
        for instruction in isa.decode(edit.new[code.start - edit.address : code.end - edit.address], code.start)
    )
    check_instructions(isa, instructions)
    check_alignment(isa, runs)
    check_executed(plan.code, instructions, runs)
    return Proof(len(runs), len(runs))
