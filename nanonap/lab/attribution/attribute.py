"""Every late wake-up of a run in its parts, from sleepbench's output (``-trace-wakes``) and the recording beside it.

By method, from what is known most exactly to what is known least (``Attribution.method`` names it):

- ``tracepoints+kprobes`` and ``tracepoints+cpu.stat``: every moment from the deadline to the wake-up has its label
  (``bench.attribution.path``); they differ in how throttling is told from waiting (``bench.attribution.throttling``).
  ``tracepoints`` alone, without a group's counters, tells it only where a CPU idles.
- ``schedstat sampling``: of the thread that the sleeper woke on, the time that it waited for a CPU and ran, as the
  kernel had counted it at the readings nearest to the deadline and the wake-up. Of the waiting as much is called
  throttled as the group's throttled time grew meanwhile. What it cannot see, such as the timer's part, is unexplained.
- ``counters`` and ``none``: everything is unexplained; only the run's ``throttled_ns`` is known, with counters.
"""

import json
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from bench.attribution.errors import RecordingFailed
from bench.attribution.path import CriticalPath, Part
from bench.attribution.record import Record, parse_record
from bench.attribution.recorder import SCHEDSTAT
from bench.attribution.recording import TRACED
from bench.attribution.threads import State, threads_of
from bench.attribution.throttling import stops_of
from bench.attribution.tracefs import TRACEPOINTS

PARTS = tuple(f"{part.value}_ns" for part in Part)
#: Columns of ``Attribution.sleeps``, a row per sleep; the parts are not negative, and their sum is the overshoot.
SLEEPS = ("index", "sleeper", "requested_ns", "start_ns", "actual_ns", "overshoot_ns", *PARTS)
#: Columns of ``Attribution.states``; ``state`` is running, throttled, runqueue, unexplained, blocked or stuck.
STATES = pl.Schema({"tid": pl.Int64, "state": pl.String, "start_ns": pl.Int64, "end_ns": pl.Int64})


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


def attribute(output: bytes, record_text: str, method: str) -> Attribution:
    """Split the overshoot of every sleep. ``method`` is the Recording's. Raises RecordingFailed."""
    header, sleeps = read_sleeps(output)
    record = parse_record(record_text)
    header["pid"], sleeps = _as_seen_from_here(record, header["pid"], sleeps)
    states = pl.DataFrame(schema=STATES)
    if method in TRACED:
        path = _path(record, header["pid"])
        states = _states(path)
        parts = [path.split(*row) for row in _late(sleeps)]
        if method == TRACEPOINTS and record.counted:
            method = f"{TRACEPOINTS}+cpu.stat"
    elif method == SCHEDSTAT:
        parts = [_sampled(record, *row) for row in _late(sleeps)]
    else:
        parts = [Counter({Part.UNEXPLAINED: end_ns - deadline_ns}) for _, deadline_ns, end_ns in _late(sleeps)]
    columns = [pl.Series(f"{part.value}_ns", [each[part] for each in parts], pl.Int64) for part in Part]
    return Attribution(method, sleeps.with_columns(columns).select(SLEEPS), states, record.throttled_ns, record.lost)


def read_sleeps(output: bytes) -> tuple[dict[str, Any], pl.DataFrame]:
    """The header and a row per sleep of sleepbench's output with ``-trace-wakes``; ``start_ns`` is made absolute.

    Raises RecordingFailed for other output.
    """
    line, _, rest = output.partition(b"\n")
    try:
        header: dict[str, Any] = json.loads(line)
        names, n = header["columns"], int(header["n"])
        window_ns = int(header["window_start_ns"])
        values = np.frombuffer(rest, dtype="<i8").astype(np.int64).reshape(len(names), n)
        frame = pl.DataFrame(dict(zip(names, values, strict=True)))
        return header, frame.select(
            pl.int_range(pl.len(), dtype=pl.Int64).alias("index"),
            *(pl.col(name) for name in ("sleeper", "requested_ns", "actual_ns", "tid")),
            (pl.col("start_ns") + window_ns).alias("start_ns"),
            (pl.col("actual_ns") - pl.col("requested_ns")).alias("overshoot_ns"),
        )
    except (ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        what = "not the output of sleepbench -trace-wakes"
        raise RecordingFailed(f"{what} ({error}); run it with that option, and to its end") from error


def _as_seen_from_here(record: Record, pid: int, sleeps: pl.DataFrame) -> tuple[int, pl.DataFrame]:
    """Process and threads by the recorder's numbers: a container's program knows those of its own PID namespace."""
    outer = {inner: tid for tid, inner in record.members.items() if inner != tid}
    if pid not in outer:
        return pid, sleeps
    return outer[pid], sleeps.with_columns(pl.col("tid").replace(outer))


def _late(sleeps: pl.DataFrame) -> list[tuple[int, int, int]]:
    """(tid, deadline, end) of each sleep."""
    end = (pl.col("start_ns") + pl.col("actual_ns")).alias("end_ns")
    return sleeps.select("tid", (pl.col("start_ns") + pl.col("requested_ns")).alias("deadline_ns"), end).rows()


def _path(record: Record, pid: int) -> CriticalPath:
    threads = threads_of(record, pid)
    return CriticalPath(threads, stops_of(record, threads))


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


def _sampled(record: Record, tid: int, deadline_ns: int, end_ns: int) -> Counter[Part]:
    """The parts by readings: what was counted between the last one before the deadline and the first after the end."""
    readings = [each for each in record.readings if each.tid == tid]
    moments = [each.ns for each in readings]
    first = readings[max(bisect_right(moments, deadline_ns) - 1, 0)] if readings else None
    last = readings[min(bisect_left(moments, end_ns), len(readings) - 1)] if readings else None
    left = end_ns - deadline_ns
    parts: Counter[Part] = Counter()
    if first is not None and last is not None and last.ns >= deadline_ns:
        # The group is read just before the threads, so a growth may show only in the reading after.
        near = (each for each in record.growths if each.until_ns > deadline_ns and each.after_ns < last.ns)
        growth = sum(each.throttled_ns for each in near)
        waited = min(last.waited_ns - first.waited_ns, left)
        parts[Part.THROTTLED] = min(growth, waited)
        parts[Part.RUNQUEUE] = waited - parts[Part.THROTTLED]
        left -= waited
        parts[Part.GOSCHEDULER] = min(last.ran_ns - first.ran_ns, left)
        left -= parts[Part.GOSCHEDULER]
    parts[Part.UNEXPLAINED] = left
    return parts
