"""Inject and eject in a process that runs: what is in memory, what it does, what it was."""

import shutil
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import UsageError
from patcher.live import slack
from patcher.live.errors import NotInjected
from patcher.live.planning import plan
from patcher.wait import Wait
from tests.conftest import BuildProgram
from tests.patcher.live.targets import Codes, running
from tests.soon import soon

BUILDS = (("1.27.3", "default"), ("1.27.3", "race"), ("1.19.8", "pie"))


@pytest.fixture(scope="module", params=soon(BUILDS, 0, long=(2,)), ids="-".join)
def survive(request: pytest.FixtureRequest, build_program: BuildProgram) -> Path:
    go, mode = request.param
    return build_program("survive", go, mode)


def test_what_goes_in_comes_out(survive: Path) -> None:
    codes = Codes.of(survive)
    with running(survive, "-mode", "signals", "-for", "1h") as target:
        before = slack.read(target.pid)
        done = patcher.inject(target.pid, slack_ns=1)
        assert (done.before, done.after, done.pid) == ("stock", "injected", target.pid)
        assert done.new_syscalls == ("epoll_pwait2",)
        assert done.threads > 2
        assert done.pause_ns > 0
        assert codes.in_memory(target) == codes.stub()
        seen = patcher.status(target.pid)
        assert (seen.state, seen.slack_ns, seen.slack_set) == ("injected", 1, True)
        assert seen.options == Wait().to_json()
        again = patcher.inject(target.pid, quantum_ns=800_000, dense_ns=32_768)
        assert (again.before, again.after) == ("injected", "injected")
        assert codes.in_memory(target) == codes.stub(Wait(800_000, 32_768))
        assert patcher.status(target.pid).options == {"quantum_ns": 800_000, "dense_ns": 32_768, "spin_ns": None}
        back = patcher.eject(target.pid)
        assert (back.before, back.after) == ("injected", "stock")
        assert codes.in_memory(target) == codes.spot.stock
        assert {slack.read(int(each.name)) for each in Path(f"/proc/{target.pid}/task").iterdir()} <= {before, None}
        assert patcher.status(target.pid).state == "stock"
        with pytest.raises(NotInjected, match="nothing to undo"):
            patcher.eject(target.pid)
        told = target.finished()
        assert (told["early"], told["corrupted"]) == (0, 0)


def test_processes_of_one_program_are_planned_once(survive: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(survive, tmp_path))
    scripts = []
    for path in (survive, survive, other):
        with running(path, "-mode", "wait", "-for", "1000s") as target:
            scripts.append(plan(target.pid, "inject", Wait()))
    assert scripts[0] is scripts[1] is not scripts[2] == scripts[0]


def test_a_dry_run_writes_nothing(survive: Path) -> None:
    codes = Codes.of(survive)
    with running(survive, "-mode", "signals", "-for", "1h") as target:
        done = patcher.inject(target.pid, dry_run=True, slack_ns=1)
        assert (done.dry_run, done.after) == (True, "injected")
        assert done.pause_ns > 0
        assert codes.in_memory(target) == codes.spot.stock
        assert slack.read(target.pid) != 1


def test_options_that_cannot_be_are_refused_before_anything(survive: Path) -> None:
    with running(survive, "-mode", "wait", "-for", "1h") as target, pytest.raises(UsageError, match="exclude"):
        patcher.inject(target.pid, quantum_ns=800_000, spin_ns=40_000)
