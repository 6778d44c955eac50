"""What a recording and the program's own samples say together, as rows of data: sleeps stage by stage, and counts."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from nanonap.lab.attribution.attribute import read_sleeps
from nanonap.lab.experiments.skew.events import Wake, Wakes
from nanonap.lab.plan.schedule import Run

Row = dict[str, Any]
SCHEMA = {
    # sleep: one row per recorded sleep; unrecorded: per sleep that was not; timerfd: per wait; recording: its
    # counts; lack: what is missing
    "part": pl.String,
    "method": pl.String,  # bpftrace, tracefs (whole microseconds)
    "arm": pl.String,
    "block": pl.Int64,
    "requested_ns": pl.Int64,
    "late_ns": pl.Int64,  # of the sleep, by the program's own clock: the stages below make it up
    "rounding_ns": pl.Int64,  # from the sleep's end as asked for to the deadline that the kernel was given
    "expiry_ns": pl.Int64,  # from there to the expired timer's handler
    "wakeup_ns": pl.Int64,  # from there until the thread is put on a run queue
    "running_ns": pl.Int64,  # until it has a CPU; null with the next: it kept its CPU, or the switch was not seen
    "exit_ns": pl.Int64,  # until its system call returns
    "goroutine_ns": pl.Int64,  # until the sleeping goroutine reads the clock
    "slack_ns": pl.Int64,  # how much later than its deadline the kernel may let the timer expire
    "slept_ns": pl.Int64,  # what sched_stat_sleep says
    "pair_ns": pl.Int64,  # from the timer's setting (timerfd: the call) to sched_stat_sleep, or to the wake-up
    "sleeps": pl.Int64,  # of a recording: in it
    "timerfd": pl.Int64,  # of a recording: calls of timerfd_settime by the program
    "stats": pl.Int64,  # of a recording: how often sched_stat_sleep came
    "otherwise": pl.Int64,  # of a recording: armed waits that something else than the timer ended
    "lost": pl.Int64,  # of a recording: events that there was no room for
    "mark": pl.String,  # of a recording: what is to be said of the place, as that it is emulated
    "what": pl.String,
    "missing": pl.String,
}
SLEEP, UNRECORDED, TIMERFD = "sleep", "unrecorded", "timerfd"
STAT = "sched_stat_sleep"
_REMEDY = "--backend guest has it"
_CUT_NS = 1_000  # by as much tracefs may show a moment too early
#: A wait whose deadline is earlier than the sleep's end by more than this part of it was not the sleep's last: stock
#: waits whole milliseconds first, and the rest then. netpoll asks for 1/128 less (patcher/strategies/netpoll/amd64.py).
_EARLY = 64


def counts(block: int, sleeps: int, wakes: Wakes, method: str, arm: str | None = None) -> list[Row]:
    """The recording's own row, and before it what it lacks. ``arm``: where it is of one alone."""
    lacks = [lack(STAT, f"{wakes.lacking}; {_REMEDY}")] if wakes.lacking else []
    counted = {name: getattr(wakes, name) for name in ("timerfd", "stats", "otherwise", "lost")}
    return [*lacks, {"part": "recording", "method": method, "arm": arm, "block": block, "sleeps": sleeps, **counted}]


def lack(what: str, missing: str) -> Row:
    """What cannot be had here, why, and what would help."""
    return {"part": "lack", "what": what, "missing": missing}


def joined(run: Run, output: bytes, wakes: Wakes, method: str) -> list[Row]:
    """One row per sleep: the last wake-up within it, if it was due at its end; no stages where no timer ended it."""
    _, sleeps = read_sleeps(output)
    ordered = sorted(wakes.wakes, key=lambda wake: wake.exited)
    exits = np.array([wake.exited for wake in ordered], dtype=np.int64)
    made = []
    for start, asked, actual in sleeps.select("start_ns", "requested_ns", "actual_ns").iter_rows():
        head = {"part": SLEEP, "method": method, **_sleep(run, asked, actual)}
        place = int(np.searchsorted(exits, start + actual, side="right")) - 1
        wake = ordered[place] if place >= 0 else None
        if wake is not None and wake.armed >= start - _CUT_NS and wake.soft >= start + asked - asked // _EARLY:
            head |= {"rounding_ns": wake.soft - start - asked, "goroutine_ns": start + actual - wake.exited}
            head |= _stages(wake)
        made.append(head)
    return made


def unrecorded(run: Run, output: bytes) -> list[Row]:
    """One row per sleep that nothing looked at."""
    _, sleeps = read_sleeps(output)
    pairs = sleeps.select("requested_ns", "actual_ns").iter_rows()
    return [{"part": UNRECORDED, **_sleep(run, asked, actual)} for asked, actual in pairs]


def _sleep(run: Run, asked: int, actual: int) -> Row:
    return {"arm": run.arm.name, "block": run.block, "requested_ns": asked, "late_ns": actual - asked}


def _stages(wake: Wake) -> Row:
    since = wake.armed if wake.asked is None else wake.asked
    until = wake.woken if wake.stat is None else wake.stat
    return {
        "expiry_ns": wake.expired - wake.soft,
        "wakeup_ns": None if wake.woken is None else wake.woken - wake.expired,
        "running_ns": None if wake.ran is None or wake.woken is None else wake.ran - wake.woken,
        "exit_ns": None if wake.ran is None else wake.exited - wake.ran,
        "slack_ns": wake.hard - wake.soft,
        "slept_ns": wake.slept_ns,
        "pair_ns": None if until is None else until - since,
    }


def waits(wakes: Wakes, requested_ns: int, method: str) -> Iterator[Row]:
    """One row per wait on a timerfd."""
    for wake in wakes.wakes:
        if wake.asked is not None:
            yield {"part": TIMERFD, "method": method, "arm": TIMERFD, "requested_ns": requested_ns, **_stages(wake)}
