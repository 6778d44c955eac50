"""One process per run, in its quota: started, bounded in time, its output read and checked."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from nanonap.lab.ground import host
from nanonap.lab.ground.errors import QuotaUnavailable, RunFailed
from nanonap.lab.ground.interrupt import Finished, Stop
from nanonap.lab.plan.arms import CYCLICTEST
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.above import LimitsAbove, above_group
from nanonap.lab.quota.base import Backend, Group, Throttling
from nanonap.lab.quota.cgroup import ENTER_FAILED
from nanonap.lab.quota.limits import Limits
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.quota.sampler import Sampler, SamplerFailed, Sampling
from nanonap.lab.run import cyclictest
from nanonap.lab.run.header import Header
from nanonap.lab.run.live import Change, changes

COLUMNS = ("requested_ns", "actual_ns", "start_ns", "sleeper")
SCHEMA = 1
# A stalled run is ended; a slow one is not. Ten times the expectation, and never less than two minutes: a command
# takes half of one to start in a container of an emulated engine.
_PATIENCE, _LEAST_PATIENCE_S = 10, 120.0
_STDERR_TAIL = 300


@dataclass(frozen=True)
class Output:
    """What sleepbench wrote: its header, and the samples, int64 of shape (4, n) in the order of COLUMNS.

    ``live``: what was done to the process before the first of them; None where nothing was to be done.
    """

    header: Header
    samples: NDArray[np.int64]
    live: list[Change] | None = None


@dataclass(frozen=True)
class Measured:
    """A run that ended well. ``took_ns`` is the whole of it, start of the process to its record."""

    run: Run
    output: Output
    started_utc: str
    took_ns: int
    effective: Limits
    gomaxprocs: int
    throttling: Throttling | None
    series: pl.DataFrame | None = None
    sampling: Sampling | None = None
    host_during: dict[str, int | None] | None = None
    above: LimitsAbove | None = None


def measure(run: Run, gomaxprocs: int, backend: Backend, stop: Stop, sampler: Path | None = None) -> Measured:
    """Run one run in a group of its own. Raises RunFailed, QuotaUnavailable, Interrupted.

    ``gomaxprocs`` is what a condition that does not say gets. With ``sampler`` (the program of lab.quota.sampler) a
    limited group's counters are sampled meanwhile, where this host shows them.
    """
    before_ns = time.monotonic_ns()
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    processors = run.condition.gomaxprocs or gomaxprocs
    # Without limits there is nothing to set, and a group of its own would only be one more difference.
    chosen = backend if run.limits.limited or backend.elsewhere else NoBackend()
    busy = host.Busy()
    with chosen.open(run.limits) as group:
        files = group.stat_files if run.limits.quota.limited else None
        sampling = Sampler(files, sampler) if files is not None and sampler is not None else None
        above = above_group(group)
        counters, counters_above = group.counters(), above.counters()
        failure = _start(sampling)
        try:
            output = _output(run, processors, group, stop)
        finally:
            series, about = _stop(sampling, failure)
        after, limits_above = group.counters(), above.told(counters_above)
        effective = group.effective
    throttling = after.since(counters) if after is not None and counters is not None else None
    took_ns = time.monotonic_ns() - before_ns
    during = busy.since()
    return Measured(
        run, output, started, took_ns, effective, processors, throttling, series, about, during, limits_above
    )


def _output(run: Run, processors: int, group: Group, stop: Stop) -> Output:
    """Run the arm's program and read what it gives. Raises RunFailed, QuotaUnavailable, Interrupted."""
    if run.arm.method == CYCLICTEST:
        return Output(*cyclictest.measure(run, lambda argv: execute(group.command(argv), run, stop)))
    finished = execute(group.command([*run.arm.words, *run.options(processors)]), run, stop)
    return replace(parse(finished.stdout, run), live=finished.met)


def _start(sampling: Sampler | None) -> SamplerFailed | None:
    # The series is an extra: a run is whole without it.
    try:
        if sampling is not None:
            sampling.start()
    except SamplerFailed as error:
        return error
    return None


def _stop(sampling: Sampler | None, failure: SamplerFailed | None) -> tuple[pl.DataFrame | None, Sampling | None]:
    """(the series, how the sampling went) of a run; where it failed no series, and why."""
    if sampling is None:
        return None, None
    try:
        if failure is not None:
            raise failure
        series = sampling.stop()
    except SamplerFailed as error:
        return None, {"failed": str(error)}
    return series, None if sampling.about is None else sampling.about.to_json()


def execute(argv: Sequence[str], run: Run, stop: Stop) -> Finished:
    """Run the command to its end. Raises RunFailed for any end but a good one, QuotaUnavailable, Interrupted."""
    timeout_s = max(_LEAST_PATIENCE_S, _PATIENCE * run.expected_ns / 1e9)
    meet = partial(changes, run.arm) if run.arm.live else None
    try:
        finished = stop.run(argv, timeout_s, meet)
    except OSError as error:
        raise RunFailed(f"{_where(run)}: {argv[0]} cannot be started ({error.strerror}); build it again") from error
    if finished.timed_out:
        raise RunFailed(f"{_where(run)}: still running after {timeout_s:.0f} s, ended; its stderr: {_tail(finished)}")
    if finished.status == ENTER_FAILED:
        raise QuotaUnavailable("cgroup", f"the run could not enter its group ({_tail(finished)})", "run as root")
    if finished.status != 0:
        raise RunFailed(f"{_where(run)}: {ending(finished.status)}; its stderr: {_tail(finished)}")
    if meet is not None and not finished.met:
        raise RunFailed(f"{_where(run)}: it did not wait to be changed; build it again")
    return finished


def parse(stdout: bytes, run: Run) -> Output:
    """Read sleepbench's output: a JSON line, then four columns of n little-endian int64. Raises RunFailed."""
    line, newline, rest = stdout.partition(b"\n")
    try:
        header = msgspec.json.decode(line, type=Header)
    except msgspec.DecodeError as error:
        raise RunFailed(f"{_where(run)}: its output does not start with a header ({error})") from error
    if not newline:
        raise RunFailed(f"{_where(run)}: its header lacks its end")
    if header.schema != SCHEMA or header.columns != COLUMNS:
        form = f"schema {header.schema} with columns {', '.join(header.columns)}"
        raise RunFailed(f"{_where(run)}: its output is of {form}; build it again")
    expected = len(COLUMNS) * header.n * 8
    if len(rest) != expected:
        raise RunFailed(f"{_where(run)}: {len(rest)} bytes of samples, and its header promises {expected}")
    if not header.truncated and header.n != run.planned:
        raise RunFailed(f"{_where(run)}: {header.n} samples, and {run.planned} were asked for")
    samples = np.frombuffer(rest, dtype="<i8").astype(np.int64).reshape(len(COLUMNS), header.n)
    return Output(header, samples)


def _where(run: Run) -> str:
    return f"arm {run.arm.name} ({run.condition}, block {run.block + 1})"


def ending(status: int) -> str:
    """How a process ended, for a message: its exit status, or (negative) its signal."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"


def _tail(finished: Finished) -> str:
    text = " ".join(finished.stderr.split())
    return text[-_STDERR_TAIL:] or "empty"
