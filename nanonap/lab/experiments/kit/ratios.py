"""Ratios of means over runs with their intervals, and what they say to a claim. The unit is the run, not the sleep."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from nanonap.lab.experiments.kit.base import Outcome
from nanonap.lab.judge.verdicts import Interval, judge
from nanonap.lab.show.tables import NONE
from nanonap.lab.stats.paired import student
from nanonap.lab.stats.resampling import CONFIDENCE, interval, ratio_distribution

_SEED = 1
#: The bootstrap of two runs is the two of them and their mean: it would settle what is not.
_FEWEST = 3
TOO_FEW = "too few runs: take more, on a quiet machine and without --quick"


@dataclass(frozen=True)
class Ratio:
    """A ratio of means and its 95 % interval (None from fewer than _FEWEST runs, and where a base is 0)."""

    value: float
    interval: Interval
    #: Of each pair, as a logarithm; none where a figure is 0.
    logs: tuple[float, ...] = field(default=(), repr=False, compare=False)

    def __str__(self) -> str:
        """For a person: ``1.02 × [1.00, 1.04]``."""
        digits = 3 if 0.9 < self.value < 1.1 else 2
        return self.text(f".{digits}f", " ×")

    def text(self, form: str, unit: str = "") -> str:
        """Value and interval in a form of numbers: ``text(".0%")`` is ``12% [10%, 14%]``."""
        bounds = "" if self.interval is None else f" [{self.interval[0]:{form}}, {self.interval[1]:{form}}]"
        return f"{self.value:{form}}{unit}{bounds}"

    def within(self, least: float, most: float) -> bool | None:
        """Whether it lies in [least, most] with its whole interval; None if these runs do not settle it."""
        return {"yes": True, "no": False}.get(judge(self.interval, least=least, most=most))

    def corrected(self, tests: int) -> Interval:
        """The interval that is right for all of ``tests`` ratios at once with 95 % (Bonferroni); None as ``interval``.

        By Student's t of the pairs' logarithms: of a few pairs the bootstrap has no such quantiles, since it never
        leaves the pairs' own range.
        """
        if len(self.logs) < _FEWEST:
            return None
        _, low_high, _ = student(self.logs, 1 - (1 - CONFIDENCE) / tests)
        return [float(np.exp(each)) for each in low_high]

    def to_json(self) -> dict[str, object]:
        """Value and interval."""
        return {"value": self.value, "interval": self.interval}


@dataclass(frozen=True)
class MedianRatio(Ratio):
    """The median of the pairs' ratios: of blocks some of which something else on the machine disturbed."""

    def corrected(self, tests: int) -> Interval:
        """As for a ratio of means, but exact whatever the ratios' distribution is; None where there are too few."""
        found = median_of(np.exp(self.logs).tolist(), 1 - (1 - CONFIDENCE) / tests)
        return None if found is None else found[1]


def median_ratio(above: Sequence[float], below: Sequence[float]) -> MedianRatio | None:
    """Of figures that belong together in pairs, all positive; None where there are none."""
    if not above or not all(each > 0 for each in (*above, *below)):
        return None
    ratios = np.divide(above, below)
    found = median_of(ratios.tolist())
    return None if found is None else MedianRatio(*found, tuple(np.log(ratios).tolist()))


def median_of(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, Interval] | None:
    """The median and its interval by the binomial distribution, which needs six values for 95 %; None of none."""
    if not values:
        return None
    bounds = stats.quantile_test(values, p=0.5).confidence_interval(confidence)
    low_high = [float(bounds.low), float(bounds.high)]
    return float(np.median(values)), None if np.isnan(low_high).any() else low_high


def cell(ratio: Ratio | None, form: str | None = None) -> str:
    """For a table: in a form of numbers, or as it writes itself."""
    return NONE if ratio is None else str(ratio) if form is None else ratio.text(form)


def json_of(ratio: Ratio | None) -> dict[str, object] | None:
    """Value and interval of a ratio; None of None."""
    return None if ratio is None else ratio.to_json()


def ratio_of(above: Sequence[float], below: Sequence[float]) -> Ratio | None:
    """Sum over sum of figures that belong together in pairs (of a block, of a run); None where there is no base."""
    if not above or not sum(below):
        return None
    enough = len(above) >= _FEWEST and all(each > 0 for each in below)
    distribution = ratio_distribution(above, below, _SEED) if enough else None
    whole = all(each > 0 for each in (*above, *below))
    logs = tuple(np.log(np.divide(above, below)).tolist()) if whole else ()
    return Ratio(sum(above) / sum(below), interval(distribution), logs)


def ratio_by_block(data: pl.DataFrame, column: str, of: Mapping[str, Any], base: Mapping[str, Any]) -> Ratio | None:
    """The mean of a column where ``of`` holds over that where ``base`` does; blocks that have both count."""
    above, below = (_by_block(data, column, which) for which in (of, base))
    both = above.join(below, on="block", how="inner", suffix="_base").sort("block")
    return ratio_of(both[column].to_list(), both[f"{column}_base"].to_list())


def _by_block(data: pl.DataFrame, column: str, which: Mapping[str, Any]) -> pl.DataFrame:
    chosen = data.filter(*(pl.col(name) == value for name, value in which.items()), pl.col(column).is_not_null())
    return chosen.group_by("block").agg(pl.col(column).mean())


def outcome_of(parts: Iterable[bool | None]) -> Outcome:
    """Of a claim's parts: all, some or none of them hold; None is a part that is not settled or not measured."""
    found = list(parts)
    if not found:
        return "cannot be tested here"
    if None in found:
        return "holds in part" if {True, False} <= set(found) else "not settled"
    return "holds" if all(found) else "holds in part" if any(found) else "refuted"
