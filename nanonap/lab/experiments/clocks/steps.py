"""Successive readings of a clock, reduced: the steps between them as a histogram, and what is read from one."""

from collections.abc import Mapping
from math import gcd
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: Steps below this are counted one by one, in ns; the others in bins of 1/32 to 1/64 of their size.
EXACT_NS = 2_048
_BITS = 5
#: A counter's own step shows if nearly all steps are multiples of it, give or take what rounding to whole ns does,
#: and at least two multiples are common: one multiple alone may be what a reading costs.
_MULTIPLES, _COMMON, _ROUNDING_NS = 0.95, 0.05, 1
_GRAINS_NS = range(100, 2 * _ROUNDING_NS + 1, -1)


def reduced(readings: NDArray[np.int64]) -> dict[str, Any]:
    """Of readings in ns, shape (n,), in the order in which they were taken: the columns that the data keep.

    ``steps_ns`` (lower ends) and ``counts`` are the histogram of the steps that go not backwards; ``backward`` is how
    many do; ``least_ns`` is the smallest that is not 0; ``grain_ns`` is the step of the counter itself, 1 where there
    is none but the unit.
    """
    steps = np.diff(readings)
    forward = steps[steps >= 0]
    bins, counts = np.unique(_lower_ends(forward), return_counts=True)
    moved = forward[forward > 0]
    return {
        "steps_ns": bins.tolist(),
        "counts": counts.tolist(),
        "backward": int((steps < 0).sum()),
        "least_ns": int(moved.min()) if moved.size else None,
        "most_ns": int(forward.max()) if forward.size else None,
        "grain_ns": _grain_ns(forward),
    }


def _lower_ends(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    shift = np.where(steps < EXACT_NS, 0, np.log2(np.maximum(steps, 1)).astype(np.int64) - _BITS)
    return np.asarray((steps >> shift) << shift, dtype=np.int64)


def _grain_ns(steps: NDArray[np.int64]) -> int | None:
    """None where these steps do not tell: there are none, or nearly all are alike."""
    alike = not steps.size
    for grain in _GRAINS_NS:
        multiple, rest = np.divmod(steps + _ROUNDING_NS, grain)
        near = rest <= 2 * _ROUNDING_NS
        if steps.size and near.mean() >= _MULTIPLES:
            _, counts = np.unique(multiple[near], return_counts=True)
            if (counts >= _COMMON * steps.size).sum() >= 2:
                return grain
            alike = True
    return None if alike else 1


class Steps:
    """The histogram of one or several runs' steps: ``values_ns`` ascending, ``counts``."""

    def __init__(self, runs: pl.DataFrame) -> None:
        """Of rows of the data."""
        pairs = runs.select("steps_ns", "counts").explode("steps_ns", "counts").drop_nulls()
        whole = pairs.group_by("steps_ns").agg(pl.col("counts").sum()).sort("steps_ns")
        self.values_ns = whole["steps_ns"].to_numpy()
        self.counts = whole["counts"].to_numpy()
        self.total = int(self.counts.sum())

    def quantile(self, q: float) -> int:
        """The smallest step (its bin's lower end) with at least the share ``q`` at or below it, ns."""
        rank = max(1, int(np.ceil(q * self.total - 1e-9)))
        return int(self.values_ns[np.searchsorted(np.cumsum(self.counts), rank)])

    def share(self, least_ns: float, most_ns: float) -> float:
        """The share of the steps in [least, most]."""
        chosen = (self.values_ns >= least_ns) & (self.values_ns <= most_ns)
        return float(self.counts[chosen].sum() / self.total)

    def near_median(self, away_ns: float) -> float:
        """The share of the steps that are no further than this from the median."""
        median = self.quantile(0.5)
        return self.share(median - away_ns, median + away_ns)

    def deviation_ns(self) -> int:
        """The median absolute deviation, ns."""
        away = np.abs(self.values_ns - self.quantile(0.5))
        order = np.argsort(away, kind="stable")
        below = np.cumsum(self.counts[order])
        return int(away[order][np.searchsorted(below, self.total / 2)])


def grain_of(runs: pl.DataFrame) -> int | None:
    """The step of the counter behind runs of one clock source, ns: what all ways to read it have in common, or 1.

    Two common steps of one way may have a divisor by chance, those of all ways hardly. Of a way it is what most of its
    runs tell. None where no run tells.
    """
    told = runs.drop_nulls("grain_ns").group_by("source", "series").agg(pl.col("grain_ns").mode())
    common = gcd(*told["grain_ns"].explode().to_list())
    return common if common in _GRAINS_NS else 1 if common else None


def grain_by(runs: pl.DataFrame, source: str) -> int | None:
    """The step of the clock as one way to read it shows it, ns: the counter's, but where the ways differ its own.

    None where it is not told, as by a lone way whose steps may have the divisor by chance.
    """
    own = runs.filter(pl.col("source") == source)
    counter, step = grain_of(runs), grain_of(own)
    if counter is None or step is None or counter > 1 or step == 1:
        return counter
    return step if _multiples(Steps(own), step) > 2 else None


def _multiples(steps: Steps, grain: int) -> int:
    """How many multiples of it are common."""
    chosen = steps.values_ns[steps.counts >= _COMMON * steps.total]
    return len(set(((chosen + _ROUNDING_NS) // grain).tolist()))


def of(data: pl.DataFrame, which: Mapping[str, Any]) -> pl.DataFrame:
    """The measured runs where these columns have these values, by block."""
    chosen = (pl.col(name) == value for name, value in which.items())
    return data.filter(pl.col("kind") == "run", pl.col("missing").is_null(), *chosen).sort("block")
