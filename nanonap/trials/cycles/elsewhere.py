"""One release and mode for another processor, in a machine for it. A process of its own.

The agent needs no native library, and so runs there as it is; what it is to do is planned and proven here.
"""

import io
import json
import py_compile
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from nanonap.base.errors import UsageError
from nanonap.base.paths import PROJECT
from nanonap.lab.guest.image import image
from nanonap.lab.guest.jobs import FAST, Job, run_jobs
from nanonap.lab.guest.kinds import PYTHON_JOBS
from nanonap.lab.guest.other import GuestArm64Backend
from nanonap.toolchain.targets import target_named
from nanonap.trials.cycles.foreseeing import foreseen
from nanonap.trials.cycles.programs import program
from patcher.answers import encode

_SENT = ("nanonap/*.py", "nanonap/base/*.py", "nanonap/trials/*.py", "nanonap/trials/cycles/*.py", "patcher/**/*.py")
_MAIN = "from nanonap.trials.cycles.inside import main\n\nmain()\n"
_PATIENCE_S = 3500.0
_UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH


def main() -> None:
    """Arguments: processor, release, mode, cycles, kills, seed. One JSON line on stdout."""
    arch, go, mode, *numbers = sys.argv[1:]
    target = target_named(arch)
    if target != PYTHON_JOBS.architecture.target:
        raise UsageError(f"--arch {arch}: no machine runs such programs here")
    machine = GuestArm64Backend.name
    path = program(go, mode, target)
    made = image(machine, kind=PYTHON_JOBS)
    with tempfile.TemporaryDirectory() as folder:
        code, plans = Path(folder, "cycles.zip"), Path(folder, "plans.json")
        code.write_bytes(packed())
        plans.write_text(json.dumps(encode(foreseen(path, target.machine))), encoding="ascii")
        job = Job(("python3", str(code), str(plans), str(path), *numbers))
        (outcome,) = run_jobs(made, [job], machine, shift=FAST, patience_s=_PATIENCE_S)
    if outcome.status:
        raise SystemExit(outcome.stderr.decode("utf-8", "replace") or f"ended with {outcome.status}")
    told = json.loads(outcome.stdout)
    print(json.dumps({"go": go, "mode": f"{target.prefix}{mode}", "seed": int(numbers[-1]), **told}))


def packed() -> bytes:
    """The modules that run there as one file, which Python runs: as text, and as this machine's Python compiles it,
    which one of the same release takes. An emulated processor would compile for half a minute.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, tempfile.TemporaryDirectory() as folder:
        archive.writestr("__main__.py", _MAIN)
        for path in _modules():
            name = path.relative_to(PROJECT)
            archive.write(path, name)
            compiled = Path(folder, "compiled")
            py_compile.compile(str(path), str(compiled), str(name), doraise=True, invalidation_mode=_UNCHECKED)
            archive.write(compiled, name.with_suffix(".pyc"))
    return out.getvalue()


def _modules() -> Iterator[Path]:
    for pattern in _SENT:
        yield from sorted(PROJECT.glob(pattern))


if __name__ == "__main__":
    main()
