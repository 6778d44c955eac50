"""From a result's raw data to its summary: cells, costs, verdicts, warnings. The same data give the same summary."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from bench.arms import floor_of
from bench.beside_model import beside_model
from bench.cells import Cell, Cells, make_cells, make_costs
from bench.control import control_summary
from bench.costs import Costs, cost_rows, cpu_ns_per_sleep, idle_rows
from bench.effects import difference_of, rank_test, ratio_of
from bench.explain import parts_summary
from bench.resampling import CONFIDENCE, RESAMPLES, interval, quantile
from bench.result import Result
from bench.stability import warnings
from bench.verdicts import all_verdicts

SCHEMA = 1


@dataclass(frozen=True)
class Analysis:
    """A result's cells, costs, and the summary of them."""

    cells: Cells
    costs: Costs
    summary: dict[str, Any]
    explained: tuple[pl.DataFrame, pl.DataFrame] | None = None


def analyse(result: Result) -> Analysis:
    """Everything that is computed from a result."""
    cells, costs = make_cells(result), make_costs(result)
    return Analysis(cells, costs, _summary(result, cells, costs), result.explained)


def _summary(result: Result, cells: Cells, costs: Costs) -> dict[str, Any]:
    """summary.json. Times in ns, ratios plain; ``*_ci`` are [low, high] of 95 %, None from fewer than two runs."""
    return {
        "schema": SCHEMA,
        "partial": result.partial,
        "verdicts": [verdict.as_dict() for verdict in all_verdicts(cells, costs)],
        "warnings": warnings(result, cells),
        "cells": [_cell(cell, cells, costs) for cell in cells.values()],
        "costs": cost_rows(result, cells, costs),
        "idle": idle_rows(cells, costs),
        "control": control_summary(result),
        "model": beside_model(result),
        "attribution": parts_summary(result.explained[0]) if result.explained else [],
        "host": result.runs[0]["host"],
        "go_version": result.go_version,
        "binaries": {run["arm"]: run["binary_sha256"] for run in result.runs},
        "intervals": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "unit": "run", "method": "percentile"},
        "bench": result.about,
    }


#: Loads whose CPU time is the sleepers' own.
_NO_WORK = ("quiet", "sleepers", "aligned", "sibling")


def _cell(cell: Cell, cells: Cells, costs: Costs) -> dict[str, Any]:
    key, ordered = cell.key, cell.ordered
    stock = cells.get(key._replace(arm="stock"))
    floor = cells.get(key._replace(arm=floor_of(key.arm)))
    over_stock, over_stock_ci = ratio_of(cell, stock) if stock is not None else (None, None)
    over_floor, over_floor_ci = ratio_of(cell, floor) if floor is not None else (None, None)
    minus_floor, minus_floor_ci = difference_of(cell, floor) if floor is not None else (None, None)
    p90_ns, drawn = quantile(ordered, 0.9), cell.resampled
    # A ratio to itself is 1 and has no uncertainty.
    itself, its_floor = stock is cell, floor is cell
    p_value, effect = rank_test(cell, stock) if stock is not None and not itself else (None, None)
    return {
        "arm": key.arm,
        "condition": cell.condition,
        "requested_ns": key.requested_ns,
        "pacing": key.pacing,
        "measure": "lateness" if key.pacing == "absolute" else "overshoot",
        "runs": len(cell.by_run),
        "n": int(ordered.size),
        "min_ns": int(ordered[0]),
        "min_ci": interval(drawn.least) if drawn else None,
        "p50_ns": cell.p50_ns,
        "p50_ci": interval(cell.p50_distribution),
        "p90_ns": p90_ns,
        "p90_ci": interval(cell.distribution(0.9)),
        "p90_minus_p50_ns": p90_ns - cell.p50_ns,
        "p90_minus_p50_ci": interval(cell.tail_distribution),
        "p99_ns": quantile(ordered, 0.99),
        "p99_ci": interval(cell.distribution(0.99)),
        "max_ns": int(ordered[-1]),
        "stdev_ns": float(np.std(ordered, ddof=1)) if ordered.size > 1 else None,
        "stdev_ci": interval(drawn.stdev) if drawn else None,
        "modes": [asdict(mode) for mode in cell.modes],
        "overshoot_p50_ns": cell.p50_ns - key.requested_ns,
        "p50_over_stock": over_stock,
        "p50_over_stock_ci": None if itself else over_stock_ci,
        "p50_over_floor": over_floor,
        "p50_over_floor_ci": None if its_floor else over_floor_ci,
        "p50_minus_floor_ns": minus_floor,
        "p50_minus_floor_ci": None if its_floor else minus_floor_ci,
        "mann_whitney_p": p_value,
        "effect_size": effect,
        "run_spread": cell.spread,
        "throttled_share": _throttled(cell.runs),
        "cpu_ns_per_sleep": cpu_ns_per_sleep(costs.get((key.arm, key.quota, key.load)))
        if key.load.partition(":")[0] in _NO_WORK
        else None,
    }


def _throttled(runs: list[dict[str, Any]]) -> float | None:
    """The share of quota periods in which the kernel stopped the group; None without a quota or where it is unknown."""
    counts = [(run["counters"].get("nr_throttled"), run["counters"].get("nr_periods")) for run in runs]
    if any(None in pair for pair in counts):
        return None
    throttled, periods = (sum(column) for column in zip(*counts, strict=True))
    return throttled / periods if periods else 0.0
