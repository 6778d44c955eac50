"""What is read off the samples of ``bandwidth``: changes, shares, stalls, counts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nanonap.lab.experiments.kit.ratios import Ratio, ratio_of
from nanonap.lab.quota.limits import parse_quota
from nanonap.lab.quota.sampler import SERIES_SCHEMA
from nanonap.lab.quota.series import stalls_in

Floats = NDArray[np.float64]
#: A stall ends when the timer fires; that is seen two samples later at most, and the tick may come between.
_AT_BOUNDARY_NS = 8_000_000
#: Of a period: meant is 0.4.
_LATEST = 0.6


@dataclass(frozen=True)
class Change:
    """A change of quota in the midst of a period: CPU time used from the write to the period's end, ns.

    ``at_once_ns`` and ``later_ns`` are what would be used if the new quota counted from the write on, or from the next
    period on; at_once_ns may also be all the time that is left.
    """

    left_ns: float
    used_ns: float
    at_once_ns: float
    later_ns: float


def trials(data: pl.DataFrame, scene: str, quota: str | None = None, source: str = "watch") -> Iterator[pl.DataFrame]:
    """The samples of each trial of a scene, in order of time."""
    chosen = data.filter(pl.col("scene") == scene, pl.col("source") == source)
    if quota is not None:
        chosen = chosen.filter(pl.col("quota") == quota)
    for _, each in chosen.group_by(["quota", "other_quota", "trial"], maintain_order=True):
        yield each.sort("monotonic_ns")


def changes(data: pl.DataFrame, quota: str) -> list[Change]:
    """The changes from a quota; without those whose period's end was not seen, or whose writer came too late itself."""
    found = []
    for each in trials(data, "change", quota):
        begun, written = each["begun_ns"][0], each["written_ns"][0]
        times, periods = each["monotonic_ns"].to_numpy(), each["nr_periods"].to_numpy()
        before = np.flatnonzero(times <= written)
        after = np.flatnonzero((times > written) & (periods > periods[before[-1]])) if before.size else before
        if not after.size or written - begun > _LATEST * parse_quota(each["quota"][0]).period_ns:
            continue
        end = int(times[after[0]])
        old, new = (parse_quota(each[name][0]).quota_ns or 0 for name in ("quota", "other_quota"))
        left, ran = end - written, written - begun
        later = max(0, min(left, old - ran))
        found.append(Change(left, float(np.diff(_used(each, [written, end]))[0]), min(left, new), later))
    return found


def _used(watched: pl.DataFrame, times: list[int]) -> Floats:
    """CPU time used up to each of the times, ns."""
    used: Floats = np.interp(times, watched["monotonic_ns"].to_numpy(), watched["used_ns"].to_numpy())
    return used


def at_once(found: list[Change]) -> Ratio | None:
    """1 if the new quota counts from the write on, 0 if from the next period on."""
    signs = [1 if each.at_once_ns > each.later_ns else -1 for each in found]
    above = [sign * (each.used_ns - each.later_ns) for sign, each in zip(signs, found, strict=True)]
    return ratio_of(above, [abs(each.at_once_ns - each.later_ns) for each in found])


def quotas_of(data: pl.DataFrame, scene: str) -> list[str]:
    """The quotas of a scene, in order."""
    return data.filter(pl.col("scene") == scene)["quota"].unique(maintain_order=True).to_list()


def nested_shares(data: pl.DataFrame) -> dict[tuple[str, str], Ratio]:
    """(child's quota, parent's) → the share of one CPU that the child's threads got."""
    found: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for each in trials(data, "nested"):
        used, wall = found.setdefault((each["quota"][0], each["other_quota"][0]), ([], []))
        used.append(each["used_ns"][-1] - each["used_ns"][0])
        wall.append(each["monotonic_ns"][-1] - each["monotonic_ns"][0])
    ratios = {pair: ratio_of(*sums) for pair, sums in found.items()}
    return {pair: ratio for pair, ratio in ratios.items() if ratio is not None}


