"""Recordings of real programs: what is recorded, what is said where it cannot be, and that nothing is left behind."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from nanonap.base.paths import PROJECT
from nanonap.base.processes import identity
from nanonap.lab.attribution.attribute import PARTS
from nanonap.lab.attribution.errors import RecordingFailed
from nanonap.lab.attribution.events import Exec, Fork, parse_kernel_trace
from nanonap.lab.attribution.recording import TRACED, Recording
from nanonap.lab.attribution.threads import State, threads_of
from nanonap.lab.attribution.traced import run_attributed
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.quota.none import NoBackend
from tests.conftest import BuildProgram
from tests.lab.attribution.tracing import left, needs_tracing
from tests.patience import wait_until

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT)}
RECORDER = [sys.executable, "-m", "nanonap.lab.attribution.recorder", "--program", "sleepbench"]
PARENT = """
import time
from nanonap.lab.attribution.recording import Recording
recording = Recording("sleepbench")
print(recording._process.pid, flush=True)
time.sleep(100)
"""


@contextlib.contextmanager
def parent() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that records, and the number of its recorder."""
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_a_recording_knows_the_programs_threads_and_what_they_did(build_program: BuildProgram) -> None:
    needs_tracing()
    with Recording("sleepbench", mode="trace") as recording:
        command = [str(build_program("sleepbench")), "-plan", "5ms*20", "-burn", "1", "-trace-wakes"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            pass
        trace = parse_kernel_trace(recording.stop())
    assert recording.method in TRACED
    assert recording.refusal is None
    assert trace.lost == 0
    threads = threads_of(trace, process.pid)
    assert len(threads.own) >= 4
    assert threads.sysmon in threads.own
    main = threads.segments[process.pid]
    assert {State.RUNNING, State.BLOCKED} <= {part.state for part in main}
    for parts in threads.segments.values():
        assert all(before.end_ns == after.start_ns for before, after in itertools.pairwise(parts))


def test_sleeps_of_many_threads_are_attributed_whole(build_program: BuildProgram) -> None:
    needs_tracing()
    with NoBackend().open(Limits()) as group:
        argv = [str(build_program("sleepbench")), "-plan", "500us*40,3ms*10", "-sleepers", "10", "-burn", "1"]
        found = run_attributed(argv, group, Stop())
    assert found.sleeps.height == 500
    assert found.sleeps["sleeper"].n_unique() == 10
    assert (found.sleeps.select(pl.sum_horizontal(PARTS)).to_series() == found.sleeps["overshoot_ns"]).all()
    assert int(found.sleeps["unexplained_ns"].sum()) < 0.05 * int(found.sleeps["overshoot_ns"].sum())
    assert found.throttled_ns is None


def test_a_process_that_the_program_forked_is_no_thread_of_it(build_program: BuildProgram) -> None:
    needs_tracing()
    with Recording("sleepbench", mode="trace") as recording:
        command = [str(build_program("sleepbench")), "-plan", "2ms*20", "-sibling", "1", "-trace-wakes"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            pass
        trace = parse_kernel_trace(recording.stop())
    forked = {event.tid for event in trace.events if isinstance(event, Exec)} - {process.pid}
    (sibling,) = (event for event in trace.events if isinstance(event, Fork) and event.child in forked)
    own = threads_of(trace, process.pid).own
    assert len(own) >= 3
    assert sibling.parent in own
    assert sibling.child not in own


@pytest.mark.parametrize(("mode", "method"), [("schedstat", "schedstat sampling"), ("counters", "counters")])
def test_lesser_methods_still_know_the_groups_throttled_time(
    backend: Backend, build_program: BuildProgram, mode: str, method: str
) -> None:
    with backend.open(Limits(parse_quota("10%"))) as group:
        argv = [str(build_program("sleepbench")), "-plan", "5ms*10000", "-burn", "1", "-max-time", "600ms"]
        found = run_attributed([*argv, "-warmup", "1"], group, Stop(), mode)
    assert found.method == method
    assert found.throttled_ns is not None
    assert found.throttled_ns > 0
    assert (found.sleeps.select(pl.sum_horizontal(PARTS)).to_series() == found.sleeps["overshoot_ns"]).all()
    if mode == "schedstat":
        # On a busy machine other sleeps are as late, and no quota's doing.
        late = found.sleeps.filter((pl.col("overshoot_ns") > 20_000_000) & (pl.col("throttled_ns") > 0))
        assert late.height > 0
        # The quota is the cause, but for what other programs took of the processor.
        explained = int(late.select(pl.col("throttled_ns") + pl.col("runqueue_ns")).to_series().sum())
        assert 2 * explained > int(late["overshoot_ns"].sum())


def test_a_program_in_a_pid_namespace_is_found_by_its_group(backend: Backend, build_program: BuildProgram) -> None:
    needs_tracing()
    program = build_program("sleepbench")
    own = ["unshare", "--pid", "--fork", "--kill-child", str(program)]
    with backend.open(Limits(parse_quota("10%"))) as group:
        argv = [*own, "-plan", "20ms*10000", "-burn", "1", "-max-time", "600ms", "-warmup", "1"]
        found = run_attributed(argv, group, Stop(), "trace", program.name)
    lost = int(found.sleeps["overshoot_ns"].sum())
    # Without its threads all is unexplained (test_attribute.py); with them a stop or two on a busy machine may be.
    assert int(found.sleeps["unexplained_ns"].sum()) < 0.2 * lost
    assert found.states["tid"].n_unique() >= 4


def test_a_program_that_fails_is_named_and_nothing_is_left() -> None:
    with NoBackend().open(Limits()) as group:
        with pytest.raises(RunFailed, match=r"status 3.*no memory"):
            run_attributed(["/bin/sh", "-c", "echo no memory >&2; exit 3", "sh"], group, Stop())
        with pytest.raises(RunFailed, match="cannot be started"):
            run_attributed(["/nowhere/sleepbench"], group, Stop())


def test_nothing_is_left_after_a_stop_and_after_a_close() -> None:
    needs_tracing()
    with Recording("sleepbench") as recording:
        name = identity(recording._process.pid)
        assert f"nanonap-{name}" in left()
        recording.stop()
        assert name not in left()
        assert name.replace("-", "_") not in left()
    with Recording("sleepbench") as recording:
        name = identity(recording._process.pid)
    assert name not in left()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_parent_that_ends_without_a_word_leaves_nothing(number: signal.Signals) -> None:
    needs_tracing()
    with parent() as (process, recorder):
        name = identity(recorder)
        assert name in left()
        process.send_signal(number)
        process.wait()
        wait_until(lambda: not Path(f"/proc/{recorder}").exists())
    assert name not in left()


def test_what_a_killed_recorder_leaves_is_removed_at_the_next_start() -> None:
    needs_tracing()
    with parent() as (_, recorder):
        name = identity(recorder)
        os.kill(recorder, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{recorder}").exists())
    # Another test's recorder, on another worker, may have removed it in between.
    with Recording("sleepbench") as recording:
        assert name not in left()
        assert identity(recording._process.pid) in left()


def test_a_recorder_that_is_killed_is_said_to_be() -> None:
    with Recording("sleepbench") as recording:
        recording._process.kill()
        recording._process.wait()
        with pytest.raises(RecordingFailed, match="status -9"):
            recording.stop()
    with Recording("sleepbench") as recording:  # and clean up after it
        pass


WITHOUT_RIGHTS = 'mount -t tmpfs none /sys/kernel/tracing; exec setpriv --bounding-set=-all --inh-caps=-all "$@"'


@pytest.fixture
def without_rights() -> list[str]:
    """A command that runs its arguments as nobody special, where tracefs is not mounted."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv (apt-get install util-linux), to give up root's rights")
    return ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-e", "-c", WITHOUT_RIGHTS, "sh"]


def test_without_the_rights_it_is_said_why_and_what_would_help_and_threads_are_sampled(
    without_rights: list[str],
) -> None:
    command = [*without_rights, *RECORDER]
    done = subprocess.run(command, input="stop\n", capture_output=True, text=True, env=ENVIRONMENT, check=True)
    first, _, trace = done.stdout.partition("\n")
    about = json.loads(first)
    assert about["method"] == "schedstat sampling"
    assert "cannot be mounted (Operation not permitted)" in about["reason"]
    assert "run as root" in about["remedy"]
    assert parse_kernel_trace(trace).events == []


def test_who_asks_for_tracing_and_cannot_have_it_gets_the_reason(without_rights: list[str]) -> None:
    script = (
        "from nanonap.lab.attribution.recording import Recording; from nanonap.base.errors import NanonapError\n"
        "try: Recording('sleepbench', mode='trace')\n"
        "except NanonapError as error: print(type(error).__name__, error.exit_code, error)"
    )
    command = [*without_rights, sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert done.stdout.startswith("TracingUnavailable 47 tracing: tracefs cannot be mounted")


def test_the_recorder_needs_nothing_but_the_standard_library() -> None:
    script = (
        "import sys; import nanonap.lab.attribution.recorder, nanonap.lab.attribution.recording\n"
        "print({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    )
    command = [sys.executable, "-S", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert set(eval(done.stdout)) <= {"nanonap", "__main__"}  # noqa: S307 - our own output
