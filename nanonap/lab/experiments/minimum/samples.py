"""The kept sleeps of the experiment ``minimum``: its arms and states, and figures of sleeps with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from nanonap.lab.experiments.kit.ratios import Ratio, ratio_of
from nanonap.lab.show.tables import time_with
from nanonap.lab.stats.resampling import CONFIDENCE, interval, quantile, resample

STOCK = "stock"
STRATEGIES = (STOCK, "usleep", "sleep", "netpoll", "floor")
"""How a sleep is done; ``floor`` is the raw system call."""
ARMS = tuple(f"{strategy}{slack}" for strategy in STRATEGIES for slack in ("", "+slack1"))
RAW = ("floor", "floor+slack1")

STEADY = "one after the other"
AFTER_IDLE = "after 20 ms of idling"
FIRST = "the first of a process"
IDLE = (STEADY, AFTER_IDLE)
"""States in which the program does nothing but sleep."""
#: An idle stock program cannot wait for less: netpoll's timeouts are whole milliseconds (runtime/netpoll_epoll.go).
MILLISECOND_NS = 1_000_000
_QUANTILES = (0.01, 0.5, 0.99)
_SEED = 1
#: From fewer processes there is no interval, as in figures: it would settle what is not.
_FEWEST = 3


def beside(load: str) -> str:
    """The state of sleeps beside a load."""
    return {"burn": "beside a computing goroutine", "gc": "beside an allocating goroutine"}[load.partition(":")[0]]


@dataclass(frozen=True)
class Estimate:
    """A time in ns and its 95 % interval over runs (None from too few)."""

    value_ns: float
    interval_ns: list[float] | None

    def __str__(self) -> str:
        """For a person, as ``time_with`` has it."""
        return time_with(self.value_ns, self.interval_ns)

    def over(self, claimed_ns: float) -> Ratio:
        """The ratio to a claimed figure."""
        bounds = None if self.interval_ns is None else [end / claimed_ns for end in self.interval_ns]
        return Ratio(self.value_ns / claimed_ns, bounds)


@dataclass(frozen=True)
class Sleeps:
    """Sleeps of all runs together: how many, and what they took.

    The least has no interval: drawing the runs again never gives a smaller one than was measured.
    """

    count: int
    least: Estimate
    p1: Estimate
    p50: Estimate
    p99: Estimate
    sigma: Estimate


def chosen(data: pl.DataFrame, state: str, arm: str, requested_ns: int) -> pl.DataFrame:
    """The rows of a state, an arm and one duration."""
    wanted = {"state": state, "arm": arm, "requested_ns": requested_ns}
    return data.filter(*(pl.col(name) == value for name, value in wanted.items()))


def by_run(rows: pl.DataFrame) -> list[NDArray[np.int64]]:
    """Each process's sleeps, ascending, in ns."""
    keys = ["block", "process"]
    runs = rows.explode("actual_ns").group_by(keys, maintain_order=True).agg(pl.col("actual_ns").sort()).sort(keys)
    return [np.asarray(run, dtype=np.int64) for run in runs["actual_ns"].to_list()]


def sleeps(rows: pl.DataFrame) -> Sleeps | None:
    """The figures of the rows' sleeps, with intervals over processes; None where there are none."""
    runs = by_run(rows)
    if not runs:
        return None
    pooled = np.sort(np.concatenate(runs))
    drawn = resample(runs, _QUANTILES, _SEED) if len(runs) >= _FEWEST else None
    p1, p50, p99 = (
        Estimate(quantile(pooled, q), None if drawn is None else interval(drawn.quantiles[q])) for q in _QUANTILES
    )
    least = Estimate(int(pooled[0]), None)
    sigma_ns = float(pooled.std(ddof=1)) if pooled.size > 1 else 0.0
    sigma = Estimate(sigma_ns, None if drawn is None else interval(drawn.stdev))
    return Sleeps(pooled.size, least, p1, p50, p99, sigma)


def share_below(rows: pl.DataFrame, limit_ns: int) -> Ratio | None:
    """The share of the rows' sleeps that end before a limit, with its interval over processes.

    Where all processes are alike, drawing them again and again would know of no doubt: there it is Clopper and
    Pearson's, of the sleeps.
    """
    runs = by_run(rows)
    below, sizes = [int((run < limit_ns).sum()) for run in runs], [run.size for run in runs]
    share = ratio_of(below, sizes)
    count, total = sum(below), sum(sizes)
    alike = all(own * total == count * size for own, size in zip(below, sizes, strict=True))
    if share is None or share.interval is None or not alike:
        return share
    bounds = stats.binomtest(count, total).proportion_ci(CONFIDENCE, "exact")
    return Ratio(share.value, [float(bounds.low), float(bounds.high)])


def shares_below(data: pl.DataFrame, state: str, limit_ns: int) -> dict[int, Ratio]:
    """Of stock's sleeps in a state that ask for less than a limit the share that end before it, by what they ask for.

    Not of all together: where the time ends a run, there are ten times as many sleeps of a tenth of the duration.
    """
    asked = [each for each in requested(data, state) if each < limit_ns]
    shares = {each: share_below(chosen(data, state, STOCK, each), limit_ns) for each in asked}
    return {each: share for each, share in shares.items() if share is not None}


def median_over(data: pl.DataFrame, arm: str, base: str, requested_ns: int) -> Ratio | None:
    """The runs' medians of an arm over those of another, by blocks, of sleeps one after the other."""
    own, other = (_medians(chosen(data, STEADY, name, requested_ns)) for name in (arm, base))
    both = own.join(other, on="block", suffix="_base").sort("block")
    return ratio_of(both["p50"].to_list(), both["p50_base"].to_list())


def _medians(rows: pl.DataFrame) -> pl.DataFrame:
    medians = [float(quantile(np.asarray(run, dtype=np.int64), 0.5)) for run in rows["actual_ns"].to_list()]
    return pl.DataFrame({"block": rows["block"], "p50": medians}, schema={"block": pl.Int64, "p50": pl.Float64})


def early(data: pl.DataFrame, arms: Sequence[str]) -> tuple[int, int]:
    """(sleeps that ended before their time, sleeps) of these arms in all states."""
    rows = data.filter(pl.col("arm").is_in(arms)).explode("actual_ns")
    return rows.filter(pl.col("actual_ns") < pl.col("requested_ns")).height, rows.height


def requested(data: pl.DataFrame, state: str) -> list[int]:
    """The durations that were tried in a state, ascending."""
    return sorted(set(data.filter(pl.col("state") == state)["requested_ns"]))


def arms_there(data: pl.DataFrame) -> list[str]:
    """Arms in the order of a reader."""
    there = set(data["arm"])
    return [arm for arm in ARMS if arm in there]


def states_there(data: pl.DataFrame) -> list[str]:
    """States in the order of a reader."""
    there = set(data["state"])
    return [state for state in (STEADY, AFTER_IDLE, FIRST, beside("burn"), beside("gc")) if state in there]
