"""A run of the real program, and every way in which a program can fail to give a run."""

import json
import os
import signal
import stat
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nanonap.base.errors import Interrupted
from nanonap.lab.ground.errors import QuotaUnavailable, RunFailed
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.plan.arms import Arm, discover
from nanonap.lab.plan.conditions import COST, PRIMARY, Condition, parse_load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.run.runner import Output, execute, measure, parse
from tests.lab.made import GO, Roots

PLAN = ((100_000, 5), (1_000_000, 3))
HALF = parse_quota("50%")


@pytest.fixture
def stock(roots: Roots) -> Arm:
    return discover(roots.build, roots.patched, GO, names=("stock",))[0]


def _run(arm: Arm, condition: Condition = PRIMARY, plan: tuple[tuple[int, int], ...] = PLAN, max_ms: int = 0) -> Run:
    return Run(0, arm, condition, plan, max_ms * 1_000_000, seed=7)


def _script(folder: Path, text: str) -> Arm:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Arm("netpoll", path, "sleep", "netpoll", None, GO, "")


def test_a_run_gives_the_samples_that_were_planned(stock: Arm) -> None:
    measured = measure(_run(stock), 2, NoBackend(), Stop())
    requested, actual, start, sleeper = measured.output.samples
    assert sorted(requested) == [100_000] * 5 + [1_000_000] * 3
    assert (actual >= requested).all()
    assert (np.diff(start) > 0).all()
    assert set(sleeper) == {0}
    assert measured.throttling is None
    header = measured.output.header
    assert (header.gomaxprocs, header.truncated) == (2, False)


def test_the_cost_workload_gives_samples_of_every_sleeper(stock: Arm) -> None:
    output = measure(_run(stock, COST, ((1_000_000, 10),)), 2, NoBackend(), Stop()).output
    assert output.header.n == 500
    assert set(output.samples[3]) == set(range(50))


def test_a_burner_beside_the_sleeper_under_quota_is_throttled(stock: Arm, backend: Backend) -> None:
    # A tenth of a CPU: on a machine that others load too, a burner may not get half of one to begin with.
    tenth = parse_quota("10%")
    condition = Condition(tenth, parse_load("burn:1"))
    measured = measure(_run(stock, condition, ((1_000_000, 1000),), max_ms=400), 2, backend, Stop())
    assert measured.effective.quota == tenth
    assert measured.throttling is not None
    assert measured.throttling.nr_throttled > 0
    assert measured.throttling.throttled_ns > 0
    assert measured.output.header.truncated


def test_a_run_without_quota_gets_no_group(stock: Arm, backend: Backend) -> None:
    assert measure(_run(stock), 2, backend, Stop()).throttling is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo 'no memory left' >&2; exit 3", "exit status 3; its stderr: no memory left"),
        ("kill -SEGV $$", "ended by SIGSEGV"),
        ("echo 'fatal error: unexpected return pc' >&2; kill -ABRT $$", "SIGABRT.*unexpected return pc"),
        ("exit 0", "does not start with a header"),
        ("echo '{}'", "missing required field `n`"),
        ("echo '[1]'", "Expected `object`"),
    ],
)
def test_a_failing_program_is_named_by_its_arm_with_status_and_stderr(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(RunFailed, match=told) as caught:
        measure(_run(_script(tmp_path, text)), 2, NoBackend(), Stop())
    assert "arm netpoll" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_that_sleepbench_refuses_are_passed_on_as_it_says_it(stock: Arm) -> None:
    with pytest.raises(RunFailed, match=r"exit status 2; its stderr: .*method"):
        measure(_run(replace(stock, method="nonsense")), 2, NoBackend(), Stop())


def test_a_file_that_cannot_be_started_is_said_so(tmp_path: Path) -> None:
    arm = replace(_script(tmp_path, "exit 0"), path=tmp_path / "missing")
    with pytest.raises(RunFailed, match="cannot be started"):
        measure(_run(arm), 2, NoBackend(), Stop())


def test_a_program_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    lived = tmp_path / "lived"
    finished = Stop().run(["/bin/sh", "-c", f"(sleep 2; : > {lived}) & echo started; sleep 100"], timeout_s=0.3)
    assert finished.timed_out
    assert finished.status == -signal.SIGKILL
    assert finished.stdout == b"started\n"
    assert not lived.exists()


def test_a_group_that_cannot_be_entered_is_no_fault_of_the_program(stock: Arm, backend: Backend) -> None:
    run = _run(stock, Condition(HALF, PRIMARY.load))
    group = backend.open(Limits(HALF))
    group.close()
    with pytest.raises(QuotaUnavailable, match="could not enter its group"):
        execute(group.command(["true"]), run, Stop())
    with pytest.raises(QuotaUnavailable, match="reading"):
        group.counters()


def _output(run: Run, **change: object) -> bytes:
    header = {
        "schema": 1,
        "columns": ["requested_ns", "actual_ns", "start_ns", "sleeper"],
        "n": run.planned,
        "wall_ns": 1,
        "cpu_ns": 1,
        "nvcsw": 1,
        "nivcsw": 1,
        "threads_peak": 1,
        "truncated": False,
        "timer_slack_ns": 50_000,
        "gomaxprocs": 2,
        **change,
    }
    return json.dumps(header).encode() + b"\n" + np.arange(4 * run.planned, dtype="<i8").tobytes()


def test_the_columns_are_read_in_their_order(stock: Arm) -> None:
    run = _run(stock)
    parsed = parse(_output(run), run)
    assert isinstance(parsed, Output)
    assert parsed.samples.tolist() == np.arange(4 * run.planned).reshape(4, run.planned).tolist()


def test_output_that_does_not_add_up_is_refused(stock: Arm) -> None:
    run = _run(stock)
    with pytest.raises(RunFailed, match="bytes of samples"):
        parse(_output(run)[:-1], run)
    with pytest.raises(RunFailed, match="bytes of samples"):
        parse(_output(run, n=9), run)
    with pytest.raises(RunFailed, match="schema 2"):
        parse(_output(run, schema=2), run)
    with pytest.raises(RunFailed, match="columns"):
        parse(_output(run, columns=["actual_ns"]), run)
    longer = _run(stock, plan=((100_000, 9),))
    with pytest.raises(RunFailed, match="8 samples, and 9 were asked for"):
        parse(_output(run), longer)
    assert parse(_output(run, truncated=True), longer).header.n == 8


def test_an_interruption_ends_the_child_and_all_it_started_and_is_raised_after(tmp_path: Path) -> None:
    stop, lived = Stop(), tmp_path / "lived"
    before = signal.getsignal(signal.SIGINT)
    with stop.listening():
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(Interrupted, match="SIGINT"):
            stop.run(["/bin/sh", "-c", f"sleep 60; : > {lived}"], timeout_s=100)
        timer.join()
    assert not lived.exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_nothing_is_started_after_an_interruption() -> None:
    stop = Stop()
    stop.signal = signal.SIGTERM
    with pytest.raises(Interrupted, match="SIGTERM"):
        stop.run(["true"], timeout_s=1)
