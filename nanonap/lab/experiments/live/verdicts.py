"""What the runs say: medians that are the same, or not, and pauses beside their goals."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nanonap.base.durations import asked, format_ns
from nanonap.lab.experiments.kit.base import Outcome, Verdict
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, cell, outcome_of
from nanonap.lab.judge.agreement import ENOUGH_RUNS
from nanonap.lab.judge.verdicts.rivals import EQUIVALENCE_CONFIDENCE, EQUIVALENT_WITHIN
from nanonap.lab.plan.arms import PRECISE
from nanonap.lab.show.tables import NONE, Section, Table
from nanonap.lab.stats.resampling import interval, quantile, resample

STOCK, LIVE, EJECTED, STANDING = "stock", "live+slack1", "ejected", "standing"
SAME = ((LIVE, PRECISE), (EJECTED, STOCK))
THREADS = (20, 1_000)
_MS = 1_000_000
#: (threads, quantile, ns): what is wanted at most.
GOALS = ((20, 0.5, 1 * _MS), (20, 0.99, 10 * _MS), (1_000, 0.99, 60 * _MS))
Runs = list[NDArray[np.int64]]
Figures = dict[str, Any]


def injected(data: pl.DataFrame) -> Verdict:
    """L1: as long as with the patched file."""
    return _same(data, "L1", f"{LIVE} sleeps as long as the patched file", *SAME[0])


def ejected(data: pl.DataFrame) -> Verdict:
    """L2: as long as stock."""
    return _same(data, "L2", "a process that was injected and ejected sleeps as long as stock", *SAME[1])


def pauses(data: pl.DataFrame) -> Verdict:
    """L3: each goal by the whole 95 % interval over processes."""
    says = "a process stands still for no longer than is wanted"
    parts: list[bool | None] = []
    told: list[str] = []
    figures: Figures = {}
    for threads, q, most_ns in GOALS:
        pause = pause_of(data, threads, q)
        if pause is None:
            continue
        parts.append(pause.within(0, most_ns))
        answer = {True: "yes", False: "no", None: "not settled"}[parts[-1]]
        told.append(f"p{100 * q:g} with {threads:,} threads {_time(pause)}, at most {format_ns(most_ns)}: {answer}")
        figures[f"p{100 * q:g}_{threads}_threads_ns"] = pause.to_json() | {"most_ns": most_ns}
    return _verdict("L3", says, parts, told, figures)


def _same(data: pl.DataFrame, claim: str, says: str, arm: str, base: str) -> Verdict:
    """Two one-sided tests at 5 %, as the interval of 90 % within the margins (Schuirmann 1987)."""
    found = {each: ratio for each in durations(data) if (ratio := ratio_of(data, arm, base, each)) is not None}
    parts = [each.within(1 - EQUIVALENT_WITHIN, 1 + EQUIVALENT_WITHIN) for each in found.values()]
    told = [f"{each} at {asked(requested_ns)}" for requested_ns, each in found.items()]
    figures: Figures = {f"{requested_ns}_ns": each.to_json() for requested_ns, each in found.items()}
    margin = f"within {EQUIVALENT_WITHIN:.0%}, by 90 % intervals"
    return _verdict(claim, f"{says} ({margin})", parts, told, figures)


def _verdict(claim: str, says: str, parts: list[bool | None], told: list[str], figures: Figures) -> Verdict:
    outcome: Outcome = outcome_of(parts)
    return Verdict(claim, says, outcome, "; ".join([*told, TOO_FEW] if None in parts else told), figures)


def durations(data: pl.DataFrame) -> list[int]:
    """What was asked for, ascending."""
    return sorted(data["requested_ns"].drop_nulls().unique().to_list())


def runs_of(data: pl.DataFrame, arm: str, requested_ns: int) -> Runs:
    """Each run's sleeps of a duration, ns, ascending."""
    own = data.filter(pl.col("what") == arm, pl.col("requested_ns") == requested_ns)
    return [np.asarray(each, dtype=np.int64) for each in own.sort("block")["actual_ns"].to_list()]


