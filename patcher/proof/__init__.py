"""The proof: stubs run in an emulator, unwinding tables checked against the code. No proof, no output."""

from dataclasses import dataclass

from patcher.code import decode
from patcher.edit import Plan
from patcher.errors import ProofFailed
from patcher.functions import Functions
from patcher.proof import netpoll, slack, sleep, usleep
from patcher.proof.unwind import check_executed, check_instructions
from patcher.wait import PRECISE, Wait


@dataclass(frozen=True)
class Proof:
    """How many cases were run and how many held: all, or there is no proof."""

    cases: int
    passed: int


def prove(functions: Functions, plan: Plan, slack_ns: int | None, wait: Wait = PRECISE) -> Proof:
    """Prove one strategy's plan. Raises ProofFailed with the case that does not hold."""
    if plan.strategy == slack.__name__.rpartition(".")[2]:
        if slack_ns is None:
            raise ProofFailed("the entry stub has no slack to set")
        runs = slack.prove(functions, plan, slack_ns)
    elif plan.strategy == netpoll.__name__.rpartition(".")[2]:
        runs = netpoll.prove(functions, plan, wait)
    else:
        provers = {"sleep": sleep.prove, "usleep": usleep.prove}
        runs = provers[plan.strategy](functions, plan)
    instructions = tuple(
        instruction
        for code in plan.code
        for edit in plan.edits
        if edit.address <= code.start < edit.end
        for instruction in decode(edit.new[code.start - edit.address : code.end - edit.address], code.start)
    )
    check_instructions(instructions)
    check_executed(plan.code, instructions, runs)
    return Proof(len(runs), len(runs))
