"""What verdicts and tables of the experiment ``path`` both take from its data: shares, quantiles, usual values."""

import polars as pl

from nanonap.lab.experiments.kit.ratios import Ratio, ratio_of
from nanonap.lab.experiments.path.data import STRACED, TRACEPOINTS
from nanonap.lab.plan.arms import in_order

#: A timer that is set this near to the deadline is precise: the kernel's own timer slack is as much (prctl(2)).
NEAR_NS = 50_000
#: The runtime reads its clock this much before the call at most, so that it saw a little more time left.
READ_BEFORE_NS = 50_000
#: In longer sleeps the runtime's own timers come first: with runtime/trace one of 100 ms.
SHORT_NS = 10_000_000
_MS = 1_000_000


def sleeps_of(data: pl.DataFrame, *sources: str) -> pl.DataFrame:
    """The sleeps as the first of the sources saw them that saw any of stock's."""
    return _first(data.filter(pl.col("kind") == "sleep"), sources)


def states_of(data: pl.DataFrame, *sources: str) -> pl.DataFrame:
    """Of those, the sleeps whose goroutine was found in the trace."""
    return sleeps_of(data, *sources).filter(pl.col("states").is_not_null())


def calls_of(data: pl.DataFrame) -> pl.DataFrame:
    """The epoll calls that could wait, of sleeps up to SHORT_NS, as the best source saw them.

    An endless one (-1) is among them: no deadline bounds it.
    """
    calls = data.filter(pl.col("kind") == "call", pl.col("timeout_ns") != 0, pl.col("requested_ns") <= SHORT_NS)
    return _first(calls, (TRACEPOINTS, STRACED))


def _first(data: pl.DataFrame, sources: tuple[str, ...]) -> pl.DataFrame:
    seen = set(data.filter(pl.col("arm") == "stock")["source"].to_list())
    return data.filter(pl.col("source") == next((each for each in sources if each in seen), ""))


def share(data: pl.DataFrame, arm: str, above: pl.Expr, below: pl.Expr) -> Ratio | None:
    """One sum over another, of an arm's runs."""
    of_arm = data.filter(pl.col("arm") == arm)
    by_run = of_arm.group_by("block").agg(above.sum().alias("above"), below.sum().alias("below")).sort("block")
    return ratio_of(by_run["above"].cast(pl.Float64).to_list(), by_run["below"].cast(pl.Float64).to_list())


def by_rule() -> pl.Expr:
    """Whether a limit is the time left in whole ms, at least one (runtime/netpoll_epoll.go)."""
    least, most = (
        pl.max_horizontal(left // _MS, pl.lit(1)) for left in (pl.col("left_ns"), pl.col("left_ns") + READ_BEFORE_NS)
    )
    return (pl.col("timeout_ns") // _MS).is_between(least, most)


def near() -> pl.Expr:
    """Whether the call's limit reaches to the deadline, give or take NEAR_NS; null for one without a limit."""
    return pl.col("past_ns").abs() <= NEAR_NS


def quantile(values: pl.Series, q: float) -> float | None:
    """Of the values that are there, interpolated: the median is the mean of the middle two. None of none."""
    return values.drop_nulls().quantile(q, "linear")


def mean(values: pl.Series) -> float | None:
    """Of the values that are there; None of none."""
    value = values.mean()
    return value if isinstance(value, int | float) else None


def usual(values: pl.Series) -> str | None:
    """The most frequent; of several the first by name. None of none."""
    found = values.drop_nulls().mode().sort()
    return str(found[0]) if found.len() else None


def arms_of(data: pl.DataFrame) -> list[str]:
    """The arms in the data, in the order of all results."""
    return sorted(data["arm"].drop_nulls().unique().to_list(), key=in_order)
