"""Two results beside each other: of two kernels, machines, releases, or of one machine twice.

Times of two machines differ for many reasons; what carries from one to another is a ratio to stock, measured in the
same blocks. So the medians are shown, and the ratios are judged.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from nanonap.base.durations import asked
from nanonap.lab.ground.errors import NotComparable
from nanonap.lab.judge.agreement import ENOUGH_RUNS
from nanonap.lab.judge.differences import Difference, differences
from nanonap.lab.judge.verdicts import within
from nanonap.lab.judge.verdicts.judging import QUIET, Outcome, Verdict, not_measured, say
from nanonap.lab.quota.above_limit import label, merged, quota_above
from nanonap.lab.stats.cells import Cell, Cells, Key, make_cells
from nanonap.lab.stats.effects import Interval, ratio_of
from nanonap.lab.stats.resampling import interval
from nanonap.lab.store.read import Result, load
from nanonap.lab.store.runs import RunCondition

SCHEMA = 1
LEAST_OVERLAPPING = 0.95
MOST_DIFFERENCE = 0.10
_NAME, _QUESTION = "repeated", "Do the two results tell the same: the ratios to stock, quiet, without quota?"


@dataclass(frozen=True)
class Row:
    """A cell in both results; ``a`` and ``b`` as they were named. Times in ns; intervals of 95 %, None if not known.

    ``overlap``: whether the intervals of the ratios to stock do; ``difference``: by how much the larger ratio exceeds
    the smaller (0.1: by 10 %); both None for stock itself or without it. ``main``: quiet, without quota.
    """

    arm: str
    condition: RunCondition
    requested_ns: int
    main: bool
    p50_a_ns: int
    p50_a_ci: Interval
    p50_b_ns: int
    p50_b_ci: Interval
    b_over_a: float
    b_over_a_ci: Interval
    over_stock_a: float | None
    over_stock_a_ci: Interval
    over_stock_b: float | None
    over_stock_b_ci: Interval
    overlap: bool | None
    difference: float | None


@dataclass(frozen=True)
class Comparison:
    """Two results compared. ``differing``: what is not the same; ``warnings``: what to mind."""

    a: Result
    b: Result
    rows: list[Row]
    differing: list[Difference]
    warnings: list[str]
    verdict: Verdict

    def to_json(self) -> dict[str, object]:
        """One JSON document."""
        document = {
            "schema": SCHEMA,
            "a": _side(self.a),
            "b": _side(self.b),
            "differences": self.differing,
            "warnings": self.warnings,
            "cells": self.rows,
            "verdict": self.verdict,
        }
        return dict(msgspec.to_builtins(document))


def _side(result: Result) -> dict[str, object]:
    known = {"folder": str(result.folder), "go_version": result.go_version, "partial": result.partial}
    return {**known, "runs": len(result.runs), "host": result.runs[0].host, "bench": result.about}


def compare(first: Path, second: Path) -> Comparison:
    """Compare two result folders. Raises BadResult, and NotComparable for what cannot be compared."""
    if first.is_dir() and second.is_dir() and first.samefile(second):
        raise NotComparable(f"{first} and {second} are one folder; name two results")
    a, b = load(first), load(second)
    _refuse(a, b)
    cells_a, cells_b = make_cells(a), make_cells(b)
    common = [key for key in cells_a if key in cells_b]
    if not common:
        raise NotComparable(
            f"{first} and {second} have nothing in common: no arm was measured in both under one condition at one "
            f"duration ({_measured(cells_a)}; {_measured(cells_b)})"
        )
    rows = [_row(key, cells_a, cells_b) for key in common]
    [verdict] = within([_verdict(rows)], merged([run.above for run in a.runs]))
    return Comparison(a, b, rows, differences(a, b), _warnings(a, b, cells_a, cells_b), verdict)


def _refuse(a: Result, b: Result) -> None:
    marks = [bool(each.about.mark) for each in (a, b)]
    if marks[0] != marks[1]:
        emulated, other = (a, b) if marks[0] else (b, a)
        raise NotComparable(
            f"{emulated.folder} was measured in an emulated machine and {other.folder} was not: emulated times say "
            "nothing about real ones; compare it with another emulated result"
        )
    limits = [merged([run.above for run in each.runs]) for each in (a, b)]
    if quota_above(limits[0]) != quota_above(limits[1]):
        told = [f"{each.folder} {label(above) or 'outside of one'}" for each, above in zip((a, b), limits, strict=True)]
        raise NotComparable(
            f"measured were {' and '.join(told)}: what differs may be the limit; compare results of the same limit"
        )
    if a.samples.equals(b.samples):
        raise NotComparable(f"{b.folder} is a copy of {a.folder}: every sample is the same; name two results")


def _row(key: Key, cells_a: Cells, cells_b: Cells) -> Row:
    a, b = cells_a[key], cells_b[key]
    stock = key._replace(arm="stock")
    over_a, over_a_ci = _over_stock(a, cells_a.get(stock))
    over_b, over_b_ci = _over_stock(b, cells_b.get(stock))
    known = over_a_ci is not None and over_b_ci is not None
    return Row(
        arm=key.arm,
        condition=a.condition,
        requested_ns=key.requested_ns,
        main=key.condition == QUIET,
        p50_a_ns=a.p50_ns,
        p50_a_ci=interval(a.p50_distribution),
        p50_b_ns=b.p50_ns,
        p50_b_ci=interval(b.p50_distribution),
        b_over_a=b.p50_ns / max(a.p50_ns, 1),
        b_over_a_ci=_independent(a, b),
        over_stock_a=over_a,
        over_stock_a_ci=over_a_ci,
        over_stock_b=over_b,
        over_stock_b_ci=over_b_ci,
        overlap=_overlap(over_a_ci, over_b_ci) if known else None,
        difference=max(over_a, over_b) / min(over_a, over_b) - 1 if over_a and over_b else None,
    )


def _over_stock(cell: Cell, stock: Cell | None) -> tuple[float | None, Interval]:
    return (None, None) if stock is None or stock.key == cell.key else ratio_of(cell, stock)


def _independent(a: Cell, b: Cell) -> Interval:
    """The interval of b's median over a's. One key has one seed, and the draws of both would go together: b's are
    put into another order.
    """
    below, above = a.p50_distribution, b.p50_distribution
    if below is None or above is None:
        return None
    return interval(np.random.default_rng(a.key.seed).permutation(above) / np.maximum(below, 1))


def _overlap(one: Interval, other: Interval) -> bool:
    return one is not None and other is not None and one[0] <= other[1] and other[0] <= one[1]


def _verdict(rows: list[Row]) -> Verdict:
    """At least 95 % of the main table's ratios have overlapping intervals, and none differs by more than 10 %."""
    judged = [(row.difference, row) for row in rows if row.main and row.difference is not None]
    if not judged:
        what = "stock and another arm in both results, quiet, without quota"
        return not_measured(_NAME, _QUESTION, what, "yes")
    overlapping = sum(row.overlap is True for _, row in judged)
    unknown = sum(row.overlap is None for _, row in judged)
    most, row = max(judged, key=lambda pair: pair[0])
    outcome: Outcome = "yes"
    if most > MOST_DIFFERENCE or overlapping + unknown < LEAST_OVERLAPPING * len(judged):
        outcome = "no"
    elif overlapping < LEAST_OVERLAPPING * len(judged):
        outcome = "not settled"
    none = f" ({unknown} have none: a single run tells no interval)" if unknown else ""
    sentence = (
        f"{say(outcome)}: {overlapping} of {len(judged)} ratios have overlapping intervals{none}; largest difference "
        f"{most:.1%} ({row.arm} at {asked(row.requested_ns)}). Asked for: {LEAST_OVERLAPPING:.0%}, and none above "
        f"{MOST_DIFFERENCE:.0%}"
    )
    return Verdict(_NAME, _QUESTION, outcome, sentence, "yes")


def _warnings(a: Result, b: Result, cells_a: Cells, cells_b: Cells) -> list[str]:
    found = [f"{name} is partial: it was cut short" for name, each in (("A", a), ("B", b)) if each.partial]
    for name, cells, others in (("A", cells_a, cells_b), ("B", cells_b, cells_a)):
        few = [len(cell.by_run) for cell in cells.values() if len(cell.by_run) < ENOUGH_RUNS]
        if few:
            found.append(
                f"{name} has fewer than {ENOUGH_RUNS} runs in {len(few)} of {len(cells)} cells (least: {min(few)}): "
                "wide intervals overlap easily"
            )
        alone = [key for key in cells if key not in others]
        if alone:
            arms = ", ".join(dict.fromkeys(key.arm for key in alone))
            found.append(f"{len(alone)} of {len(cells)} cells are in {name} only, and are left out ({arms})")
    return found


def _measured(cells: Cells) -> str:
    arms = ", ".join(dict.fromkeys(key.arm for key in cells)) or "no arm"
    return f"{arms} at {', '.join(asked(each) for each in sorted({key.requested_ns for key in cells})) or 'nothing'}"
