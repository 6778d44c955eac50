"""Where sleep times cluster. A median between two clusters is a time that no sleep took, so clusters are told."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from nanonap.lab.stats.resampling import Numbers

LEAST_SHARE = 0.05
"""A cluster with fewer of the samples is a tail, and told by the quantiles."""
_LEAST = 20
_MOST = 5_000
_RISE = 2.5
_PER_WIDTH = 4
_MOST_BINS = 1 << 16
_RESOLUTION_NS = 500.0


@dataclass(frozen=True)
class Cluster:
    """``at_ns``: where the samples lie densest; ``share`` of the samples that no other cluster is nearer to."""

    at_ns: int
    share: float


def find_clusters(ordered: NDArray[np.int64]) -> list[Cluster]:
    """The clusters of samples (ns, ascending), ascending; one for samples that form one cluster, however wide.

    A density of log(actual), whose width is Silverman's rule of thumb (0.9 · min(σ, IQR/1.34) · n^-1/5), is searched
    for peaks. Square roots of counts have one variance wherever they are taken (Bartlett 1936), so a peak must rise
    above the valley beside it by _RISE in √(samples under the density's width): some 3.5 standard deviations of the
    difference of two such counts. More than _MOST samples count as _MOST, so that a dent of a few per cent is none.
    What lies nearest to one of several peaks is searched again by itself: a far cluster makes the rule's width too
    wide for two near ones.
    """
    logs = np.log(np.maximum(ordered, 1).astype(np.float64))
    places = _all_peaks(logs)
    while len(places) > 1:
        shares = _shares(logs, places)
        if shares.min() >= LEAST_SHARE:
            break
        places = np.delete(places, int(shares.argmin()))
    shares = _shares(logs, places)
    return [Cluster(round(float(np.exp(place))), float(share)) for place, share in zip(places, shares, strict=True)]


def _all_peaks(logs: Numbers) -> Numbers:
    if logs.size < _LEAST or logs[0] == logs[-1]:
        return logs[[(logs.size - 1) // 2]]
    places = _peaks(logs)
    if len(places) == 1:
        return places
    parts = np.split(logs, _bounds(logs, places))
    return np.concatenate([_all_peaks(part) for part in parts if part.size])


def _peaks(logs: Numbers) -> Numbers:
    """The places of the peaks, ascending; at least one. ``logs`` ascending."""
    quarter, median, three_quarters = np.quantile(logs, [0.25, 0.5, 0.75])
    spreads = [each for each in (float(np.std(logs)), float(three_quarters - quarter) / 1.34) if each > 0]
    counted = min(logs.size, _MOST)
    # No clock or timer tells sleeps apart that are nearer than this.
    width = max(0.9 * min(spreads) * counted**-0.2, _RESOLUTION_NS / float(np.exp(median)))
    low, high = (float(each) for each in np.quantile(logs, [0.001, 0.999]))
    low, high = low - 4 * width, high + 4 * width
    bins = min(int(np.ceil((high - low) / width * _PER_WIDTH)), _MOST_BINS)
    step = (high - low) / bins
    counts, edges = np.histogram(logs, bins=bins, range=(low, high))
    smooth = ndimage.gaussian_filter1d(counts.astype(np.float64), width / step, mode="constant")
    under = smooth * (counted / logs.size) * (2 * np.sqrt(np.pi) * width / step)
    # Of two peaks that are exactly alike, as of values that repeat, neither would bound the other's prominence.
    roots = np.sqrt(np.maximum(under, 0)) + np.linspace(0, 1e-6, bins)
    found, _ = signal.find_peaks(roots, prominence=_RISE)
    if not found.size:
        found = np.array([int(np.argmax(smooth))])
    return np.asarray((edges[found] + edges[found + 1]) / 2)


def _bounds(logs: Numbers, places: Numbers) -> NDArray[np.int64]:
    return np.searchsorted(logs, (places[1:] + places[:-1]) / 2)


def _shares(logs: Numbers, places: Numbers) -> Numbers:
    return np.diff([0, *_bounds(logs, places), logs.size]) / logs.size
