"""The proof of ``slack``: one prctl, then the entry with the stack and the dynamic linker's register as they were."""

import itertools

from patcher.edit.edit import Plan
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.golang.image import E_ENTRY
from patcher.proof.events import Answer, Run
from patcher.proof.machine import TOP, Machine
from patcher.proof.unwind import check_promises
from patcher.strategies.slack import PR_SET_TIMERSLACK

EPERM, EINVAL, ENOSYS = 1, 22, 38
_RTLD_FINI = 0x1234_5678_9ABC  # what the dynamic linker passes


def prove(functions: Functions, plan: Plan, slack_ns: int) -> list[Run]:
    """Run the entry stub with prctl granted and refused. Raises ProofFailed."""
    image, abi = functions.image, functions.image.isa.abi
    header = next(each for each in plan.edits if each.offset == E_ENTRY)
    start = int.from_bytes(header.new, "little")
    machine = Machine(image, plan.edits)
    runs = []
    for result, complement in itertools.product((0, -EPERM, -EINVAL, -ENOSYS), (False, True)):
        run = machine.run(start, {abi.fini: _RTLD_FINI}, [Answer(result)], {image.entry: 1}, complement=complement)
        calls = run.system_calls()
        made = [(each.number, each.arguments[0] & 0xFFFFFFFF, each.arguments[1]) for each in calls]
        if made != [(image.isa.system_calls["prctl"], PR_SET_TIMERSLACK, slack_ns)]:
            raise ProofFailed(f"entry stub: expected prctl(PR_SET_TIMERSLACK, {slack_ns}), found {made}")
        if run.stop != image.entry:
            raise ProofFailed(f"entry stub: expected to go on at {image.entry:#x}, found {run.stop:#x}")
        if (run.registers[abi.stack_pointer], run.registers[abi.fini]) != (TOP, _RTLD_FINI) or run.writes:
            raise ProofFailed(f"entry stub: expected {abi.stack_pointer}, {abi.fini} and the stack untouched")
        check_promises(run)
        runs.append(run)
    return runs
