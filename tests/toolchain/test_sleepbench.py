"""sleepbench's output is whole and true to what was asked; no sleep is recorded as shorter than it was to be."""

import ctypes
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nanonap.toolchain.wheels import DEFAULT_GO
from tests.patcher.tracing import named, request, timeout_ms, traced
from tests.patience import PATIENCE_S, wait_until
from tests.toolchain.conftest import Run, read_run

METHODS = ("sleep", "timer", "ticker", "context", "usleep", "floor", "nanosleep", "sleep-then-spin")
HOLDING_METHODS = ("usleep", "floor")

Sleepbench = Callable[..., Run]

SYS_TGKILL = 234  # x86-64; glibc before 2.30 has no function for it


@pytest.mark.parametrize("method", METHODS)
def test_relative_sleeps_are_recorded_whole_and_never_early(sleepbench: Sleepbench, method: str) -> None:
    run = sleepbench("-method", method, "-plan", "50us*30,1ms*5,25ms*2", "-sleepers", "3", "-burn", "1")
    header, columns = run.header, run.columns
    assert (header["schema"], header["go_version"], header["method"]) == (1, f"go{DEFAULT_GO}", method)
    assert (header["pace"], header["sleepers"], header["burn"], header["missed"]) == ("relative", 3, 1, 0)
    assert not header["truncated"]
    assert header["n"] == 3 * 37
    assert list(columns["sleeper"]) == [0] * 37 + [1] * 37 + [2] * 37
    for sleeper in range(3):
        requested = run.of_sleeper("requested_ns", sleeper)
        assert Counter(requested.tolist()) == {50_000: 30, 1_000_000: 5, 25_000_000: 2}
        starts, actual = run.of_sleeper("start_ns", sleeper), run.of_sleeper("actual_ns", sleeper)
        assert (starts[0] >= 0) and (starts[1:] >= starts[:-1] + actual[:-1]).all()
    assert (columns["actual_ns"] >= columns["requested_ns"]).all()
    assert (columns["start_ns"] + columns["actual_ns"]).max() <= header["wall_ns"]


@pytest.mark.parametrize("method", METHODS)
def test_absolute_schedules_are_kept_and_lateness_is_never_negative(sleepbench: Sleepbench, method: str) -> None:
    interval, phase = 3_000_000, 20_000
    run = sleepbench(
        *("-method", method, "-pace", "absolute", "-plan", "3ms*12", "-phase", "20us", "-sleepers", "3"),
    )
    assert (run.header["pace"], run.header["phase_ns"], run.header["n"]) == ("absolute", phase, 36)
    for sleeper in range(3):
        expected = sleeper * phase + interval * np.arange(12)
        assert (run.of_sleeper("start_ns", sleeper) == expected).all()
    assert (run.columns["actual_ns"] >= run.columns["requested_ns"]).all()


def test_deadlines_that_have_passed_are_recorded_and_counted(sleepbench: Sleepbench) -> None:
    run = sleepbench("-pace", "absolute", "-plan", "1us*500", "-warmup", "0")
    assert run.header["missed"] > 0
    assert run.header["n"] == 500
    ends = run.columns["start_ns"] + run.columns["actual_ns"]
    assert (np.diff(ends) >= 0).all()


def test_the_header_states_every_fact_of_the_run(sleepbench: Sleepbench) -> None:
    header = sleepbench("-plan", "1ms", "-samples", "3", "-seed", "7", "-warmup", "2").header
    assert header["plan"] == [{"requested_ns": 1_000_000, "samples": 3}]
    assert (header["seed"], header["warmup"], header["gomaxprocs"]) == (7, 2, 2)
    assert header["num_cpu"] == len(os.sched_getaffinity(0))
    assert header["clock"] == "CLOCK_MONOTONIC"
    assert header["clock_resolution_ns"] == round(time.clock_getres(time.CLOCK_MONOTONIC) * 1e9)
    assert header["columns"] == ["requested_ns", "actual_ns", "start_ns", "sleeper"]
    assert header["goarch"] in ("amd64", "arm64")
    positive = ("pid", "clock_read_ns", "wall_ns", "cpu_ns", "nvcsw", "threads_peak", "timer_slack_ns")
    assert all(header[key] > 0 for key in positive)
    assert header["nivcsw"] >= 0