def refusals(data: pl.DataFrame) -> list[tuple[str, str, str]]:
    """(child's quota, parent's, errno's name) of the pairs that the kernel does not take."""
    chosen = data.filter(pl.col("refused").is_not_null()).select("quota", "other_quota", "refused")
    return [(child, parent, name) for child, parent, name in chosen.unique(maintain_order=True).iter_rows()]


def series_of(trial: pl.DataFrame, data: pl.DataFrame) -> pl.DataFrame:
    """The counters of a watched trial over time, by the sampler where it ran."""
    same = (pl.col(name) == trial[name][0] for name in ("scene", "quota", "trial"))
    sampled = data.filter(*same, pl.col("source") == "sampler").sort("monotonic_ns")
    return (trial if sampled.is_empty() else sampled).select(SERIES_SCHEMA.names())


def stalls_of(trial: pl.DataFrame, data: pl.DataFrame) -> pl.DataFrame:
    """The throttled intervals of a watched trial; not the first, which may have been cut."""
    within = stalls_in(series_of(trial, data))[1:]
    return within.filter(pl.col("end_ns") <= trial["monotonic_ns"][-1])


def at_boundary(data: pl.DataFrame) -> tuple[float, int]:
    """The share of stalls that end when a period begins, and how many stalls there were."""
    near = total = 0
    for trial in trials(data, "burn", "20%"):
        series = series_of(trial, data)
        begins = series.filter(pl.col("nr_periods").diff() > 0)["monotonic_ns"].to_numpy()
        for end in stalls_of(trial, data)["end_ns"].to_list():
            total += 1
            near += bool(begins.size and np.abs(begins - end).min() <= _AT_BOUNDARY_NS)
    return (near / total if total else 0.0), total


def accounted(data: pl.DataFrame) -> Ratio | None:
    """Throttled time over the time in which the one busy thread did not run, from a stall's end to the last's."""
    above, below = [], []
    for trial in trials(data, "burn", "20%"):
        stalls = stalls_of(trial, data)
        if stalls.height < 2:
            continue
        first, last = stalls["end_ns"][0], stalls["end_ns"][-1]
        above.append(float(stalls[1:]["throttled_ns"].sum()))
        below.append(float(last - first - np.diff(_used(trial, [first, last]))[0]))
    return ratio_of(above, below)


def sampling_rate(data: pl.DataFrame) -> float:
    """Samples a second of the burning groups, by the sampler where it ran."""
    sampled = data.filter(pl.col("scene") == "burn", pl.col("source") == "sampler")
    source = "watch" if sampled.is_empty() else "sampler"
    each = [(frame.height - 1, frame["monotonic_ns"][-1] - frame["monotonic_ns"][0]) for quota in
            quotas_of(data, "burn") for frame in trials(data, "burn", quota, source)]  # fmt: skip
    time_ns = sum(length for _, length in each)
    return sum(count for count, _ in each) * 1e9 / time_ns if time_ns else 0.0


@dataclass(frozen=True)
class Count:
    """Of a load under a quota: periods counted over periods passed, throttled of them, share of a CPU used."""

    scene: str
    quota: str
    trials: int
    counted: Ratio | None
    throttled: float
    used: Ratio | None


def count_all(data: pl.DataFrame) -> list[Count]:
    """A row for each load and quota that stays as it is."""
    found = []
    for scene in ("burn", "quiet"):
        for quota in quotas_of(data, scene):
            each = [frame for frame in trials(data, scene, quota) if frame["nr_periods"].null_count() == 0]
            wall = [float(frame["monotonic_ns"][-1] - frame["monotonic_ns"][0]) for frame in each]
            grown = {name: [float(frame[name][-1] - frame[name][0]) for frame in each] for name in
                     ("nr_periods", "nr_throttled", "used_ns")}  # fmt: skip
            periods = sum(grown["nr_periods"])
            counted = ratio_of(grown["nr_periods"], [time / parse_quota(quota).period_ns for time in wall])
            share = sum(grown["nr_throttled"]) / periods if periods else 0.0
            found.append(Count(scene, quota, len(each), counted, share, ratio_of(grown["used_ns"], wall)))
    return found
