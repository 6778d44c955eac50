"""sleepbench -trace-wakes: the thread of each wake-up, and the window's place on the clock; else its output as ever."""

import subprocess
import time

import pytest

from nanonap.lab.attribution.attribute import read_sleeps
from tests.conftest import BuildProgram
from tests.soon import soon


@pytest.mark.parametrize("pace", ["relative", "absolute"])
def test_each_sleep_has_the_thread_on_which_it_ended(build_program: BuildProgram, pace: str) -> None:
    command = [str(build_program("sleepbench")), "-plan", "1ms*20", "-sleepers", "3", "-pace", pace, "-trace-wakes"]
    before = time.monotonic_ns()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate()
    after = time.monotonic_ns()
    header, sleeps = read_sleeps(output)
    assert header.columns == ["requested_ns", "actual_ns", "start_ns", "sleeper", "tid"]
    assert before < header.window_start_ns < after
    assert sleeps.height == 60
    # Threads are numbered on from their process.
    assert (sleeps["tid"] >= process.pid).all()
    assert (sleeps["start_ns"] >= header.window_start_ns).all()
    assert (sleeps["start_ns"] + sleeps["actual_ns"] < after).all()


def test_a_sleeper_that_holds_its_thread_wakes_on_it_always(build_program: BuildProgram) -> None:
    command = [
        str(build_program("sleepbench")),
        "-method",
        "floor",
        "-plan",
        "1ms*20",
        "-sleepers",
        "2",
        "-trace-wakes",
    ]
    _, sleeps = read_sleeps(subprocess.run(command, capture_output=True, check=True).stdout)
    threads = sleeps.group_by("sleeper").agg("tid")["tid"].to_list()
    assert [len(set(each)) for each in threads] == [1, 1]
    assert threads[0][0] != threads[1][0]


@pytest.mark.parametrize("go", soon(["1.21.13", "1.27.3"], 1))
def test_without_the_option_nothing_is_added(build_program: BuildProgram, go: str) -> None:
    output = subprocess.run(
        [str(build_program("sleepbench", go)), "-plan", "1us*3"], capture_output=True, check=True
    ).stdout
    assert b"window_start_ns" not in output
    assert b"tid" not in output
    assert len(output.partition(b"\n")[2]) == 3 * 4 * 8
