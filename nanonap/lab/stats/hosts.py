"""A mean over hosts whose unit is the host: each has its own true effect, and was measured with its own error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from nanonap.lab.stats.resampling import CONFIDENCE, Numbers


@dataclass(frozen=True)
class Pooled:
    """``mean`` and its interval; ``between``: the standard deviation of the hosts' true effects; ``hosts``: how many.

    The interval is None for one host: it says nothing of others.
    """

    mean: float
    interval: list[float] | None
    between: float | None
    hosts: int


def pooled(effects: Sequence[float], errors: Sequence[float | None], confidence: float = CONFIDENCE) -> Pooled:
    """The random-effects mean of the hosts' effects, whose standard errors are ``errors``, on the effects' own scale.

    Between-host variance as Paule and Mandel (J. Res. NBS 87, 1982, 377) find it, the interval as Hartung and Knapp
    (Stat. Med. 20, 2001, 3875): t, with one degree of freedom less than hosts. Where an error is unknown or none, all
    hosts count alike: the mean and its t interval.
    """
    values = np.asarray(effects, dtype=np.float64)
    count = values.size
    if count == 1:
        return Pooled(float(values[0]), None, None, 1)
    known = all(each is not None and each > 0 for each in errors)
    variances = np.square(np.asarray(errors, dtype=np.float64)) if known else np.zeros(count)
    between = _between(values, variances) if known else float(np.var(values, ddof=1))
    weights = 1 / (variances + between) if known or between > 0 else np.ones(count)
    mean = float(np.average(values, weights=weights))
    spread = float(np.sum(weights * (values - mean) ** 2)) / (count - 1)
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * float(np.sqrt(spread / np.sum(weights)))
    return Pooled(mean, [mean - half, mean + half], float(np.sqrt(between)), count)


def _between(values: Numbers, variances: Numbers) -> float:
    """The variance with which the weighted squares of the differences from the mean come to their expectation."""

    def excess(between: float) -> float:
        weights = 1 / (variances + between)
        mean = np.average(values, weights=weights)
        return float(np.sum(weights * (values - mean) ** 2)) - (values.size - 1)

    if excess(0.0) <= 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, float(np.ptp(values) ** 2) + float(variances.max())))