def test_the_seed_decides_the_order_and_each_sleeper_has_its_own(sleepbench: Sleepbench) -> None:
    plan = ("-plan", "1us*50,2us*50", "-sleepers", "2", "-warmup", "0")
    first, again, other = (sleepbench(*plan, "-seed", seed) for seed in ("3", "3", "4"))
    orders = [run.columns["requested_ns"].tolist() for run in (first, again, other)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][:100] != orders[0][100:]


@pytest.mark.parametrize("method", ["sleep", "floor"])
def test_the_timer_slack_of_the_run_is_reported(sleepbench_path: Path, method: str) -> None:
    assert set_slack_and_run(sleepbench_path, 4321, method).header["timer_slack_ns"] == 4321


def set_slack_and_run(program: Path, slack_ns: int, method: str) -> Run:
    """prctl(PR_SET_TIMERSLACK) is kept over execve(2)."""

    def set_slack() -> None:
        ctypes.CDLL(None).prctl(29, slack_ns)

    command = [str(program), "-method", method, "-plan", "1us*1"]
    return read_run(subprocess.run(command, preexec_fn=set_slack, capture_output=True, check=True).stdout)


@pytest.mark.parametrize("method", HOLDING_METHODS)
def test_a_sleeper_that_holds_its_processor_has_one_of_its_own(sleepbench: Sleepbench, method: str) -> None:
    options = ("-plan", "1us*1", "-sleepers", "4", "-burn", "1", "-gomaxprocs", "2")
    assert sleepbench("-method", method, *options).header["gomaxprocs"] == 5
    assert sleepbench("-method", "sleep", *options).header["gomaxprocs"] == 2


def test_a_sleeper_on_a_thread_of_its_own_is_counted(sleepbench: Sleepbench) -> None:
    assert sleepbench("-method", "floor", "-plan", "1ms*5", "-sleepers", "30").header["threads_peak"] > 30


def test_burners_burn_through_the_window_alone(sleepbench: Sleepbench) -> None:
    plan = ("-plan", "100ms*4", "-warmup", "0")
    quiet, busy = sleepbench(*plan).header, sleepbench(*plan, "-burn", "1").header
    assert busy["cpu_ns"] > 3 * quiet["cpu_ns"]


def test_max_time_starts_no_new_sleep(sleepbench: Sleepbench) -> None:
    run = sleepbench("-plan", "1ms*1000000", "-max-time", "50ms")
    assert run.header["truncated"]
    assert 0 < run.header["n"] < 1_000_000
    assert run.columns["start_ns"].max() < 50_000_000 * 1.5
    assert run.header["wall_ns"] >= 50_000_000


