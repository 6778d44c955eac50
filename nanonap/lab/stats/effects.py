"""How two arms differ: a ratio or a difference of medians with its interval, and a rank test. The unit is the run."""

import numpy as np
from scipy import stats

from nanonap.lab.stats.cells import Cell
from nanonap.lab.stats.resampling import CONFIDENCE, interval

Interval = list[float] | None
LEAST_FOR_RANKS = 4
"""From four runs against four on, the smallest p that ranks can give (2/70) is below 0.05."""


def ratio_of(cell: Cell, base: Cell, confidence: float = CONFIDENCE) -> tuple[float, Interval]:
    """p50 over the base's p50, and its interval. A base of 0, which only a broken clock gives, counts as 1 ns."""
    above, below = cell.p50_distribution, base.p50_distribution
    low_high = None if above is None or below is None else interval(above / np.maximum(below, 1), confidence)
    return cell.p50_ns / max(base.p50_ns, 1), low_high


def difference_of(cell: Cell, base: Cell) -> tuple[int, Interval]:
    """p50 minus the base's p50 in ns, and its interval."""
    above, below = cell.p50_distribution, base.p50_distribution
    return cell.p50_ns - base.p50_ns, None if above is None or below is None else interval(above - below)


def rank_test(cell: Cell, base: Cell) -> tuple[float | None, float | None]:
    """Mann and Whitney's U of the runs' medians: (two-sided p, the chance that a run's median is below a base run's).

    Ties count half (the common-language effect size, U/mn). (None, None) for fewer than LEAST_FOR_RANKS runs in either.
    """
    own, other = cell.run_medians, base.run_medians
    if min(own.size, other.size) < LEAST_FOR_RANKS:
        return None, None
    if np.unique(np.concatenate([own, other])).size == 1:
        return 1.0, 0.5  # all tied: the test's variance is zero
    tested = stats.mannwhitneyu(own, other, alternative="two-sided")
    return float(tested.pvalue), 1 - float(tested.statistic) / (own.size * other.size)
