"""As in a pod: another container's process in the same PID namespace, own mounts, root with few capabilities."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from nanonap.base.paths import PROJECT
from patcher.live import slack
from tests.conftest import BuildProgram
from tests.patcher.live.awkward import children
from tests.patience import PATIENCE_S

_INSIDE = """
import json, sys, patcher
told = []
for change in (lambda: patcher.inject(1, slack_ns=1), lambda: patcher.status(1), lambda: patcher.eject(1)):
    try:
        told.append(change().to_json())
    except patcher.NanonapError as error:
        told.append([error.exit_code, str(error)])
print(json.dumps(told))
"""


@pytest.fixture
def first(build_program: BuildProgram) -> Iterator[int]:
    """A process that is the first of its PID namespace; its number here."""
    if os.geteuid() or not all(map(shutil.which, ("unshare", "nsenter", "setpriv"))):
        pytest.skip("no unshare, nsenter, setpriv, or not root: apt-get install util-linux, and run the tests as root")
    words = [str(build_program("survive")), "-mode", "wait", "-sleepers", "5", "-for", "1000s"]
    outside = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert outside.stdout is not None
        assert outside.stdout.readline() == "ready\n"
        [pid] = children(outside.pid)
        yield pid
        assert outside.poll() is None
    finally:
        outside.kill()
        outside.communicate(timeout=PATIENCE_S)


def _told(pid: int, *capabilities: str) -> list[dict[str, object] | list[object]]:
    """What inject, status and eject of process 1 come to in there, for root with these capabilities alone."""
    entered = ["nsenter", f"--target={pid}", "--pid", "unshare", "--mount", "--mount-proc"]
    kept = ",".join(["-all", *(f"+{each}" for each in capabilities)])
    limited = ["setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}"]
    done = subprocess.run(
        [*entered, *limited, sys.executable, "-c", _INSIDE],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S, cwd=PROJECT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: list[dict[str, object] | list[object]] = json.loads(done.stdout)
    return told


@pytest.mark.long
def test_with_its_two_capabilities_all_is_done_from_inside(first: int) -> None:
    injected, seen, ejected = _told(first, "sys_ptrace", "sys_nice")
    assert isinstance(injected, dict) and isinstance(seen, dict) and isinstance(ejected, dict), (injected, ejected)
    assert (injected["pid"], injected["after"], injected["slack_failed"]) == (1, "injected", 0)
    assert (seen["state"], seen["slack_ns"]) == ("injected", 1)
    assert (ejected["before"], ejected["after"]) == ("injected", "stock")
    assert slack.read(first) != 1


def test_without_the_first_it_is_refused_and_says_which(first: int) -> None:
    injected, _, ejected = _told(first, "sys_nice")
    for each in (injected, ejected):
        assert isinstance(each, list)
        assert each[0] == 61
        assert "SYS_PTRACE" in str(each[1])
        assert "run as root" not in str(each[1])
