"""The model beside what a bench measured: a row per condition with a quota and busy neighbours."""

import zlib
from collections import defaultdict
from typing import Any

from bench.conditions import load_label, parse_load
from bench.model import predict
from bench.model_compare import Comparison, compare_stalls
from bench.quota.base import Throttling
from bench.quota.limits import parse_quota
from bench.quota.series import whole_periods
from bench.result import Result
from nanonap.errors import UsageError

#: Loads whose goroutines are always busy, and whether they are in the process, under its GOMAXPROCS.
_BUSY = {"burn": True, "gc": True, "sibling": False}


def beside_model(result: Result) -> list[dict[str, Any]]:
    """For summary.json: condition, predicted stall and hit probability, and the mean stall measured, with outcome.

    All arms of a condition are taken together: the neighbours use up the quota, whoever sleeps beside them. The floor
    is left out, since it holds a processor more.
    """
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for run in result.runs:
        if run["condition"]["quota"] != "none" and run.get("method") == "sleep":
            grouped[run["condition"]["quota"], load_label(run["condition"])].append(run)
    rows = (_row(result, key, runs) for key, runs in grouped.items())
    known = [row for row in rows if row is not None]
    return sorted(known, key=lambda row: (row["condition"]["quota"], load_label(row["condition"])))


def _row(result: Result, key: tuple[str, str], runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    condition = runs[0]["condition"]
    try:
        quota, load = parse_quota(condition["quota"]), parse_load(condition["load"])
    except UsageError:  # of a newer version, whose words this one does not know
        return None
    if load.kind not in _BUSY:
        return None
    cpus = runs[0]["host"].get("cpus_allowed") or runs[0]["host"].get("cpus_online") or 1
    within = condition.get("gomaxprocs") if _BUSY[load.kind] else None
    try:
        prediction = predict(quota, load.count, cpus, within)
    except UsageError:  # of a record that was altered
        return None
    whole = [whole_periods(result.series[run["run_id"]], cpus) for run in runs if run["run_id"] in result.series]
    sampled = len(whole) == len(runs) and None not in whole
    counted = [each for each in (whole if sampled else map(_throttling, runs)) if each is not None]
    compared = compare_stalls(prediction, counted, zlib.crc32(repr(key).encode()), whole_periods=sampled, sleepers=1)
    return {
        "condition": condition,
        "busy": prediction.busy,
        "stall_ns": prediction.stall_ns,
        "hit_probability": prediction.hit_probability,
        "late_mean_ns": prediction.late_mean_ns,
        **_measured(compared),
    }


def _measured(compared: Comparison) -> dict[str, Any]:
    return {
        "measured_stall_ns": compared.measured,
        "measured_stall_ci": compared.measured_interval,
        "predicted_stall_range_ns": list(compared.predicted_range),
        "runs": compared.runs,
        "outcome": compared.outcome,
        "sentence": compared.sentence,
    }


def _throttling(run: dict[str, Any]) -> Throttling | None:
    counters = run["counters"]
    periods, throttled, time_ns = (counters.get(name) for name in ("nr_periods", "nr_throttled", "throttled_ns"))
    if periods is None or throttled is None or time_ns is None:
        return None
    return Throttling(periods, throttled, time_ns, usage_ns=counters.get("group_usage_ns"))
