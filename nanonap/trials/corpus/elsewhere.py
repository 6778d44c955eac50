"""A program for another processor: patched, verified and reverted here, at work in a machine for it.

The same work as here, in the Python of that machine: each time in a machine of its own, which has the program alone.
"""

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from nanonap.base.paths import PROJECT
from nanonap.lab.guest.image import image
from nanonap.lab.guest.kinds import PYTHON_JOBS
from nanonap.lab.guest.other import GuestArm64Backend, JobGroup
from nanonap.lab.guest.packed import packed
from nanonap.toolchain.patched import Variant
from nanonap.trials.corpus.counting import Waits
from nanonap.trials.corpus.working import ProgramTrial
from nanonap.trials.corpus.workplace import WorkFailed, user_environment

MACHINE = GuestArm64Backend.name
_MODULES = ("__init__", "inside", "work", "servers", "workplace", "processes", "counting")
_SENT = (
    *("nanonap/*.py", "nanonap/base/*.py", "nanonap/trials/*.py"),
    *(f"nanonap/trials/corpus/{each}.py" for each in _MODULES),
)
_MAIN = "from nanonap.trials.corpus.inside import main\n\nmain()\n"
_LIMIT_S = 1000  # of this machine's: more than one boot may take


@dataclass(frozen=True)
class TrialElsewhere(ProgramTrial):
    """``waits``: those that were counted, by arm."""

    waits: dict[str, Waits] = field(default_factory=dict)

    def _work(self, arm: str, programs: tuple[Path, ...], *_: object, **__: object) -> dict[str, str]:
        """Raises WorkFailed, also where the machine fails, and QuotaUnavailable where none can be made."""
        work, counted = self.program.work, self.program.counted and arm != "stock"
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            code = Path(folder, "corpus.zip")
            code.write_bytes(sent())
            inside = ["python3", str(code), work.__module__, work.__name__, "counted" if counted else ""]
            words = JobGroup(MACHINE, image(MACHINE, kind=PYTHON_JOBS)).command(
                [*inside, *(str(each.absolute()) for each in programs)]
            )
            ran = self.processes.run(words, cwd=PROJECT, environment=user_environment(), limit_s=_LIMIT_S)
        if ran.timed_out or ran.status:
            raise WorkFailed("no end in time" if ran.timed_out else ran.text.strip()[-300:] or f"status {ran.status}")
        told = json.loads(ran.stdout)
        if counted:
            self.waits[arm] = Waits(**told["waits"])
        return dict(told["evidence"])

    def _counted(self, arm: Variant, patched: tuple[Path, ...], folders: list[Path]) -> Waits | None:
        """Those of the work that is done. Where they are asked for there must be some: then the new code has run."""
        waits = self.waits.get(arm.name)
        if waits is not None and not waits.precise:
            raise WorkFailed(f"none of its waits came from the new code, {waits.milliseconds} from the old")
        return waits


def sent() -> bytes:
    """The modules that run there."""
    return packed(_MAIN, _SENT)
