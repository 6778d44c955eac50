"""The model beside what a bench measured: a row per condition with a quota and busy neighbours."""

import zlib
from collections import defaultdict

from msgspec import Struct

from nanonap.base.errors import UsageError
from nanonap.lab.model.model import predict
from nanonap.lab.model.model_compare import compare_stalls
from nanonap.lab.plan.conditions import parse_load
from nanonap.lab.quota.above_limit import bites, merged
from nanonap.lab.quota.base import Throttling
from nanonap.lab.quota.limits import parse_quota
from nanonap.lab.quota.series import whole_periods
from nanonap.lab.stats.effects import Interval
from nanonap.lab.store.read import Result
from nanonap.lab.store.runs import RunCondition, RunLine

#: Loads whose goroutines are always busy, and whether they are in the process, under its GOMAXPROCS.
_BUSY = {"burn": True, "gc": True, "sibling": False}


class ModelRow(Struct, frozen=True, kw_only=True):
    """Of a condition: predicted stall and hit probability, and the mean stall measured, with outcome. Times in ns."""

    condition: RunCondition
    busy: int
    stall_ns: int
    hit_probability: float
    late_mean_ns: float
    measured_stall_ns: float | None
    measured_stall_ci: Interval
    predicted_stall_range_ns: tuple[float, float]
    runs: int
    outcome: str
    sentence: str


def beside_model(result: Result) -> list[ModelRow]:
    """For summary.json: a row per condition.

    All arms of a condition are taken together: the neighbours use up the quota, whoever sleeps beside them. The floor
    is left out, since it holds a processor more.
    """
    grouped: dict[tuple[str, str], list[RunLine]] = defaultdict(list)
    for run in result.runs:
        if run.condition.quota != "none" and run.method == "sleep":
            grouped[run.condition.key].append(run)
    rows = (_row(result, key, runs) for key, runs in grouped.items())
    return sorted((row for row in rows if row is not None), key=lambda row: row.condition.key)


def _row(result: Result, key: tuple[str, str], runs: list[RunLine]) -> ModelRow | None:
    condition = runs[0].condition
    try:
        quota, load = parse_quota(condition.quota), parse_load(condition.load)
    except UsageError:  # of a newer version, whose words this one does not know
        return None
    # Two limits at once are not modelled.
    if load.kind not in _BUSY or bites(merged([run.above for run in runs])):
        return None
    cpus = runs[0].host.cpus_allowed or runs[0].host.cpus_online or 1
    within = condition.gomaxprocs if _BUSY[load.kind] else None
    try:
        prediction = predict(quota, load.count, cpus, within)
    except UsageError:  # of a record that was altered
        return None
    whole = [whole_periods(result.series[run.run_id]) for run in runs if run.run_id in result.series]
    sampled = len(whole) == len(runs) and None not in whole
    counted = [each for each in (whole if sampled else map(_throttling, runs)) if each is not None]
    compared = compare_stalls(prediction, counted, zlib.crc32(repr(key).encode()), whole_periods=sampled, sleepers=1)
    return ModelRow(
        condition=condition,
        busy=prediction.busy,
        stall_ns=prediction.stall_ns,
        hit_probability=prediction.hit_probability,
        late_mean_ns=prediction.late_mean_ns,
        measured_stall_ns=compared.measured,
        measured_stall_ci=compared.measured_interval,
        predicted_stall_range_ns=compared.predicted_range,
        runs=compared.runs,
        outcome=compared.outcome,
        sentence=compared.sentence,
    )


def _throttling(run: RunLine) -> Throttling | None:
    counters = run.counters
    periods, throttled, time_ns = counters.nr_periods, counters.nr_throttled, counters.throttled_ns
    if periods is None or throttled is None or time_ns is None:
        return None
    return Throttling(periods, throttled, time_ns, usage_ns=counters.group_usage_ns)
