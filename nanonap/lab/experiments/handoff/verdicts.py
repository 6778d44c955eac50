"""What the runs of ``handoff`` say to claim T4."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from nanonap.lab.experiments.handoff import runs
from nanonap.lab.experiments.kit.base import Verdict
from nanonap.lab.experiments.kit.counted import used_up
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, json_of, outcome_of, ratio_by_block
from nanonap.lab.judge.verdicts import Interval
from nanonap.lab.show.tables import time_with
from nanonap.lab.stats.resampling import CONFIDENCE, interval, median_distribution, quantile

#: A way of sleeping hands its P over if more than half of its sleeps do, in more than half of the runs.
MAJORITY = 0.5
#: Of two goroutines that shared the quota evenly the other gets twice as far alone: nearer to twice than to once.
GETS_THE_SHARE = 1.5
_SEED = 1


@dataclass(frozen=True)
class Moved:
    """After how many sleeps of how many runs the P's next goroutine ran on another thread.

    ``most``: runs in which that is so of more than MAJORITY of the sleeps; ``few``: of less.
    """

    moved: int
    sleeps: int
    most: int
    few: int
    runs: int

    @property
    def interval(self) -> list[float]:
        """The 95 % interval of ``most`` of ``runs``, Clopper and Pearson's.

        The sleeps of a run share a process and its threads, so a run has one vote. Where all are of one mind, drawing
        them again and again would know of no doubt.
        """
        return self._bounds(self.most)

    @property
    def settled(self) -> bool | None:
        """Whether the P goes to another thread; None if these runs do not settle it."""
        if self._bounds(self.most)[0] > MAJORITY:
            return True
        return False if self._bounds(self.few)[0] > MAJORITY else None

    def _bounds(self, count: int) -> list[float]:
        bounds = stats.binomtest(count, self.runs).proportion_ci(CONFIDENCE, "exact")
        return [float(bounds.low), float(bounds.high)]

    def __str__(self) -> str:
        """For a person."""
        low, high = self.interval
        return f"{self.most} of {self.runs} runs [{low:.0%}, {high:.0%}] ({self.moved} of {self.sleeps} sleeps)"

    def to_json(self) -> dict[str, object]:
        """The counts, and the interval of the share of runs."""
        counts = {"runs_in_most": self.most, "runs": self.runs, "sleeps_after": self.moved, "sleeps": self.sleeps}
        return {**counts, "interval": self.interval}


def moved(data: pl.DataFrame, method: str, quota: str = runs.NONE) -> Moved | None:
    """Of the sleeps under one quota, as ``gap``; None where there are none."""
    own = data.filter(pl.col("part") == runs.HAND, pl.col("method") == method, pl.col("quota") == quota)
    if own.is_empty():
        return None
    shares = own.group_by("block").agg(share=1 - pl.col("same_thread").mean())["share"]
    most, few = int((shares > MAJORITY).sum()), int((shares < MAJORITY).sum())
    return Moved(int((~own["same_thread"]).sum()), own.height, most, few, shares.len())


def hands_over(data: pl.DataFrame, method: str) -> bool | None:
    """Whether the P goes to another thread, without a quota; None if these runs do not settle it."""
    found = moved(data, method)
    return None if found is None else found.settled


def gap(data: pl.DataFrame, method: str) -> tuple[float, Interval] | None:
    """The median time until the P ran the other goroutine, without a quota, and its 95 % interval over runs; ns."""
    own = data.filter(pl.col("part") == runs.HAND, pl.col("method") == method, pl.col("quota") == runs.NONE)
    if own.is_empty():
        return None
    gaps = [part["gap_ns"].to_numpy() for part in own.partition_by("block", maintain_order=True)]
    middle = quantile(np.sort(own["gap_ns"].to_numpy()), 0.5)
    return middle, interval(median_distribution(gaps, _SEED))


def progress(data: pl.DataFrame, method: str) -> Ratio | None:
    """How fast the other goroutine got on during the sleeps, over the same with nobody asleep, without a quota."""
    own = data.filter(pl.col("part") == runs.HAND, pl.col("quota") == runs.NONE).with_columns(
        during=pl.col("sleep_count") / pl.col("sleep_ns"), base=pl.col("base_count") / pl.col("base_ns")
    )
    long = own.unpivot(["during", "base"], index=["block", "method"], variable_name="when", value_name="rate")
    return ratio_by_block(long, "rate", {"method": method, "when": "during"}, {"method": method, "when": "base"})


def share(data: pl.DataFrame, beside: str, quota: str, column: str = "own") -> Ratio | None:
    """How far a goroutine gets beside another that does something, over beside one that computes.

    ``column``: ``own`` of the goroutine, ``group`` of both together.
    """
    rates = data.filter(pl.col("part") == runs.SHARE).with_columns(
        own=pl.col("count") / pl.col("window_ns"),
        group=(pl.col("count") + pl.col("other_count")) / pl.col("window_ns"),
    )
    return ratio_by_block(rates, column, {"method": beside, "quota": quota}, {"method": runs.COMPUTE, "quota": quota})


def put_to_the_test(data: pl.DataFrame) -> bool:
    """Whether the quota stopped the goroutines that compute beside each other. Where nothing counts, it is taken to."""
    own = data.filter(pl.col("part") == runs.SHARE, pl.col("method") == runs.COMPUTE, pl.col("quota") == runs.LIMITED)
    return not own.is_empty() and used_up(own)


def verdict(data: pl.DataFrame) -> Verdict:
    """T4: does a sleep hand the P over, of a goroutine locked to its thread and of others, and who gets the quota?"""
    says = "a sleeping goroutine's thread hands its P to another thread, and others get its share of the quota"
    shares = {each: share(data, each, runs.LIMITED) for each in runs.METHODS}
    tested = put_to_the_test(data)
    ratio = shares[runs.SLEEP]
    gets = ratio.within(GETS_THE_SHARE, float("inf")) if ratio is not None and tested else None
    parts = [hands_over(data, runs.SLEEP), hands_over(data, runs.LOCKED), gets]
    told = [_handing(data), _sharing(data, shares)]
    if not tested:
        told.append("the quota did not stop two computing goroutines in half of its periods: too much else runs here")
    told.append(_alone(data))
    if None in parts:
        told.append(TOO_FEW)
    return Verdict("T4", says, outcome_of(parts), "; ".join(each for each in told if each), _figures(data, shares))


def _handing(data: pl.DataFrame) -> str:
    parts = []
    for method in runs.HANDED:
        found, after = moved(data, method), gap(data, method)
        if found is not None and after is not None:
            parts.append(f"{_named(method)} in {found}, {time_with(*after)} later")
    if not parts:
        return "no data of who runs next"
    return f"without a quota the P's next goroutine ran on another thread (median time until it ran) {', '.join(parts)}"


def _named(method: str) -> str:
    return {
        runs.SLEEP: "after time.Sleep",
        runs.LOCKED: "after time.Sleep of a goroutine locked to its thread",
        runs.CALL: "after a blocking system call",
        runs.DIRECT: "after the sleep patched to block",
        runs.NETPOLL: "after time.Sleep with the netpoll patch",
    }[method]


def _sharing(data: pl.DataFrame, shares: dict[str, Ratio | None]) -> str:
    known = [f"{method} {ratio}" for method, ratio in shares.items() if ratio is not None]
    if not known:
        return "no data of the quota"
    group = share(data, runs.SLEEP, runs.LIMITED, "group")
    return (
        f"under {runs.LIMITED} of a CPU the work of a computing goroutine beside a sleeping one is, by the way it "
        f"sleeps, {', '.join(known)} that beside a computing one, and with time.Sleep the work of both together {group}"
    )


def _alone(data: pl.DataFrame) -> str:
    own = data.filter(pl.col("part") == runs.QUIET, pl.col("nr_throttled").is_not_null())
    if own.is_empty():
        return ""
    used = float(own["cpu_ns"].sum()) / float(own["window_ns"].sum())
    return (
        f"a process that only sleeps uses {used:.2%} of a CPU, and was throttled in {own['nr_throttled'].sum()} periods"
    )


def _figures(data: pl.DataFrame, shares: dict[str, Ratio | None]) -> dict[str, object]:
    figures: dict[str, object] = {}
    for method in runs.HANDED:
        handed = {quota: moved(data, method, quota) for quota in runs.QUOTAS}
        after = gap(data, method)
        figures[method] = {
            "other_thread": {quota: None if found is None else found.to_json() for quota, found in handed.items()},
            "gap_p50_ns": None if after is None else {"value": after[0], "interval": after[1]},
            "progress_during_sleep": json_of(progress(data, method)),
            "share_under_quota": json_of(shares.get(method)),
        }
    return figures
