"""The measured program with a runtime that is a rival, built on the spot, for experiments that compare with it."""

from pathlib import Path

from nanonap.base.paths import TRIED
from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.experiments.kit.copies import plain_arm
from nanonap.lab.plan.arms import PROGRAM, Arm
from nanonap.toolchain.build import build
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher import patch


def rival_arms(setting: Setting, mode: str, folder: Path) -> list[Arm]:
    """A build mode's program as an arm of its name, and one with 1 ns of timer slack, which is put into ``folder``.

    Raises what ``build`` and ``patch`` raise.
    """
    setting.say(f"building the program in mode {mode}")
    program = build(DEFAULT_GO, mode, programs=(PROGRAM,), out=TRIED)[0].path
    out = folder / f"{PROGRAM}.{mode}+slack1"
    patch(program, out, "slack", slack_ns=1, force=True)
    return [plain_arm(mode, program), plain_arm(f"{mode}+slack1", out)]
