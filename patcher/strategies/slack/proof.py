"""The proof of ``slack``: one prctl, then the entry with rsp, rdx and the stack as the kernel left them."""

import itertools

from patcher.edit import Plan
from patcher.errors import ProofFailed
from patcher.functions import Functions
from patcher.proof.events import Answer, Run
from patcher.proof.machine import TOP, Machine
from patcher.proof.unwind import check_promises

PRCTL, PR_SET_TIMERSLACK = 157, 29
EPERM, EINVAL, ENOSYS = 1, 22, 38
_RTLD_FINI = 0x1234_5678_9ABC  # what the dynamic linker passes in rdx


def prove(functions: Functions, plan: Plan, slack_ns: int) -> list[Run]:
    """Run the entry stub with prctl granted and refused. Raises ProofFailed."""
    image = functions.image
    header = next(each for each in plan.edits if each.offset == 24)
    start = int.from_bytes(header.new, "little")
    machine = Machine(image, plan.edits)
    runs = []
    for result, complement in itertools.product((0, -EPERM, -EINVAL, -ENOSYS), (False, True)):
        run = machine.run(start, {"rdx": _RTLD_FINI}, [Answer(result)], {image.entry: 1}, complement=complement)
        calls = run.system_calls()
        made = [(each.number, each.arguments[0] & 0xFFFFFFFF, each.arguments[1]) for each in calls]
        if made != [(PRCTL, PR_SET_TIMERSLACK, slack_ns)]:
            raise ProofFailed(f"entry stub: expected prctl(PR_SET_TIMERSLACK, {slack_ns}), found {made}")
        if run.stop != image.entry:
            raise ProofFailed(f"entry stub: expected to go on at {image.entry:#x}, found {run.stop:#x}")
        if (run.registers["rsp"], run.registers["rdx"]) != (TOP, _RTLD_FINI) or run.writes:
            raise ProofFailed("entry stub: expected rsp, rdx and the stack untouched")
        check_promises(run)
        runs.append(run)
    return runs