def pauses_of(data: pl.DataFrame, about_threads: int) -> Runs:
    """Each process's pauses, ns, ascending."""
    own = data.filter(pl.col("what") == STANDING, pl.col("about_threads") == about_threads)
    return [np.sort(np.asarray(each, dtype=np.int64)) for each in own.sort("block")["pauses_ns"].to_list()]


def ratio_of(data: pl.DataFrame, arm: str, base: str, requested_ns: int) -> Ratio | None:
    """Median over median with the interval of 90 % over runs, which are drawn apart; none of it from too few runs."""
    runs = [runs_of(data, each, requested_ns) for each in (arm, base)]
    if not all(runs):
        return None
    own, other = (quantile(np.sort(np.concatenate(each)), 0.5) for each in runs)
    drawn = [_drawn(each, 0.5, seed) for seed, each in enumerate(runs)]
    distribution = None if drawn[0] is None or drawn[1] is None else drawn[0] / drawn[1]
    return Ratio(own / other, interval(distribution, EQUIVALENCE_CONFIDENCE))


def pause_of(data: pl.DataFrame, about_threads: int, q: float) -> Ratio | None:
    """A quantile of all pauses, ns, with the interval of 95 % over processes."""
    runs = pauses_of(data, about_threads)
    return Ratio(quantile(np.sort(np.concatenate(runs)), q), interval(_drawn(runs, q, 0))) if runs else None


def _drawn(runs: Runs, q: float, seed: int) -> NDArray[np.float64] | None:
    """A quantile's distribution over runs, drawn with replacement; None of too few."""
    found = resample(runs, (q,), seed) if len(runs) >= ENOUGH_RUNS else None
    return None if found is None else found.quantiles[q]


def _time(pause: Ratio | None) -> str:
    if pause is None:
        return NONE
    bounds = "" if pause.interval is None else f" [{format_ns(pause.interval[0])}, {format_ns(pause.interval[1])}]"
    return f"{format_ns(pause.value)}{bounds}"


def sleeps_table(data: pl.DataFrame) -> Table:
    """Of each duration the arms' medians, and those that are to be the same one over the other."""
    rows = []
    for each in durations(data):
        row = [asked(each)]
        for arm, base in SAME:
            medians = [_median(data, name, each) for name in (base, arm)]
            row += [*medians, cell(ratio_of(data, arm, base, each))]
        rows.append(row)
    runs = len(runs_of(data, STOCK, durations(data)[0]))
    columns = ("median of", *(text for arm, base in SAME for text in (base, arm, "ratio")))
    note = f"{runs} runs an arm, in turns. In brackets intervals of 90 %."
    return Table("Injected, and ejected", columns, [Section("", rows)], [note])


def _median(data: pl.DataFrame, arm: str, requested_ns: int) -> str:
    runs = runs_of(data, arm, requested_ns)
    return format_ns(quantile(np.sort(np.concatenate(runs)), 0.5)) if runs else NONE


def pauses_table(data: pl.DataFrame) -> Table:
    """How long a process stood still, by how many threads it had."""
    standing = data.filter(pl.col("what") == STANDING)
    rows = []
    for threads, own in ((each, standing.filter(pl.col("about_threads") == each)) for each in THREADS):
        pauses, had = (sorted(own[name].explode().drop_nulls().to_list()) for name in ("pauses_ns", "threads"))
        if pauses:
            between = f"{had[0]:,}" if had[0] == had[-1] else f"{had[0]:,} to {had[-1]:,}"
            found = (_time(pause_of(data, threads, q)) for q in (0.5, 0.99))
            again = own["tries"].sum() - len(pauses)
            rows.append([between, f"{len(pauses):,}", f"{again:,}", *found, format_ns(pauses[-1])])
    columns = ("threads", "changes", "tried again", "p50", "p99", "most")
    note = "Injected and ejected in turns, with 1 ns of timer slack. In brackets intervals of 95 % over processes."
    return Table("A process stands still", columns, [Section("", rows)], [note])
