"""From a result's raw data to its summary: cells, costs, verdicts, warnings. The same data give the same summary."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from msgspec import Struct, field

from nanonap.lab.ground.hosts import Host
from nanonap.lab.judge.beside_model import ModelRow, beside_model
from nanonap.lab.judge.verdicts import Verdict, all_verdicts, within
from nanonap.lab.judge.warnings import warnings
from nanonap.lab.plan.arms import floor_of
from nanonap.lab.quota import above_limit
from nanonap.lab.quota.above import QuotaAbove
from nanonap.lab.run.explain import PartsRow, parts_summary
from nanonap.lab.stats.cells import Cell, Cells, make_cells, make_costs
from nanonap.lab.stats.clusters import Cluster
from nanonap.lab.stats.control import Control, control_summary
from nanonap.lab.stats.costs import CostRow, Costs, IdleRow, cost_rows, cpu_ns_per_sleep, idle_rows
from nanonap.lab.stats.effects import Interval, difference_of, rank_test, ratio_of
from nanonap.lab.stats.resampling import CONFIDENCE, RESAMPLES, interval, quantile
from nanonap.lab.store.read import Result
from nanonap.lab.store.runs import Bench, Counters, RunCondition

SCHEMA = 1


class CellRow(Struct, frozen=True, kw_only=True):
    """An arm under a condition, asked for one duration: ``runs`` runs, ``n`` sleeps. Times in ns, ratios plain.

    ``*_ci`` are intervals of 95 %, None from fewer than two runs; None also where what a figure is over is missing.
    """

    arm: str
    condition: RunCondition
    requested_ns: int
    pacing: str
    measure: str
    runs: int
    n: int
    min_ns: int
    min_ci: Interval
    p50_ns: int
    p50_ci: Interval
    p90_ns: int
    p90_ci: Interval
    p90_minus_p50_ns: int
    p90_minus_p50_ci: Interval
    p99_ns: int
    p99_ci: Interval
    max_ns: int
    stdev_ns: float | None
    stdev_ci: Interval
    clusters: list[Cluster] = field(name="modes")
    overshoot_p50_ns: int
    p50_over_stock: float | None
    p50_over_stock_ci: Interval
    p50_over_floor: float | None
    p50_over_floor_ci: Interval
    p50_minus_floor_ns: int | None
    p50_minus_floor_ci: Interval
    mann_whitney_p: float | None
    effect_size: float | None
    run_spread: float
    throttled_share: float | None
    above_throttled_share: float | None
    cpu_ns_per_sleep: float | None


class Summary(Struct, frozen=True, kw_only=True):
    """summary.json. ``binaries``: arm → SHA-256."""

    schema: int = SCHEMA
    partial: bool
    above: above_limit.JudgedAbove | None
    verdicts: list[Verdict]
    warnings: list[str]
    cells: list[CellRow]
    costs: list[CostRow]
    idle: list[IdleRow]
    control: Control | None
    model: list[ModelRow]
    attribution: list[PartsRow]
    host: Host
    go_version: str
    binaries: dict[str, str]
    intervals: dict[str, str | float]
    bench: Bench


@dataclass(frozen=True)
class Analysis:
    """A result's cells, costs, and the summary of them."""

    cells: Cells
    costs: Costs
    summary: Summary
    explained: tuple[pl.DataFrame, pl.DataFrame] | None = None


def analyse(result: Result) -> Analysis:
    """Everything that is computed from a result."""
    cells, costs = make_cells(result), make_costs(result)
    return Analysis(cells, costs, _summary(result, cells, costs), result.explained)


def _summary(result: Result, cells: Cells, costs: Costs) -> Summary:
    above = above_limit.merged([run.above for run in result.runs])
    return Summary(
        partial=result.partial,
        above=above_limit.judged(above),
        verdicts=within(all_verdicts(cells, costs), above),
        warnings=warnings(result, cells),
        cells=[_cell(cell, cells, costs) for cell in cells.values()],
        costs=cost_rows(result, cells, costs),
        idle=idle_rows(cells, costs),
        control=control_summary(result),
        model=beside_model(result),
        attribution=parts_summary(result.explained[0]) if result.explained else [],
        host=result.runs[0].host,
        go_version=result.go_version,
        binaries={run.arm: run.binary_sha256 for run in result.runs},
        intervals={"confidence": CONFIDENCE, "resamples": RESAMPLES, "unit": "run", "method": "percentile"},
        bench=result.about,
    )


#: Loads whose CPU time is the sleepers' own.
_NO_WORK = ("quiet", "sleepers", "aligned", "sibling")


def _cell(cell: Cell, cells: Cells, costs: Costs) -> CellRow:
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
    return CellRow(
        arm=key.arm,
        condition=cell.condition,
        requested_ns=key.requested_ns,
        pacing=key.pacing,
        measure="lateness" if key.pacing == "absolute" else "overshoot",
        runs=len(cell.by_run),
        n=int(ordered.size),
        min_ns=int(ordered[0]),
        min_ci=interval(drawn.least) if drawn else None,
        p50_ns=cell.p50_ns,
        p50_ci=interval(cell.p50_distribution),
        p90_ns=p90_ns,
        p90_ci=interval(cell.distribution(0.9)),
        p90_minus_p50_ns=p90_ns - cell.p50_ns,
        p90_minus_p50_ci=interval(cell.tail_distribution),
        p99_ns=quantile(ordered, 0.99),
        p99_ci=interval(cell.distribution(0.99)),
        max_ns=int(ordered[-1]),
        stdev_ns=float(np.std(ordered, ddof=1)) if ordered.size > 1 else None,
        stdev_ci=interval(drawn.stdev) if drawn else None,
        clusters=cell.clusters,
        overshoot_p50_ns=cell.p50_ns - key.requested_ns,
        p50_over_stock=over_stock,
        p50_over_stock_ci=None if itself else over_stock_ci,
        p50_over_floor=over_floor,
        p50_over_floor_ci=None if its_floor else over_floor_ci,
        p50_minus_floor_ns=minus_floor,
        p50_minus_floor_ci=None if its_floor else minus_floor_ci,
        mann_whitney_p=p_value,
        effect_size=effect,
        run_spread=cell.spread,
        throttled_share=_throttled([run.counters for run in cell.runs]),
        above_throttled_share=_throttled([above_limit.limit_of(run.above) for run in cell.runs]),
        cpu_ns_per_sleep=cpu_ns_per_sleep(costs.get((key.arm, key.quota, key.load)))
        if key.load.partition(":")[0] in _NO_WORK
        else None,
    )


def _throttled(counters: Sequence[Counters | QuotaAbove | None]) -> float | None:
    """The share of quota periods in which the kernel stopped a group, from each run's counters; None without a quota
    or where it is unknown.
    """
    counts = [(each.nr_throttled, each.nr_periods) if each else (None, None) for each in counters]
    if any(None in pair for pair in counts):
        return None
    throttled, periods = (sum(column) for column in zip(*counts, strict=True))
    return throttled / periods if periods else 0.0
