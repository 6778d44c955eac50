"""Every late wake-up of a run in its parts, from sleepbench's output (``-trace-wakes``) and the recording beside it.

By method, from what is known most exactly to what is known least (``Attribution.method`` names it):

- ``tracepoints+kprobes`` and ``tracepoints+cpu.stat``: every moment from the deadline to the wake-up has its label
  (``lab.attribution.path``); they differ in how throttling is told from waiting (``lab.attribution.throttling``).
  ``tracepoints`` alone, without a group's counters, tells it only where a CPU idles.
- ``schedstat sampling``: of the thread that the sleeper woke on, the time that it waited for a CPU and ran, as the
  kernel had counted it at the readings nearest to the deadline and the wake-up. Of the waiting as much is called
  throttled as the group's throttled time grew meanwhile. What it cannot see, such as the timer's part, is unexplained.
- ``counters`` and ``none``: everything is unexplained; only the run's ``throttled_ns`` is known, with counters.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass

import msgspec
import numpy as np
import polars as pl

from nanonap.lab.attribution.errors import RecordingFailed
from nanonap.lab.attribution.events import KernelTrace, parse_kernel_trace
from nanonap.lab.attribution.path import CriticalPath, Part
from nanonap.lab.attribution.recorder import SCHEDSTAT
from nanonap.lab.attribution.recording import TRACED
from nanonap.lab.attribution.threads import State, threads_of
from nanonap.lab.attribution.throttling import stops_of
from nanonap.lab.attribution.tracefs import TRACEPOINTS

PARTS = tuple(f"{part.value}_ns" for part in Part)
#: Columns of ``Attribution.sleeps``, a row per sleep; the parts are not negative, and their sum is the overshoot.
SLEEPS = ("index", "sleeper", "requested_ns", "start_ns", "actual_ns", "overshoot_ns", *PARTS)
#: Columns of ``Attribution.states``; ``state`` is running, throttled, runqueue, unexplained, blocked or stuck.
STATES = pl.Schema({"tid": pl.Int64, "state": pl.String, "start_ns": pl.Int64, "end_ns": pl.Int64})


class Header(msgspec.Struct, frozen=True):
    """What sleepbench -trace-wakes says before its samples, of its process and of them."""

    n: int
    columns: list[str]
    window_start_ns: int
    pid: int
    threads_peak: int


@dataclass(frozen=True)
class Attribution:
    """A run's sleeps (columns SLEEPS, int64) and what its threads did (columns STATES; empty unless it was traced).

    All moments are CLOCK_MONOTONIC in ns. ``throttled_ns`` is the group's, summed over CPUs, None if not counted;
    ``lost`` is how many of the kernel's events there was no room for.
    """

    method: str
    sleeps: pl.DataFrame
    states: pl.DataFrame
    throttled_ns: int | None
    lost: int


def attribute(output: bytes, trace_text: str, method: str) -> Attribution:
    """Split the overshoot of every sleep. ``method`` is the Recording's. Raises RecordingFailed."""
    header, sleeps = read_sleeps(output)
    trace = parse_kernel_trace(trace_text)
    pid, sleeps = _as_seen_from_here(trace, header.pid, sleeps)
    states = pl.DataFrame(schema=STATES)
    if method in TRACED:
        path = _path(trace, pid)
        states = _states(path)
        parts = [path.split(*row) for row in _late(sleeps)]
        if method == TRACEPOINTS and trace.counted:
            method = f"{TRACEPOINTS}+cpu.stat"
    elif method == SCHEDSTAT:
        parts = [_sampled(trace, *row) for row in _late(sleeps)]
    else:
        parts = [Counter({Part.UNEXPLAINED: end_ns - deadline_ns}) for _, deadline_ns, end_ns in _late(sleeps)]
    columns = [pl.Series(f"{part.value}_ns", [each[part] for each in parts], pl.Int64) for part in Part]
    return Attribution(method, sleeps.with_columns(columns).select(SLEEPS), states, trace.throttled_ns, trace.lost)