@pytest.mark.parametrize("method", ["sleep", "floor"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_at_once_and_what_was_measured_is_written(
    sleepbench_path: Path, method: str, number: signal.Signals
) -> None:
    process = start(sleepbench_path, "-method", method, "-plan", "1us*1000,1h*1", "-burn", "1", "-warmup", "0")
    process.send_signal(number)
    try:
        output, error = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert (process.returncode, error) == (0, b"")
    run = read_run(output)
    assert run.header["truncated"]
    assert (run.columns["actual_ns"] >= run.columns["requested_ns"]).all()


def test_a_sibling_burns_beside_the_sleeper_and_is_gone_with_it(sleepbench_path: Path) -> None:
    process = subprocess.Popen([sleepbench_path, "-sibling", "1", "-plan", "1h*1", "-warmup", "0"])
    wait_until(lambda: any(ticks_used(pid) > 5 for pid in children(process.pid)))
    (beside,) = children(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: not Path(f"/proc/{beside}").exists())


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(each) for task in tasks for each in task.read_text().split()]


def ticks_used(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def test_allocators_keep_the_collector_busy_and_no_sleep_is_early(sleepbench: Sleepbench) -> None:
    run = sleepbench("-gc", "1", "-plan", "1ms*20", "-max-time", "2s")
    assert run.header["gc"] == 1
    assert run.header["goroutines"] >= 3
    assert (run.columns["actual_ns"] >= run.columns["requested_ns"]).all()


def test_a_yielding_loop_lasts_what_was_asked_and_its_rounds_are_counted(sleepbench: Sleepbench) -> None:
    run = sleepbench("-method", "gosched", "-plan", "20ms*3", "-warmup", "0")
    assert run.header["iterations"] > 3
    assert (run.columns["actual_ns"] >= run.columns["requested_ns"]).all()


def test_nanosleep_asks_the_kernel_for_each_sleep(sleepbench_path: Path, tmp_path: Path) -> None:
    options = ("-method", "nanosleep", "-plan", "1500us*40", "-warmup", "0", "-gc", "1")
    run, threads = traced(tmp_path / "log", sleepbench_path, *options)
    assert (run.columns["actual_ns"] >= 1_500_000).all()
    asked = [request(each) for each in named(threads, "nanosleep")]
    assert asked.count((0, 1_500_000)) == 40  # what is asked after a signal is less
    assert run.header["gomaxprocs"] == 2


def test_a_signal_does_not_end_a_nanosleep_early(sleepbench_path: Path) -> None:
    options = ("-method", "nanosleep", "-plan", "100ms*10", "-burn", "1", "-warmup", "0")
    process = start(sleepbench_path, *options)
    for _ in range(10):  # SIGURG to every thread, as the runtime itself sends it
        for thread in Path(f"/proc/{process.pid}/task").glob("*"):
            ctypes.CDLL(None).syscall(SYS_TGKILL, process.pid, int(thread.name), signal.SIGURG)
        time.sleep(0.01)
    run = read_run(process.communicate(timeout=PATIENCE_S)[0])
    assert run.header["n"] == 10
    assert (run.columns["actual_ns"] >= 100_000_000).all()


def test_sleep_then_spin_sleeps_all_but_the_margin_and_below_it_not_at_all(
    sleepbench_path: Path, tmp_path: Path
) -> None:
    def waits(plan: str) -> list[int]:
        options = ("-method", "sleep-then-spin", "-plan", plan, "-warmup", "0")
        run, threads = traced(tmp_path / plan, sleepbench_path, *options)
        assert (run.columns["actual_ns"] >= run.columns["requested_ns"]).all()
        return [ms for each in named(threads, "epoll_pwait") if (ms := timeout_ms(each)) > 0]

    assert waits("1200us*40") == []
    assert max(asleep := waits("9200us*20")) <= 8
    assert len(asleep) >= 20


def start(*command: Path | str) -> subprocess.Popen[bytes]:
    """Start sleepbench with a burner, which begins once signals are taken care of; wait until it has burnt 0.2 s."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    status = Path(f"/proc/{process.pid}/stat")
    ticks = os.sysconf("SC_CLK_TCK") / 5
    while process.poll() is None and int(status.read_text().rpartition(")")[2].split()[11]) < ticks:
        time.sleep(0.01)
    return process


BAD_OPTIONS = [
    (("-method", "nap"), "floor"),
    (("-pace", "slow"), "relative, absolute"),
    (("-plan", "50"), "50"),
    (("-plan", "-1ms"), "-1ms"),
    (("-plan", "1ms*0"), "number of samples"),
    (("-plan", "1ms*x"), "number of samples"),
    (("-plan", ""), "positive duration"),
    (("-plan", "1ms,2ms", "-pace", "absolute"), "one duration"),
    (("-plan", "1500ns", "-method", "usleep"), "whole microseconds"),
    (("-plan", "2h", "-method", "usleep"), "4294967295"),
    (("-phase", "1ms"), "-pace absolute"),
    (("-samples", "0"), "-samples 0"),
    (("-sleepers", "0"), "-sleepers 0"),
    (("-burn", "-1"), "-burn -1"),
    (("-sibling", "-1"), "-sibling -1"),
    (("-gc", "-1"), "-gc -1"),
    (("-gc", "1", "-method", "floor"), "without the collector"),
    (("-gomaxprocs", "-1"), "-gomaxprocs -1"),
    (("-warmup", "-1"), "-warmup -1"),
    (("-max-time", "-1s"), "negative"),
    (("-plan", "1ms*100000000", "-sleepers", "2"), "at most"),
    (("-unknown",), "-unknown"),
    (("1ms",), "not an option"),
]


@pytest.mark.parametrize(("options", "named"), BAD_OPTIONS, ids=" ".join)
def test_bad_options_are_one_line_and_status_2(sleepbench_path: Path, options: tuple[str, ...], named: str) -> None:
    answer = subprocess.run([sleepbench_path, *options], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.count("\n") == 1
    assert named in answer.stderr


def test_output_that_cannot_be_written_is_an_error(sleepbench_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        answer = subprocess.run([sleepbench_path, "-plan", "1us*1"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert answer.returncode == 1
    assert b"no space" in answer.stderr
