"""What the runs of ``handoff`` say to claim T4."""

import numpy as np
import polars as pl
from scipy import stats

from bench.experiments.base import Verdict
from bench.experiments.figures import TOO_FEW, Ratio, outcome_of, ratio_by_block
from bench.experiments.handoff_runs import (
    CALL,
    COMPUTE,
    DIRECT,
    HAND,
    LIMITED,
    METHODS,
    NETPOLL,
    NONE,
    QUIET,
    SHARE,
    SLEEP,
)
from bench.resampling import CONFIDENCE, interval, median_distribution, quantile
from bench.tables import time_with
from bench.verdicts import Interval

#: A way of sleeping hands its P over if more than half of its sleeps do.
MAJORITY = 0.5
#: Of two goroutines that shared the quota evenly the other gets twice as far alone: nearer to twice than to once.
GETS_THE_SHARE = 1.5
#: The quota was put to the test if it stopped the computing runs in at least half of their periods.
_ENOUGH_THROTTLED = 0.5
_SEED = 1


def moved(data: pl.DataFrame, method: str) -> tuple[int, int, list[float]] | None:
    """After how many sleeps the P ran on another thread, of how many, and the 95 % interval of the share.

    Clopper and Pearson's: where all sleeps are alike, drawing them again and again would know of no doubt.
    """
    own = data.filter(pl.col("part") == HAND, pl.col("method") == method)
    if own.is_empty():
        return None
    count = int((~own["same_thread"]).sum())
    bounds = stats.binomtest(count, own.height).proportion_ci(CONFIDENCE, "exact")
    return count, own.height, [float(bounds.low), float(bounds.high)]


def hands_over(data: pl.DataFrame, method: str) -> bool | None:
    """Whether the P goes to another thread; None if these runs do not settle it."""
    found = moved(data, method)
    if found is None:
        return None
    low, high = found[2]
    return True if low > MAJORITY else False if high < MAJORITY else None


def gap(data: pl.DataFrame, method: str) -> tuple[float, Interval] | None:
    """The median time until the P ran the other goroutine, without a quota, and its 95 % interval over runs; ns."""
    own = data.filter(pl.col("part") == HAND, pl.col("method") == method, pl.col("quota") == NONE)
    if own.is_empty():
        return None
    runs = [part["gap_ns"].to_numpy() for part in own.partition_by("block", maintain_order=True)]
    middle = quantile(np.sort(own["gap_ns"].to_numpy()), 0.5)
    return middle, interval(median_distribution(runs, _SEED))


def progress(data: pl.DataFrame, method: str) -> Ratio | None:
    """How fast the other goroutine got on during the sleeps, over the same with nobody asleep, without a quota."""
    own = data.filter(pl.col("part") == HAND, pl.col("quota") == NONE).with_columns(
        during=pl.col("sleep_count") / pl.col("sleep_ns"), base=pl.col("base_count") / pl.col("base_ns")
    )
    long = own.unpivot(["during", "base"], index=["block", "method"], variable_name="when", value_name="rate")
    return ratio_by_block(long, "rate", {"method": method, "when": "during"}, {"method": method, "when": "base"})


def share(data: pl.DataFrame, beside: str, quota: str, column: str = "own") -> Ratio | None:
    """How far a goroutine gets beside another that does something, over beside one that computes.

    ``column``: ``own`` of the goroutine, ``group`` of both together.
    """
    rates = data.filter(pl.col("part") == SHARE).with_columns(
        own=pl.col("count") / pl.col("window_ns"),
        group=(pl.col("count") + pl.col("other_count")) / pl.col("window_ns"),
    )
    return ratio_by_block(rates, column, {"method": beside, "quota": quota}, {"method": COMPUTE, "quota": quota})


def put_to_the_test(data: pl.DataFrame) -> bool:
    """Whether the quota stopped the goroutines that compute beside each other. Where nothing counts, it is taken to."""
    own = data.filter(pl.col("part") == SHARE, pl.col("method") == COMPUTE, pl.col("quota") == LIMITED)
    counted = own.filter(pl.col("nr_periods").is_not_null())
    if counted.is_empty():
        return not own.is_empty()
    return int(counted["nr_throttled"].sum()) >= _ENOUGH_THROTTLED * int(counted["nr_periods"].sum())


def verdict(data: pl.DataFrame) -> Verdict:
    """T4: does a sleep hand the P over, and do others get what it leaves of the quota?"""
    says = "a sleeping goroutine's thread hands its P to another thread, and others get its share of the quota"
    shares = {each: share(data, each, LIMITED) for each in METHODS}
    tested = put_to_the_test(data)
    ratio = shares[SLEEP]
    gets = ratio.within(GETS_THE_SHARE, float("inf")) if ratio is not None and tested else None
    parts = [hands_over(data, SLEEP), gets]
    told = [_handing(data), _sharing(data, shares)]
    if not tested:
        told.append("the quota did not stop two computing goroutines in half of its periods: too much else runs here")
    told.append(_alone(data))
    if None in parts:
        told.append(TOO_FEW)
    return Verdict("T4", says, outcome_of(parts), "; ".join(each for each in told if each), _figures(data, shares))


def _handing(data: pl.DataFrame) -> str:
    parts = []
    for method in METHODS:
        found, after = moved(data, method), gap(data, method)
        if found is not None and after is not None:
            count, sleeps, (low, high) = found
            share_text = f"{count / sleeps:.0%} [{low:.0%}, {high:.0%}] of {sleeps} sleeps"
            parts.append(f"{_named(method)} in {share_text}, {time_with(*after)} later")
    if not parts:
        return "no data of who runs next"
    return (
        f"the P's next goroutine ran on another thread (median time until it ran, without a quota): {', '.join(parts)}"
    )


def _named(method: str) -> str:
    return {
        SLEEP: "after time.Sleep",
        CALL: "after a blocking system call",
        DIRECT: "after the sleep patched to block",
        NETPOLL: "after time.Sleep with the netpoll patch",
    }[method]


def _sharing(data: pl.DataFrame, shares: dict[str, Ratio | None]) -> str:
    known = [f"{method} {ratio}" for method, ratio in shares.items() if ratio is not None]
    if not known:
        return "no data of the quota"
    group = share(data, SLEEP, LIMITED, "group")
    return (
        f"under {LIMITED} of a CPU the work of a computing goroutine beside a sleeping one is, by the way it sleeps, "
        f"{', '.join(known)} that beside a computing one, and with time.Sleep the work of both together {group}"
    )


def _alone(data: pl.DataFrame) -> str:
    own = data.filter(pl.col("part") == QUIET, pl.col("nr_throttled").is_not_null())
    if own.is_empty():
        return ""
    used = float(own["cpu_ns"].sum()) / float(own["window_ns"].sum())
    return (
        f"a process that only sleeps uses {used:.2%} of a CPU, and was throttled in {own['nr_throttled'].sum()} periods"
    )


def _figures(data: pl.DataFrame, shares: dict[str, Ratio | None]) -> dict[str, object]:
    figures: dict[str, object] = {}
    for method in METHODS:
        found, after = moved(data, method), gap(data, method)
        ratio, speed = shares[method], progress(data, method)
        figures[method] = {
            "other_thread": None if found is None else {"count": found[0], "sleeps": found[1], "interval": found[2]},
            "gap_p50_ns": None if after is None else {"value": after[0], "interval": after[1]},
            "progress_during_sleep": None if speed is None else speed.to_json(),
            "share_under_quota": None if ratio is None else ratio.to_json(),
        }
    return figures
