"""The kept sleeps of the experiment ``minimum``: its arms and states, and figures of sleeps with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.experiments.figures import Ratio, ratio_of
from bench.resampling import interval, quantile, resample

STOCK = "stock"
STRATEGIES = (STOCK, "usleep", "sleep", "netpoll", "floor")
"""How a sleep is done; ``floor`` is the raw system call."""
ARMS = tuple(f"{strategy}{slack}" for strategy in STRATEGIES for slack in ("", "+slack1"))
RAW = ("floor", "floor+slack1")

STEADY = "one after the other"
AFTER_IDLE = "after 20 ms of idling"
FIRST = "the first of a process"
#: An idle stock program cannot wait for less: netpoll's timeouts are whole milliseconds (runtime/netpoll_epoll.go).
MILLISECOND_NS = 1_000_000
#: The scheduler's own search for work takes some microseconds: a timer that is due meanwhile is run without a wait
#: (findRunnable, runtime/proc.go). Shorter sleeps than this may be of that kind. Not foreseen: the first full run, with
#: all durations together, showed a quarter of the sleeps below 1 ms, nearly all of them of 1 and 10 µs.
SEARCH_NS = 20_000
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

    def over(self, claimed_ns: float) -> Ratio:
        """The ratio to a claimed figure."""
        bounds = None if self.interval_ns is None else [end / claimed_ns for end in self.interval_ns]
        return Ratio(self.value_ns / claimed_ns, bounds)


@dataclass(frozen=True)
class Sleeps:
    """Sleeps of all runs together: how many, and what they took."""

    count: int
    least: Estimate
    p1: Estimate
    p50: Estimate
    p99: Estimate
    sigma: Estimate


def chosen(data: pl.DataFrame, state: str, arm: str, requested_ns: int) -> pl.DataFrame:
    """The rows of a state, an arm and one duration."""
    return _of(data, state, arm).filter(pl.col("requested_ns") == requested_ns)


def short(data: pl.DataFrame, state: str, arm: str) -> pl.DataFrame:
    """The rows of all durations shorter than a millisecond, but for those of ``tiny``."""
    return _of(data, state, arm).filter(pl.col("requested_ns").is_between(SEARCH_NS, MILLISECOND_NS - 1))


def tiny(data: pl.DataFrame, state: str, arm: str) -> pl.DataFrame:
    """The rows of durations that can pass while the scheduler searches for work."""
    return _of(data, state, arm).filter(pl.col("requested_ns") < SEARCH_NS)


def _of(data: pl.DataFrame, state: str, arm: str) -> pl.DataFrame:
    return data.filter(pl.col("state") == state, pl.col("arm") == arm)


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
    least = Estimate(int(pooled[0]), None if drawn is None else interval(drawn.least))
    sigma_ns = float(pooled.std(ddof=1)) if pooled.size > 1 else 0.0
    sigma = Estimate(sigma_ns, None if drawn is None else interval(drawn.stdev))
    return Sleeps(pooled.size, least, p1, p50, p99, sigma)


def share_below(rows: pl.DataFrame, limit_ns: int) -> Ratio | None:
    """The share of the rows' sleeps that end before a limit, with its interval over processes."""
    runs = by_run(rows)
    return ratio_of([float((run < limit_ns).sum()) for run in runs], [float(run.size) for run in runs])


def share_text(share: Ratio | None) -> str:
    """A share for a person: ``98.5 % [97.9 %, 99.2 %]``."""
    if share is None:
        return "–"
    bounds = "" if share.interval is None else f" [{share.interval[0]:.1%}, {share.interval[1]:.1%}]"
    return f"{share.value:.1%}{bounds}"


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
