"""Quantiles and their uncertainty. The unit of sampling is the process run: runs are resampled, not single sleeps."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Numbers = NDArray[np.float64]
RESAMPLES = 2_000
CONFIDENCE = 0.95
# Above this, a run stands for itself by its quantiles at an even grid: enough for a median, and bounded in memory.
_MOST_PER_RUN = 400
_BATCH = 500


def quantile(ordered: NDArray[np.int64], q: float) -> int:
    """The smallest of the ascending values with at least the share ``q`` at or below it (Hyndman & Fan's type 1).

    A value that was measured, never one between two: sleep times are multimodal, and no sleep lies in the gap.
    """
    rank = int(np.ceil(q * ordered.size - 1e-9))
    return int(ordered[max(rank, 1) - 1])


def median_distribution(runs: Sequence[NDArray[np.int64]], seed: int) -> Numbers | None:
    """The bootstrap distribution of the pooled median: runs drawn with replacement, their samples pooled.

    Shape (RESAMPLES,), ns; None for fewer than two runs, from which no spread between runs can be known.
    """
    if len(runs) < 2:
        return None
    thinned = [_thin(run) for run in runs]
    values = np.concatenate(thinned)
    owner = np.repeat(np.arange(len(runs)), [part.size for part in thinned])
    weight = np.concatenate([np.full(part.size, run.size / part.size) for run, part in zip(runs, thinned, strict=True)])
    order = np.argsort(values, kind="stable")
    values, owner, weight = values[order], owner[order], weight[order]

    def pooled_median(drawn: Numbers, axis: int = -1) -> Numbers:
        drawn = np.moveaxis(drawn, axis, -1)
        times = (drawn[..., None, :] == np.arange(len(runs))[:, None]).sum(axis=-1)
        cumulated = np.cumsum(times[..., owner] * weight, axis=-1)
        reached = cumulated >= 0.5 * cumulated[..., -1:] - 1e-9
        return np.asarray(values[np.argmax(reached, axis=-1)], dtype=np.float64)

    drawn = stats.bootstrap(
        (np.arange(len(runs), dtype=np.float64),),
        pooled_median,
        n_resamples=RESAMPLES,
        batch=_BATCH,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return np.asarray(drawn.bootstrap_distribution, dtype=np.float64)


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


def interval(distribution: Numbers | None) -> list[float] | None:
    """The percentile interval [low, high] of CONFIDENCE; None of None."""
    if distribution is None:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(distribution, [tail, 1 - tail])
    return [float(low), float(high)]


def _thin(run: NDArray[np.int64]) -> NDArray[np.int64]:
    ordered = np.sort(run)
    if ordered.size <= _MOST_PER_RUN:
        return ordered
    ranks = ((np.arange(_MOST_PER_RUN) + 0.5) / _MOST_PER_RUN * ordered.size).astype(np.int64)
    return ordered[ranks]
