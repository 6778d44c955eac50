"""Quantiles and their uncertainty. The unit of sampling is the process run: runs are resampled, not single sleeps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Numbers = NDArray[np.float64]
RESAMPLES = 2_000
CONFIDENCE = 0.95
# Above this, a run stands for itself by its quantiles at an even grid: 40 of them above its p99, and bounded in memory.
_MOST_PER_RUN = 4_000


def quantile(ordered: NDArray[np.int64], q: float) -> int:
    """The smallest of the ascending values with at least the share ``q`` at or below it (Hyndman & Fan's type 1).

    A value that was measured, never one between two: sleep times are multimodal, and no sleep lies in the gap.
    """
    rank = int(np.ceil(q * ordered.size - 1e-9))
    return int(ordered[max(rank, 1) - 1])


@dataclass(frozen=True)
class Resampled:
    """Bootstrap distributions of pooled figures, each of shape (RESAMPLES,), in ns.

    All are of the same draws of runs: element i of one belongs to element i of the others, so that differences of
    them have a distribution too.
    """

    quantiles: dict[float, Numbers]
    least: Numbers
    stdev: Numbers


def resample(runs: Sequence[NDArray[np.int64]], quantiles: Sequence[float], seed: int) -> Resampled | None:
    """Runs drawn with replacement, their samples pooled: quantiles, minimum and standard deviation of each draw.

    ``runs``: each run's samples, ns, ascending. None for fewer than two runs, from which no spread between runs can be
    known. The minimum's distribution is one-sided: no draw has a smaller one than was measured.
    """
    if len(runs) < 2:
        return None
    pooled = _Pooled(runs)

    def figures(drawn: Numbers, axis: int = -1) -> Numbers:
        which = np.atleast_2d(np.moveaxis(drawn, axis, -1)).astype(np.int64)
        times = _times(which, len(runs))
        rows = [pooled.quantile(times, q) for q in quantiles]
        return np.array([*rows, pooled.least[which].min(axis=-1), pooled.stdev(which)])

    drawn = stats.bootstrap(
        (np.arange(len(runs), dtype=np.float64),),
        figures,
        n_resamples=RESAMPLES,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    rows = np.asarray(drawn.bootstrap_distribution, dtype=np.float64)
    return Resampled(dict(zip(quantiles, rows, strict=False)), rows[-2], rows[-1])


def median_distribution(runs: Sequence[NDArray[np.int64]], seed: int) -> Numbers | None:
    """The bootstrap distribution of the pooled median, ns, shape (RESAMPLES,); None for fewer than two runs."""
    drawn = resample([np.sort(run) for run in runs], (0.5,), seed)
    return None if drawn is None else drawn.quantiles[0.5]


class _Pooled:
    """What figures of any choice of runs are computed from."""

    def __init__(self, runs: Sequence[NDArray[np.int64]]) -> None:
        thinned = [_thin(run) for run in runs]
        self.values = np.unique(np.concatenate(thinned))
        weights = np.array([run.size / part.size for run, part in zip(runs, thinned, strict=True)])
        # (runs, values): how many samples of a run lie at or below a value.
        below = np.array([np.searchsorted(part, self.values, side="right") for part in thinned], dtype=np.float64)
        self.below = np.ascontiguousarray(below * weights[:, None])
        self.least = np.array([run[0] for run in runs], dtype=np.float64)
        self.sizes = np.array([run.size for run in runs], dtype=np.float64)
        self.middle = float(np.concatenate(thinned).mean())  # squares of large numbers would lose their digits
        self.sums = np.array([(run - self.middle).sum() for run in runs])
        self.squares = np.array([((run - self.middle) ** 2).sum() for run in runs])

    def quantile(self, times: Numbers, q: float) -> Numbers:
        """``times``: (draws, runs), how often each run was drawn. The same rule as ``quantile``, of the pooled."""
        wanted = q * (times @ self.sizes) - 1e-6
        low = np.zeros(len(times), dtype=np.int64)
        high = np.full(len(times), self.values.size - 1)
        while np.any(low < high):  # the first value with enough samples at or below it, by halving, all draws at once
            middle = (low + high) // 2
            enough = np.einsum("dr,rd->d", times, self.below[:, middle]) >= wanted
            high = np.where(enough, middle, high)
            low = np.where(enough, low, middle + 1)
        return np.asarray(self.values[high], dtype=np.float64)

    def stdev(self, drawn: NDArray[np.int64]) -> Numbers:
        """``drawn``: (draws, runs), which runs. The sample standard deviation of the pooled."""
        count, total, squares = (each[drawn].sum(axis=-1) for each in (self.sizes, self.sums, self.squares))
        return np.asarray(np.sqrt(np.maximum(squares - total**2 / count, 0) / (count - 1)))


def _times(drawn: NDArray[np.int64], runs: int) -> Numbers:
    """(draws, runs): how often each run was drawn."""
    places = drawn + runs * np.arange(len(drawn))[:, None]
    return np.bincount(places.ravel(), minlength=len(drawn) * runs).reshape(-1, runs).astype(np.float64)


def ratio_distribution(above: Sequence[float], below: Sequence[float], seed: int) -> Numbers | None:
    """The bootstrap distribution of sum(above) / sum(below) over runs; None for fewer than two runs."""
    if len(above) < 2:
        return None
    drawn = stats.bootstrap(
        (np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)),
        lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis),
        n_resamples=RESAMPLES,
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return np.asarray(drawn.bootstrap_distribution, dtype=np.float64)


def mean_distribution(values: Sequence[float], seed: int) -> Numbers | None:
    """The bootstrap distribution of the mean of a number per run; None for fewer than two runs."""
    return ratio_distribution(values, [1.0] * len(values), seed)


def interval(distribution: Numbers | None, confidence: float = CONFIDENCE) -> list[float] | None:
    """The percentile interval [low, high]; None of None."""
    if distribution is None:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(distribution, [tail, 1 - tail])
    return [float(low), float(high)]


def _thin(run: NDArray[np.int64]) -> NDArray[np.int64]:
    if run.size <= _MOST_PER_RUN:
        return run
    ranks = ((np.arange(_MOST_PER_RUN) + 0.5) / _MOST_PER_RUN * run.size).astype(np.int64)
    return run[ranks]
