"""The record of the timer slack: in no folder of another's, and where it cannot be kept the slack is not set."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import patcher
from nanonap.base.paths import PROJECT
from patcher.live import slack
from patcher.live.agent import Request
from patcher.live.calling import call
from patcher.live.planning import plan
from patcher.live.process import target_of
from patcher.wait import PRECISE
from tests.conftest import BuildProgram
from tests.patcher.live.targets import running

_NOBODY = 65534
_AS_NOBODY = f"""
import os
from patcher.live import slack
os.setresuid({_NOBODY}, {_NOBODY}, {_NOBODY})
print(slack.record_of(7, 8))
"""


def _record_of_nobody(folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
    words = [sys.executable, "-c", _AS_NOBODY]
    done = subprocess.run(
        words, cwd=PROJECT, env=environment | {"TMPDIR": str(folder)}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_a_folder_that_another_made_is_not_used() -> None:
    with tempfile.TemporaryDirectory() as folder:  # where a user without rights may come, unlike to tmp_path
        place = Path(folder)
        place.chmod(0o1777)
        squatted = place / f"nanonap-{_NOBODY}"
        squatted.mkdir()
        squatted.chmod(0o777)
        assert _record_of_nobody(place) == "None"
        squatted.rmdir()
        assert _record_of_nobody(place) == str(squatted / "7-8.json")
        assert stat.S_IMODE(squatted.stat().st_mode) == 0o700


def test_a_slack_that_could_not_be_given_back_is_not_set(build_program: BuildProgram, tmp_path: Path) -> None:
    with running(build_program("survive"), "-mode", "wait", "-sleepers", "5", "-for", "1000s") as target:
        before = slack.read(target.pid)
        done = call(
            Request(
                pid=target.pid,
                started=target_of(target.pid).started,
                script=plan(target.pid, "inject", PRECISE),
                record=str(tmp_path / "gone" / "record"),
                slack_ns=1,
            )
        )
        assert (done.written, done.slack_failed) == (1, done.threads)
        assert slack.read(target.pid) == before
        assert patcher.status(target.pid).state == "injected"
