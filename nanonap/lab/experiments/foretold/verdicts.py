"""What was told over what was seen: lateness saved, CPU time."""

from collections.abc import Callable, Iterator

import polars as pl

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.kit.base import Outcome, Verdict
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, cell, outcome_of, ratio_of
from nanonap.lab.show.tables import NONE, Section, Table

STOCK = "stock"
SAVED_WITHIN, CPU_WITHIN = 0.2, 0.3
#: Less is saved, or saved to within a few microseconds: there is nothing to foretell.
LEAST_SAVED_NS = 100_000
Value = Callable[[pl.DataFrame, str, str, bool], list[float]]


def lateness(data: pl.DataFrame) -> Verdict:
    """F1: by how much sooner the median sleep ends."""
    says = f"advise foretells how much sooner the median sleep ends, within {SAVED_WITHIN:.0%}"
    return _verdict("F1", says, data, saved, SAVED_WITHIN)


def cost(data: pl.DataFrame) -> Verdict:
    """F2: what CPU time the patched program takes."""
    says = f"advise foretells the CPU time of the patched program, within {CPU_WITHIN:.0%}"
    return _verdict("F2", says, data, cpu, CPU_WITHIN)


def _verdict(claim: str, says: str, data: pl.DataFrame, value: Value, margin: float) -> Verdict:
    found = {
        f"{work}, {arm}": ratio
        for work, arm in pairs(data)
        if (ratio := told_over_seen(data, work, arm, value)) is not None
    }
    parts = {name: ratio.within(1 - margin, 1 + margin) for name, ratio in found.items()}
    outcome: Outcome = outcome_of(parts.values())
    words = [f"told over seen, {sum(each is True for each in parts.values())} of {len(parts)} within"]
    for holds, word in ((False, "not within"), (None, "not settled")):
        named = [f"{name} {found[name]}" for name, each in parts.items() if each is holds]
        words += [f"{word}: {', '.join(named)}"] if named else []
    words += [TOO_FEW] if None in parts.values() else []
    figures = {name: ratio.to_json() for name, ratio in found.items()}
    return Verdict(claim, says, outcome, "; ".join(words), figures)


def pairs(data: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """(work, arm) of every arm but stock, in the order of the runs' names."""
    for work in data["work"].unique(maintain_order=True).sort().to_list():
        for arm in sorted(set(data.filter(pl.col("work") == work)["arm"]) - {STOCK}):
            yield work, arm


def told_over_seen(data: pl.DataFrame, work: str, arm: str, value: Value) -> Ratio | None:
    """What advise said over what was then seen, by blocks; None where nothing worth telling was saved."""
    told, seen = (value(data, work, arm, each) for each in (True, False))
    if not told or len(told) != len(seen) or (value is saved and sum(seen) < LEAST_SAVED_NS * len(seen)):
        return None
    return ratio_of(told, seen)


def saved(data: pl.DataFrame, work: str, arm: str, told: bool) -> list[float]:
    """Of each block, stock's median lateness less the arm's, ns."""
    stock, own = (_column(data, "late_p50_ns", work, each, told) for each in (STOCK, arm))
    return [before - after for before, after in zip(stock, own, strict=False)]


def cpu(data: pl.DataFrame, work: str, arm: str, told: bool) -> list[float]:
    """Of each block, in parts of a core."""
    return _column(data, "cpu", work, arm, told)


def _column(data: pl.DataFrame, column: str, work: str, arm: str, told: bool) -> list[float]:
    chosen = data.filter(pl.col("work") == work, pl.col("arm") == arm, pl.col("told") == told)
    return chosen.sort("block")[column].to_list()


def table(data: pl.DataFrame) -> Table:
    """Of each work and arm: told and seen, and one over the other."""
    sections = []
    for work in data["work"].unique().sort().to_list():
        rows = []
        for _, arm in (each for each in pairs(data) if each[0] == work):
            row = [arm]
            for value, form in ((saved, format_ns), (cpu, "{:.2%}".format)):
                told, seen = (value(data, work, arm, each) for each in (True, False))
                row += [form(sum(each) / len(each)) if each else NONE for each in (told, seen)]
                row.append(cell(told_over_seen(data, work, arm, value)))
            rows.append(row)
        sections.append(Section(work, rows))
    blocks = data["block"].n_unique()
    notes = [
        f"{blocks} blocks; means over them. sooner: the median sleep, against stock. CPU: in parts of a core. "
        "told: by `advise` of stock; seen: of the patched program, run by itself."
    ]
    columns = ("arm", "sooner: told", "seen", "ratio", "CPU: told", "seen", "ratio")
    return Table("Foretold, and seen", columns, sections, notes)
