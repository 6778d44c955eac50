"""One release and mode for another processor, in a machine for it. A process of its own.

The agent needs no native library, and so runs there as it is; what it is to do is planned and proven here.
"""

import json
import sys
import tempfile
from pathlib import Path

from nanonap.base.errors import UsageError
from nanonap.lab.guest.image import image
from nanonap.lab.guest.jobs import FAST, Job, run_jobs
from nanonap.lab.guest.kinds import PYTHON_JOBS
from nanonap.lab.guest.other import guest_for
from nanonap.lab.guest.packed import packed
from nanonap.toolchain.targets import target_named
from nanonap.trials.cycles.foreseeing import foreseen
from nanonap.trials.cycles.programs import program
from patcher.answers import encode

_SENT = ("nanonap/*.py", "nanonap/base/*.py", "nanonap/trials/*.py", "nanonap/trials/cycles/*.py", "patcher/**/*.py")
_MAIN = "from nanonap.trials.cycles.inside import main\n\nmain()\n"
_PATIENCE_S = 3500.0


def main() -> None:
    """Arguments: processor, release, mode, cycles, kills, seed. One JSON line on stdout."""
    arch, go, mode, *numbers = sys.argv[1:]
    target = target_named(arch)
    if target != PYTHON_JOBS.architecture.target:
        raise UsageError(f"--arch {arch}: no machine runs such programs here")
    machine = guest_for(target).name
    path = program(go, mode, target)
    made = image(machine, kind=PYTHON_JOBS)
    with tempfile.TemporaryDirectory() as folder:
        code, plans = Path(folder, "cycles.zip"), Path(folder, "plans.json")
        code.write_bytes(sent())
        plans.write_text(json.dumps(encode(foreseen(path, target.machine))), encoding="ascii")
        job = Job(("python3", str(code), str(plans), str(path), *numbers))
        (outcome,) = run_jobs(made, [job], machine, shift=FAST, patience_s=_PATIENCE_S)
    if outcome.status:
        raise SystemExit(outcome.stderr.decode("utf-8", "replace") or f"ended with {outcome.status}")
    told = json.loads(outcome.stdout)
    print(json.dumps({"go": go, "mode": f"{target.prefix}{mode}", "seed": int(numbers[-1]), **told}))


def sent() -> bytes:
    """The modules that run there."""
    return packed(_MAIN, _SENT)


if __name__ == "__main__":
    main()
