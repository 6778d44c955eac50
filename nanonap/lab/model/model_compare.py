"""The model beside what was measured, and where the two differ by more than either can be off.

The unit of sampling is the run: the measured value has a bootstrap interval over runs (``lab.stats.resampling``). The
model's has a range of its own. They differ where the two do not meet.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nanonap.base.durations import format_ns
from nanonap.lab.model.model import Prediction
from nanonap.lab.quota.base import Throttling
from nanonap.lab.stats.resampling import Numbers, interval, ratio_distribution

Outcome = Literal["agrees", "differs", "not settled"]
Ints = NDArray[np.int64]
#: A sleep counts as hit if stalls made it later than this: above what timers and schedulers add without a quota.
HIT_LATE_NS = 3_000_000
#: Threads that are always busy use their quota; a group that used less than this was not what the model is about.
_USED = 0.95
_FEWEST_PERIODS = 3
_TOO_LITTLE = "less: fewer threads were busy, or some of the time they waited for a CPU that others had"
_TOO_MUCH = "more: more threads were busy, or something else than stalls adds to it"


@dataclass(frozen=True)
class Comparison:
    """A predicted quantity beside the measured one, both in ns or both probabilities.

    ``predicted_range`` is how far off the model may be, ``measured_interval`` the 95 % interval over ``runs`` runs;
    None, as ``measured``, where there is none.
    """

    quantity: str
    predicted: float
    predicted_range: tuple[float, float]
    measured: float | None
    measured_interval: list[float] | None
    runs: int
    outcome: Outcome
    sentence: str

    def to_json(self) -> dict[str, object]:
        """The fields."""
        return {**asdict(self), "predicted_range": list(self.predicted_range)}


def compare_stalls(
    prediction: Prediction, runs: Sequence[Throttling], seed: int, *, whole_periods: bool = False, sleepers: int = 0
) -> Comparison:
    """The mean stall of a period against throttled time over periods and CPUs, of runs kept busy throughout.

    A run may end in debt, and unless it has ``whole_periods`` (lab.quota.series) it begins and ends within one: its
    figure may be off by the granularity, and by a period, shared out over its periods. The kernel adds up throttled
    time over CPUs: ``sleepers`` that want to run on CPUs beside the busy threads' add a stall of their own at most.
    """
    name = "stall in a period"
    periods = [run.nr_periods for run in runs]
    predicted = float(prediction.stall)
    if not prediction.busy or not runs or min(periods) < _FEWEST_PERIODS:
        fewest = min(periods, default=0)
        why = f"it needs busy threads ({prediction.busy}) and {_FEWEST_PERIODS} periods per run ({fewest})"
        return _untold(name, predicted, len(runs), why)
    share = _used_share(prediction, runs)
    if share is not None and share < _USED:
        why = f"the group used {share:.0%} of its quota: its threads were not busy, or had no CPU to run on"
        return _untold(name, predicted, len(runs), why)
    off = prediction.granularity_ns + (0 if whole_periods else prediction.quota.period_ns)
    slack = off / float(np.mean(periods)) if predicted else 0.0
    stalled = [run.throttled_ns / prediction.busy for run in runs]
    measured = ratio_distribution(stalled, periods, seed)
    value = sum(stalled) / sum(periods)
    most = predicted * min(prediction.busy + sleepers, max(prediction.cpus, prediction.busy)) / prediction.busy
    return _judge(name, predicted, (max(0.0, predicted - slack), most + slack), value, measured, len(runs))


def _used_share(prediction: Prediction, runs: Sequence[Throttling]) -> float | None:
    """CPU time used of what the quota gave, the first and the last period left out; None where it was not counted."""
    used = [run.usage_ns for run in runs if run.usage_ns is not None]
    if len(used) < len(runs) or prediction.quota.quota_ns is None or not prediction.throttled:
        return None
    given = sum((run.nr_periods - 2) * prediction.quota.quota_ns for run in runs)
    return sum(used) / given


def compare_lateness(prediction: Prediction, runs: Sequence[Ints], seed: int) -> tuple[Comparison, Comparison]:
    """(the share of sleeps that stalls make late, the mean lateness), each run's lateness in ns, of sleeps that end at
    random instants.

    Put in what a sleep is late under the quota less what it is late without: the model knows of nothing else.
    """
    count = [float(run.size) for run in runs]
    late = [float((run > HIT_LATE_NS).sum()) for run in runs]
    total = [float(run.sum()) for run in runs]
    # Of stalls of unequal length a smaller part is below the threshold, and at the least none is.
    share, most = prediction.late_probability(HIT_LATE_NS), prediction.late_probability(0)
    least = 0.0 if prediction.may_escape else share
    mean_ns = prediction.late_mean_ns
    hits, mean = "share of sleeps late by more than " + format_ns(HIT_LATE_NS), "mean lateness"
    if not runs or min(count) == 0:
        why = "no sleep was measured"
        return _untold(hits, share, len(runs), why), _untold(mean, mean_ns, len(runs), why)
    shares, means = ratio_distribution(late, count, seed), ratio_distribution(total, count, seed)
    return (
        _judge(hits, share, (least, most), sum(late) / sum(count), shares, len(runs)),
        _judge(mean, mean_ns, prediction.late_mean_range_ns, sum(total) / sum(count), means, len(runs)),
    )


def _judge(
    name: str, predicted: float, bounds: tuple[float, float], value: float, measured: Numbers | None, runs: int
) -> Comparison:
    between = interval(measured)
    if between is None:
        told = f"{name}: of one run no interval is known"
        return Comparison(name, predicted, bounds, value, None, runs, "not settled", told)
    meet = between[0] <= bounds[1] and bounds[0] <= between[1]
    outcome: Outcome = "agrees" if meet else "differs"
    why = "" if meet else f"; {_TOO_LITTLE if value < predicted else _TOO_MUCH}"
    shown = f"predicted {_show(name, predicted)}"
    if bounds[0] != bounds[1]:
        shown += f" (within {_show(name, bounds[0])} … {_show(name, bounds[1])})"
    shown += f", measured {_show(name, value)} ({_show(name, between[0])} … {_show(name, between[1])}){why}"
    return Comparison(name, predicted, bounds, value, between, runs, outcome, f"{name} {outcome}: {shown}")


def _untold(name: str, predicted: float, runs: int, why: str) -> Comparison:
    bounds = (predicted, predicted)
    return Comparison(name, predicted, bounds, None, None, runs, "not settled", f"{name}: {why}")


def _show(name: str, value: float) -> str:
    return f"{value:.1%}" if name.startswith("share") else format_ns(value)