def read_sleeps(output: bytes) -> tuple[Header, pl.DataFrame]:
    """The header and a row per sleep of sleepbench's output with ``-trace-wakes``; ``start_ns`` is made absolute.

    Raises RecordingFailed for other output.
    """
    line, _, rest = output.partition(b"\n")
    try:
        header = msgspec.json.decode(line, type=Header)
        values = np.frombuffer(rest, dtype="<i8").astype(np.int64).reshape(len(header.columns), header.n)
        frame = pl.DataFrame(dict(zip(header.columns, values, strict=True)))
        return header, frame.select(
            pl.int_range(pl.len(), dtype=pl.Int64).alias("index"),
            *(pl.col(name) for name in ("sleeper", "requested_ns", "actual_ns", "tid")),
            (pl.col("start_ns") + header.window_start_ns).alias("start_ns"),
            (pl.col("actual_ns") - pl.col("requested_ns")).alias("overshoot_ns"),
        )
    except (ValueError, TypeError, pl.exceptions.PolarsError) as error:
        what = "not the output of sleepbench -trace-wakes"
        raise RecordingFailed(f"{what} ({error}); run it with that option, and to its end") from error


def _as_seen_from_here(trace: KernelTrace, pid: int, sleeps: pl.DataFrame) -> tuple[int, pl.DataFrame]:
    """Process and threads by the recorder's numbers: a container's program knows those of its own PID namespace."""
    outer = {inner: tid for tid, inner in trace.members.items() if inner != tid}
    if pid not in outer:
        return pid, sleeps
    return outer[pid], sleeps.with_columns(pl.col("tid").replace(outer))


def _late(sleeps: pl.DataFrame) -> list[tuple[int, int, int]]:
    """(tid, deadline, end) of each sleep."""
    end = (pl.col("start_ns") + pl.col("actual_ns")).alias("end_ns")
    return sleeps.select("tid", (pl.col("start_ns") + pl.col("requested_ns")).alias("deadline_ns"), end).rows()


def _path(trace: KernelTrace, pid: int) -> CriticalPath:
    threads = threads_of(trace, pid)
    return CriticalPath(threads, stops_of(trace, threads))


def _states(path: CriticalPath) -> pl.DataFrame:
    rows: list[tuple[int, str, int, int]] = []
    for tid in sorted(path.threads.own):
        for segment in path.threads.segments.get(tid, []):
            if segment.state is State.WAITING:
                spans = path.wait(segment.cpu, segment.start_ns, segment.end_ns)
                rows += reversed([(tid, part.value, start, end) for start, end, part in spans])
            else:
                rows.append((tid, segment.state.value, segment.start_ns, segment.end_ns))
    return pl.DataFrame(rows, schema=STATES, orient="row")


def _sampled(trace: KernelTrace, tid: int, deadline_ns: int, end_ns: int) -> Counter[Part]:
    """The parts by readings: what was counted between the last one before the deadline and the first after the end."""
    readings = [each for each in trace.readings if each.tid == tid]
    moments = [each.ns for each in readings]
    first = readings[max(bisect_right(moments, deadline_ns) - 1, 0)] if readings else None
    last = readings[min(bisect_left(moments, end_ns), len(readings) - 1)] if readings else None
    left = end_ns - deadline_ns
    parts: Counter[Part] = Counter()
    if first is not None and last is not None and last.ns >= deadline_ns:
        # The group is read just before the threads, so a growth may show only in the reading after.
        near = (each for each in trace.growths if each.until_ns > deadline_ns and each.after_ns < last.ns)
        growth = sum(each.throttled_ns for each in near)
        waited = min(last.waited_ns - first.waited_ns, left)
        parts[Part.THROTTLED] = min(growth, waited)
        parts[Part.RUNQUEUE] = waited - parts[Part.THROTTLED]
        left -= waited
        parts[Part.GOSCHEDULER] = min(last.ran_ns - first.ran_ns, left)
        left -= parts[Part.GOSCHEDULER]
    parts[Part.UNEXPLAINED] = left
    return parts
