"""Late wake-ups in a guest with cgroup v2 by the kernel's own calls, and the counters checked against those."""

import subprocess
from collections import Counter

import polars as pl
import pytest

from nanonap.lab.attribution.attribute import PARTS, attribute, read_sleeps
from nanonap.lab.attribution.errors import RecordingFailed
from nanonap.lab.attribution.events import parse_kernel_trace
from nanonap.lab.attribution.path import CriticalPath, Part
from nanonap.lab.attribution.threads import State, threads_of
from nanonap.lab.attribution.throttling import stops_by_counters, stops_by_probes
from nanonap.lab.attribution.traced import Recorded, run_recorded
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.guest.backend import GuestBackend, client
from nanonap.lab.quota.limits import Limits, parse_quota
from tests.conftest import BuildProgram


@pytest.fixture(scope="module")
def recorded(guest: GuestBackend, build_program: BuildProgram) -> Recorded:
    """Sleeps of 50 ms whose group has spent its 30 ms of each 100 ms when they end."""
    argv = [str(build_program("sleepbench")), "-plan", "50ms*1000", "-burn", "1", "-max-time", "2s", "-warmup", "1"]
    with guest.open(Limits(parse_quota("30%"))) as group:
        return run_recorded(argv, group, Stop())


def test_throttled_sleeps_are_told_by_the_kernels_own_calls(recorded: Recorded) -> None:
    found = attribute(*recorded)
    assert found.method == "tracepoints+kprobes"
    assert (found.sleeps.select(pl.sum_horizontal(PARTS)).to_series() == found.sleeps["overshoot_ns"]).all()
    late = found.sleeps.filter(pl.col("overshoot_ns") > 5_000_000)
    assert late.height >= 5
    lost = int(late["overshoot_ns"].sum())
    assert int(late["unexplained_ns"].sum()) <= 0.05 * lost
    assert int(late["throttled_ns"].sum()) > 0.5 * lost


def test_the_counters_tell_the_same_stops_as_the_kernels_own_calls(recorded: Recorded) -> None:
    trace = parse_kernel_trace(recorded.trace_text)
    threads = threads_of(trace, read_sleeps(recorded.output)[0].pid)
    told = CriticalPath(threads, stops_by_probes(trace, threads))
    worked_out = CriticalPath(threads, stops_by_counters(trace, threads))
    # Held against each other wait by wait: a stop in which nobody waits concerns no thread, and the counters' way does
    # not look for it.
    waits = [part for parts in threads.segments.values() for part in parts if part.state is State.WAITING]
    throttled, agreed, astray = 0, 0, []
    for wait in waits:
        span = (wait.cpu, wait.start_ns, wait.end_ns)
        both = [(one, other) for one in told.wait(*span) for other in worked_out.wait(*span)]
        labels: Counter[tuple[Part, Part]] = Counter()
        for one, other in both:
            labels[one[2], other[2]] += max(min(one[1], other[1]) - max(one[0], other[0]), 0)
        throttled += sum(ns for (label, _), ns in labels.items() if label is Part.THROTTLED)
        agreed += labels[Part.THROTTLED, Part.THROTTLED]
        contradicted = labels[Part.THROTTLED, Part.RUNQUEUE] + labels[Part.RUNQUEUE, Part.THROTTLED]
        if contradicted > 0:
            astray.append((contradicted, wait))
    # Doubt is allowed: a guest whose processors stand still for milliseconds is read seldom, and its clocks differ.
    assert agreed > 0.7 * throttled > 0
    assert sum(ns for ns, _ in astray) < 0.05 * throttled, sorted(astray)[-5:]


def test_nothing_is_left_in_the_guest(guest: GuestBackend, recorded: Recorded) -> None:
    del recorded
    look = "ls /sys/kernel/tracing/instances; cat /sys/kernel/tracing/kprobe_events; pgrep -f lab.attrib || true"
    command = [*client(guest.machine), "0", "--", "/bin/sh", "-c", look]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "nanonap" not in done.stdout


def test_a_program_that_fails_in_the_guest_is_named(guest: GuestBackend) -> None:
    with guest.open(Limits()) as group:
        with pytest.raises(RunFailed, match="sleepy: ended with status 3; its stderr: no memory"):
            run_recorded(["/bin/sh", "-c", "echo no memory >&2; exit 3", "sh"], group, Stop(), name="sleepy")
        with pytest.raises(RecordingFailed, match="-trace-wakes"):
            attribute(*run_recorded(["/bin/true"], group, Stop()))
