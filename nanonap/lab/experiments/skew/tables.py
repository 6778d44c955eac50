"""The tables of ``skew``: the shares, the stages, what was counted."""

import polars as pl

from nanonap.base.durations import asked, format_ns
from nanonap.lab.experiments.skew import shares
from nanonap.lab.experiments.skew.recorder import BPFTRACE, TRACEFS
from nanonap.lab.experiments.skew.rows import SLEEP, TIMERFD, UNRECORDED
from nanonap.lab.plan.arms import in_order
from nanonap.lab.show.tables import NONE, Section, Table

_STAGES = {
    "rounding": "rounding_ns",
    "expiry": "expiry_ns",
    "wake-up": "wakeup_ns",
    "switch": "running_ns",
    "exit": "exit_ns",
    "goroutine": "goroutine_ns",
    "slack": "slack_ns",
}


def arms_of(data: pl.DataFrame) -> list[str]:
    """Arms with sleeps, in the canonical order."""
    return sorted(set(data.filter(pl.col("part") == SLEEP)["arm"]), key=in_order)


def share_table(data: pl.DataFrame) -> Table:
    """Shares by reading."""
    rows = {
        reading: [["claimed", *(f"{each:.0%}" for each in shares.CLAIMED), NONE, NONE]] for reading in shares.READINGS
    }
    for reading, own in rows.items():
        for arm in [*arms_of(data), TIMERFD]:
            found, times = shares.by_class(data, arm, reading), shares.delays(data, arm, reading)["ns"]
            whole, ended = shares.seen_whole(data, arm)
            if found is not None:
                own.append([arm, *(shares.share_text(each) for each in found), median(times), f"{times.len():,}"])
            elif ended:
                own.append([arm, *[NONE] * 4, f"{whole:,} of {ended:,}"])
    notes = [
        "Share of the wake-ups whose delay is in the class, with its 95 % interval over runs; n: wake-ups in all. No "
        f"shares where fewer than {shares.COVERAGE:.0%} of them were seen until the thread ran. What recording costs "
        "is in these delays, too.",
        "expiry: the expired timer's handler begins; deadline: what the kernel was asked for, without timer slack. "
        "running: the thread has a CPU.",
        f"Recorded by {shares.primary(data)}; {TIMERFD} (a Python program, one run, kept on the first CPU) by "
        f"{TRACEFS}, in whole microseconds.",
    ]
    sections = [Section(reading, own) for reading, own in rows.items()]
    return Table("How long wake-ups take", ("arm", *shares.CLASSES, "p50", "n"), sections, notes)


def stage_table(data: pl.DataFrame) -> Table:
    """Medians by stage."""
    own = data.filter(pl.col("part") == SLEEP, pl.col("method") == shares.primary(data))
    apart = data.filter(pl.col("part") == UNRECORDED)
    sections = []
    for requested_ns in sorted(set(own["requested_ns"])):
        rows = []
        for arm in arms_of(data):
            found, without = (
                each.filter(pl.col("arm") == arm, pl.col("requested_ns") == requested_ns) for each in (own, apart)
            )
            late = [median(each["late_ns"]) for each in (without, found)]
            rows.append([arm, *late, *(median(found[column]) for column in _STAGES.values())])
        sections.append(Section(f"asked for {asked(requested_ns)}", rows))
    notes = [
        "Medians, which need not add up. late: the whole, by the program's own clock; unrecorded: of runs between "
        "these that nothing looked at.",
        "rounding: from the end of the sleep as asked for to the deadline that the kernel was given (negative: the "
        "wait is asked for shorter, and what is late anyway makes up for it). expiry: from there to the timer's "
        "handler. wake-up: until the thread is on a run queue. switch: until it has a CPU. exit: until its system call "
        "returns. goroutine: until the sleeping goroutine reads the clock.",
        "slack: how much later than its deadline the kernel may let the timer expire; it expires earlier where another "
        "timer's interrupt comes in between.",
    ]
    return Table("Stage by stage", ("arm", "late, unrecorded", "late", *_STAGES), sections, notes)


def median(values: pl.Series) -> str:
    """Of those that are known."""
    known = values.drop_nulls()
    return format_ns(float(known.quantile(0.5) or 0)) if known.len() else NONE


def count_table(data: pl.DataFrame) -> Table:
    """What was counted."""
    sleeps, recordings = data.filter(pl.col("part") == SLEEP), data.filter(pl.col("part") == "recording")
    rows = []
    for method in (BPFTRACE, TRACEFS):
        own, counted = (
            frame.filter(pl.col("method") == method, pl.col("arm").is_null() | (pl.col("arm") != TIMERFD))
            for frame in (sleeps, recordings)
        )
        if counted.height:
            whole = own.filter(pl.col("running_ns").is_not_null()).height
            ended = own.filter(pl.col("expiry_ns").is_not_null()).height
            seen = [f"{own.height:,}", f"{ended:,}", f"{whole:,}"]
            rows.append([f"Go, by {method}", *seen, *_sums(counted), *_typical(data, "stock", method)])
    probe = recordings.filter(pl.col("arm") == TIMERFD)
    if probe.height:
        whole, ended = shares.seen_whole(data, TIMERFD)
        seen = [_sum(probe, "sleeps"), f"{ended:,}", f"{whole:,}"]
        rows.append([f"{TIMERFD}, by {TRACEFS}", *seen, *_sums(probe), *_typical(data, TIMERFD, TRACEFS)])
    lacks = data.filter(pl.col("part") == "lack")
    notes = [
        "by timer: sleeps that a timer's wake-up ended; whole: of those, seen until the thread ran (the others kept "
        "their CPU, or the kernel did not record the switch); otherwise: armed waits that something else ended; the "
        "next two: calls of timerfd_settime and events of sched_stat_sleep; lost: events without room.",
        "Neither way sees all: a script of bpftrace misses the events that interrupt it (such a wait counts as ended "
        "otherwise), and tracefs on some kernels what idle tasks do, but on the first CPU. They record one after the "
        f"other. {shares.FROM_EXPIRY}: the median of n of stock's sleeps, or of the waits on a {TIMERFD}; none where "
        f"fewer than {shares.COVERAGE:.0%} of these were seen whole.",
        *(f"{what}: {missing}" for what, missing in lacks.select("what", "missing").iter_rows()),
    ]
    columns = ("", "sleeps", "by timer", "whole", "otherwise", "timerfd", "stat_sleep", "lost", shares.FROM_EXPIRY, "n")
    return Table("What was recorded", columns, [Section("", rows)], notes)


def _typical(data: pl.DataFrame, arm: str, method: str) -> list[str]:
    if not shares.is_covered(data, arm, method):
        return [NONE, NONE]
    times = shares.delays(data, arm, shares.FROM_EXPIRY, method)["ns"]
    return [median(times), f"{times.len():,}"]


def _sums(data: pl.DataFrame) -> list[str]:
    return [_sum(data, name) for name in ("otherwise", "timerfd", "stats", "lost")]


def _sum(data: pl.DataFrame, column: str) -> str:
    known = data[column].drop_nulls()
    return f"{int(known.sum()):,}" if known.len() else NONE
