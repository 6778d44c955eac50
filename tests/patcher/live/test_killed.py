"""The command is killed (SIGKILL) at any moment: the process is whole, status names its state, the next one goes on."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import patcher
from nanonap.base.paths import PROJECT
from patcher.live.errors import NotInjected
from tests.conftest import BuildProgram
from tests.patcher.live.targets import running

_SOURCE = "import sys, patcher; patcher.inject(int(sys.argv[1]), slack_ns=1)"
_KILLS = 6


@pytest.mark.long
@pytest.mark.parametrize("group", [False, True], ids=["command", "command-and-agent"])
def test_a_killed_command_leaves_a_whole_process(build_program: BuildProgram, group: bool) -> None:
    dice = random.Random(group)  # noqa: S311 - moments, not secrets
    with running(build_program("survive"), "-mode", "wait", "-sleepers", "20", "-for", "1h") as target:
        for _ in range(_KILLS):
            command = subprocess.Popen(
                [sys.executable, "-c", _SOURCE, str(target.pid)], cwd=PROJECT, stderr=subprocess.DEVNULL
            )
            time.sleep(dice.uniform(0.2, 4))  # a moment, not a wait
            agents = _children(command.pid) if group else []
            command.kill()
            for each in agents:
                if each != target.pid:
                    os.kill(each, signal.SIGKILL)
            command.wait()
            assert target.process.poll() is None
            assert _settled(target.pid).state in ("stock", "injected")
            try:
                assert patcher.eject(target.pid).after == "stock"
            except NotInjected:
                assert patcher.status(target.pid).state == "stock"
        assert patcher.inject(target.pid).after == "injected"
        assert target.process.poll() is None


def _settled(pid: int) -> patcher.Status:
    """Once an agent whose command was killed has let go."""
    seen = patcher.status(pid)
    while seen.state == "unknown":
        seen = patcher.status(pid)
    return seen


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
