"""Shares of wake-ups by their length, how many wake-ups were seen whole, and what recording them costs."""

import numpy as np
import polars as pl

from nanonap.lab.experiments.kit.ratios import Ratio, ratio_of
from nanonap.lab.experiments.skew.recorder import BPFTRACE, TRACEFS
from nanonap.lab.experiments.skew.rows import SLEEP, TIMERFD, UNRECORDED

#: The classes' bounds in ns, and how many of a hundred are claimed to be in each.
EDGES = (10_000, 50_000)
CLASSES = ("≤ 10 µs", "10–50 µs", "> 50 µs")
CLAIMED = (0.68, 0.27, 0.05)
#: A share is the claimed one if its whole interval lies within this of it.
WITHIN = 0.10
#: So many of the wake-ups by a timer must have been seen until the thread ran. Which ones a recorder misses is no
#: matter of chance (tracefs: all but those of one CPU), so that few are no sample of all.
COVERAGE = 0.9
FROM_EXPIRY, FROM_DEADLINE = "expiry → running", "deadline → running"
#: The stages that make up each reading.
READINGS = {
    FROM_EXPIRY: ("wakeup_ns", "running_ns"),
    FROM_DEADLINE: ("expiry_ns", "wakeup_ns", "running_ns"),
}
#: Of what recording costs, so much at a time is taken off, and at most so often.
_STEP_NS, _MOST_STEPS = 1_000, 40


def primary(data: pl.DataFrame) -> str:
    """The way of recording whose sleeps are judged: bpftrace where there is it, since it has nanoseconds."""
    return BPFTRACE if BPFTRACE in set(data["method"]) else TRACEFS


def recorded(data: pl.DataFrame, arm: str, method: str | None = None) -> pl.DataFrame:
    """An arm's recorded sleeps, or waits on a timerfd."""
    part = TIMERFD if arm == TIMERFD else SLEEP
    wanted = TRACEFS if arm == TIMERFD else method or primary(data)
    return data.filter(pl.col("part") == part, pl.col("arm") == arm, pl.col("method") == wanted)


def seen_whole(data: pl.DataFrame, arm: str, method: str | None = None) -> tuple[int, int]:
    """How many of an arm's wake-ups by a timer were seen until the thread ran, and how many there were."""
    own = recorded(data, arm, method)
    return own["running_ns"].drop_nulls().len(), own["expiry_ns"].drop_nulls().len()


def is_covered(data: pl.DataFrame, arm: str, method: str | None = None) -> bool:
    """Whether nearly all of them were seen whole."""
    whole, ended = seen_whole(data, arm, method)
    return whole > 0 and whole >= COVERAGE * ended


def delays(data: pl.DataFrame, arm: str, reading: str, method: str | None = None) -> pl.DataFrame:
    """``block`` and ``ns`` of an arm's wake-ups that were seen from end to end."""
    ns = pl.sum_horizontal(READINGS[reading], ignore_nulls=False)
    return recorded(data, arm, method).select(pl.col("block").fill_null(0), ns.alias("ns")).drop_nulls()


def by_class(data: pl.DataFrame, arm: str, reading: str, less_ns: float = 0) -> list[Ratio] | None:
    """Of each class its share, each delay ``less_ns`` shorter, with an interval over the runs.

    None where there is nothing, and where too few were seen whole.
    """
    if not is_covered(data, arm):
        return None
    ns = pl.col("ns") - less_ns
    low, high = EDGES
    counted = delays(data, arm, reading).group_by("block").agg(
        (ns <= low).sum().alias("0"),
        ns.is_between(low, high, closed="right").sum().alias("1"),
        (ns > high).sum().alias("2"),
        pl.len().alias("all"),
    )  # fmt: skip
    counted = counted.sort("block")
    each = [ratio_of(counted[name].to_list(), counted["all"].to_list()) for name in ("0", "1", "2")]
    return None if None in each else [ratio for ratio in each if ratio is not None]


def share_text(share: Ratio) -> str:
    """A share with its interval: ``68 % [66, 70]``."""
    bounds = "" if share.interval is None else f" [{100 * share.interval[0]:.0f}, {100 * share.interval[1]:.0f}]"
    return f"{100 * share.value:.0f} %{bounds}"


def cost_of_recording(data: pl.DataFrame) -> Ratio | None:
    """How much later sleeps end when they are recorded, ns: the mean over pairs of runs, with its interval.

    A pair is a recorded run and one that is not, of the same program in the same block; the same events of the kernel
    are recorded of every program, so all count. Of a pair it is the median over durations of the differences of
    medians: a long sleep of stock waits twice, and is disturbed twice.
    """
    by = ["arm", "block", "requested_ns"]
    with_it, without = (
        data.filter(which, pl.col("late_ns").is_not_null()).group_by(by).agg(pl.col("late_ns").median())
        for which in ((pl.col("part") == SLEEP) & (pl.col("method") == primary(data)), pl.col("part") == UNRECORDED)
    )
    both = with_it.join(without, on=by, suffix="_unrecorded")
    more = (pl.col("late_ns") - pl.col("late_ns_unrecorded")).median()
    pairs = both.group_by("block", "arm").agg(more).sort("block", "arm")["late_ns"].to_list()
    return ratio_of(pairs, [1.0] * len(pairs))  # over 1 ns


def as_claimed(data: pl.DataFrame, arm: str, reading: str, cost: Ratio | None) -> bool | None:
    """Whether an arm's shares are the claimed ones; None if the runs do not settle it.

    Nobody knows which part of what recording costs (``cost``) lies in these delays: the answer must be the same
    whichever that is, from none to all of the interval's upper end.
    """
    if cost is None or cost.interval is None:
        return None
    most = max(cost.interval[1], 0.0)
    steps = min(2 + int(most / _STEP_NS), _MOST_STEPS)
    answers = set()
    for less_ns in np.linspace(0, most, steps).tolist():
        answers.add(_are_claimed(by_class(data, arm, reading, less_ns)))
        if len(answers) > 1:
            return None
    return answers.pop()


def _are_claimed(found: list[Ratio] | None) -> bool | None:
    if found is None:
        return None
    parts = [share.within(claimed - WITHIN, claimed + WITHIN) for share, claimed in zip(found, CLAIMED, strict=True)]
    return False if False in parts else None if None in parts else True
