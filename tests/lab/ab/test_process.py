"""An A/B of a running process: it is left as it was found, however the A/B ends."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import patcher
from nanonap.base.dice import seeded
from nanonap.base.errors import Interrupted, UsageError
from nanonap.lab.ab.errors import LoadFailed, NotStock, ServiceDied
from nanonap.lab.ab.main import judged, run_ab
from nanonap.lab.ab.service import Child
from nanonap.lab.ab.store import read
from patcher.live.errors import NoSuchProcess
from tests import warm
from tests.lab.ab.conftest import METRICS, Answerer
from tests.patience import wait_until
from tests.soon import soon
from tests.warm import INVOKE


@pytest.fixture
def running(answerer: Answerer) -> Iterator[int]:
    """The answerer's number, once it listens."""
    child = Child([str(answerer.path), f"localhost:{answerer.port}", "100us"])
    try:
        wait_until(lambda: b"listening" in child.stdout)
        yield child.process.pid
    finally:
        child.close(ask=True)


def asked_of(answerer: Answerer, pid: int, out: Path) -> dict[str, object]:
    return {"binary": None, "run": None, "ready": None, "pid": pid, "guard": "1ms", "arms": None, "out": out}


def state(pid: int) -> tuple[str, bool, int | None]:
    found = patcher.status(pid)
    return found.state, found.slack_set, found.slack_ns


@pytest.mark.long
def test_it_answers_sooner_while_it_is_injected_and_is_stock_in_the_end(
    answerer: Answerer, running: int, tmp_path: Path
) -> None:
    before = state(running)
    folder = run_ab(answerer.asked(**asked_of(answerer, running, tmp_path / "out"), metrics=METRICS))
    assert state(running) == before
    about, runs = read(folder)
    assert about.go == patcher.status(running).go
    for run in runs:
        last = run.live[-1] if run.live else None
        assert (last is not None and last.action == "inject") == (run.arm == "netpoll+slack1")
        assert last is None or last.slack_ns == (1 if last.action == "inject" else None)
    late, _, least = judged(folder).rows[:3]
    assert (late.figure, least.figure, least.arm) == ("median", "least", "netpoll+slack1")
    assert least.median < late.stock_median


def test_a_failure_in_the_midst_leaves_it_as_it_was(answerer: Answerer, running: int, tmp_path: Path) -> None:
    before = state(running)
    script = f"[ -e {tmp_path}/out/runs.jsonl ] && exit 7; exec {answerer.load()}"
    with pytest.raises(LoadFailed, match="exit status 7"):
        run_ab(answerer.asked(**asked_of(answerer, running, tmp_path / "out"), load=f"sh -c '{script}'"))
    assert state(running) == before


@pytest.mark.parametrize("number", soon([signal.SIGINT, signal.SIGKILL]), ids=str)
def test_who_interrupts_finds_it_as_it_was(
    answerer: Answerer, running: int, tmp_path: Path, number: signal.Signals
) -> None:
    """SIGKILL, too: then another process puts it back. The load of the first injected run never ends."""
    before, arms = state(running), ["stock", "netpoll+slack1"]
    seed = next(each for each in range(99) if seeded(each).sample(arms, 2)[0] != "stock")
    trial = f"{tmp_path}/trial"
    load = f"sh -c '[ -e {trial} ] && exec sleep 1000; touch {trial}'"
    words = ["--pid", running, "--load", load, "--guard", "1ms", "--out", tmp_path / "out", "--seed", seed]
    command = [INVOKE, "ab", *map(str, words)]
    with warm.start(command) as process:
        try:
            wait_until(lambda: state(running)[0] == "injected" or process.poll() is not None)
            assert process.poll() is None
            process.send_signal(number)
            _, told = process.communicate()
        finally:
            process.kill()
    if number is not signal.SIGKILL:
        assert process.returncode == Interrupted.exit_code, told
        assert f"interrupted by {number.name}" in told
        assert state(running) == before
    wait_until(lambda: state(running) == before)


def test_one_that_dies_is_told_and_so_is_one_that_is_not_there(
    answerer: Answerer, running: int, tmp_path: Path
) -> None:
    options = asked_of(answerer, running, tmp_path / "out")
    with pytest.raises(ServiceDied, match=f"process {running} ended under its load"):
        run_ab(answerer.asked(**options, load=answerer.load("die")))
    wait_until(lambda: not Path(f"/proc/{running}/exe").exists())
    with pytest.raises(NoSuchProcess):
        run_ab(answerer.asked(**options))


def test_one_that_is_injected_is_not_touched(answerer: Answerer, running: int, tmp_path: Path) -> None:
    patcher.inject(running)
    before = state(running)
    with pytest.raises(NotStock, match="injected, and a stock one is needed: eject it first"):
        run_ab(answerer.asked(**asked_of(answerer, running, tmp_path / "out")))
    assert state(running) == before
    assert patcher.eject(running).after == "stock"


def test_what_only_a_file_can_have_is_refused(answerer: Answerer, running: int, tmp_path: Path) -> None:
    options = asked_of(answerer, running, tmp_path / "out") | {"arms": "stock+slack1"}
    with pytest.raises(UsageError, match="a running process can have netpoll alone"):
        run_ab(answerer.asked(**options))
    with pytest.raises(UsageError, match="--ready goes with --binary"):
        run_ab(answerer.asked(**options | {"ready": "tcp:1"}))
