"""A run's sleeps with their parts: whole, honest about what was not seen, and of every method."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from nanonap.lab.attribution.attribute import PARTS, SLEEPS, STATES, Attribution, attribute
from nanonap.lab.attribution.errors import RecordingFailed
from nanonap.lab.attribution.events import parse_kernel_trace
from tests.lab.attribution.story import MAIN, SLEEPER, US, Story, started

COLUMNS = ["requested_ns", "actual_ns", "start_ns", "sleeper", "tid"]


def output(rows: list[tuple[int, int, int]], **change: Any) -> bytes:
    """sleepbench's, of (start, requested, actual) in µs; its window begins at 500 µs."""
    values = [[requested, actual, start - 500, 0, SLEEPER] for start, requested, actual in rows]
    table = np.array(values, dtype="<i8").reshape(len(rows), 5)
    table[:, :3] *= US
    header = {"columns": COLUMNS, "n": len(rows), "pid": MAIN, "threads_peak": 5, "window_start_ns": 500 * US, **change}
    return json.dumps(header).encode() + b"\n" + table.T.tobytes()


def late_by_a_stop() -> Story:
    story = started().wake(2_000, 1, 0, SLEEPER).switch(2_000, 1, 0, SLEEPER, "R").switch(2_010, 1, SLEEPER, 0, "R")
    return story.switch(8_010, 1, 0, SLEEPER, "R").stat(0, 100, 0).stat(7_000, 9_000, 5_900)


def parts(found: Attribution) -> list[dict[str, int]]:
    rows = found.sleeps.select(PARTS).rows(named=True)
    return [{name.removesuffix("_ns"): ns // US for name, ns in row.items() if ns} for row in rows]


def whole(found: Attribution) -> bool:
    sleeps = found.sleeps
    assert sleeps.columns == list(SLEEPS)
    assert sleeps.select(pl.min_horizontal(PARTS).min()).item() >= 0
    late = sleeps["actual_ns"] - sleeps["requested_ns"]
    return bool((sleeps.select(pl.sum_horizontal(PARTS)).to_series() == late).all())


def test_a_traced_run_has_a_row_a_sleep_and_the_states_of_its_threads() -> None:
    found = attribute(output([(900, 100, 7_150), (600, 100, 100)]), late_by_a_stop().text(), "tracepoints")
    assert found.method == "tracepoints+cpu.stat"
    assert found.throttled_ns == 5_900 * US
    assert whole(found)
    stopped = {"granularity": 1_000, "goscheduler": 10 + 40, "throttled": 5_900, "runqueue": 100}
    assert parts(found) == [stopped, {}]
    assert found.states.schema == STATES
    mine = found.states.filter((pl.col("tid") == SLEEPER) & (pl.col("end_ns") > 1_999 * US))
    assert mine["state"].to_list() == ["blocked", "running", "throttled", "runqueue", "running"]
    assert (mine["start_ns"][1:] == mine["end_ns"][:-1]).all()


def test_the_method_names_kprobes_where_they_told_it() -> None:
    text = late_by_a_stop().probe(2_009, 1, SLEEPER, "throttle", 1).probe(8_000, 1, 0, "unthrottle", 1).text()
    found = attribute(output([(900, 100, 7_150)]), text, "tracepoints+kprobes")
    assert found.method == "tracepoints+kprobes"
    assert parts(found)[0]["throttled"] == 5_990


def sampled(*readings: tuple[int, int, int], throttled_us: int = 5_000) -> str:
    """A recording by sampling: (moment, ran, waited) in µs of the sleeper's thread."""
    story = Story().stat(0, 100, 0).stat(7_000, 9_000, throttled_us)
    lines = [f"@task 0 {now * US} {MAIN} {SLEEPER} {ran * US} {waited * US}\n" for now, ran, waited in readings]
    return story.text() + "".join(lines)


def test_sampling_says_what_the_kernel_counted_between_and_leaves_the_rest_unexplained() -> None:
    text = sampled((500, 10, 20), (8_100, 60, 6_520), (9_000, 99, 9_999))
    found = attribute(output([(900, 100, 7_100)]), text, "schedstat sampling")
    assert whole(found)
    assert parts(found) == [{"throttled": 5_000, "runqueue": 1_500, "goscheduler": 50, "unexplained": 450}]
    assert found.states.height == 0


def test_sampling_never_says_more_than_the_sleep_was_late() -> None:
    text = sampled((500, 0, 0), (8_100, 9_000, 9_000), throttled_us=20_000)
    assert parts(attribute(output([(900, 100, 7_100)]), text, "schedstat sampling")) == [{"throttled": 7_000}]
    nothing = attribute(output([(900, 100, 7_100)]), sampled(), "schedstat sampling")
    assert parts(nothing) == [{"unexplained": 7_000}]


@pytest.mark.parametrize("method", ["counters", "none"])
def test_without_the_threads_everything_is_unexplained(method: str) -> None:
    found = attribute(output([(900, 100, 7_100)]), Story().text(), method)
    assert parts(found) == [{"unexplained": 7_000}]
    assert whole(found)
    assert found.throttled_ns is None


def test_a_run_without_sleeps_has_no_rows() -> None:
    assert attribute(output([]), late_by_a_stop().text(), "tracepoints").sleeps.height == 0


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{}\n",
        output([(900, 100, 200)])[:-1],
        output([(900, 100, 200)], columns=COLUMNS[:4]),
        output([(900, 100, 200)], window_start_ns=None),
    ],
)
def test_output_without_what_is_needed_is_refused_with_the_remedy(broken: bytes) -> None:
    with pytest.raises(RecordingFailed, match="-trace-wakes"):
        attribute(broken, started().text(), "tracepoints")


def test_a_text_that_is_no_recording_is_refused() -> None:
    with pytest.raises(RecordingFailed, match="not a recording"):
        parse_kernel_trace("# tracer: nop\n")
