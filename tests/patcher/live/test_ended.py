"""A process that has ended, and that its parent has not asked for yet, is none."""

import os
from pathlib import Path

import pytest

import patcher
from patcher.live.errors import NoSuchProcess
from tests.conftest import BuildProgram
from tests.patcher.live.targets import running


def test_a_zombie_is_no_process(build_program: BuildProgram) -> None:
    with running(build_program("survive"), "-mode", "wait", "-sleepers", "5", "-for", "1000s") as target:
        os.kill(target.pid, 9)
        os.waitid(os.P_PID, target.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{target.pid}").exists()
        for call in (patcher.inject, patcher.eject):
            with pytest.raises(NoSuchProcess, match="ended"):
                call(target.pid)
