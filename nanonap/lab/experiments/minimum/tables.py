"""The tables of the experiment ``minimum``."""

import polars as pl

from nanonap.base.durations import asked
from nanonap.lab.experiments.kit.ratios import cell
from nanonap.lab.experiments.minimum import samples
from nanonap.lab.experiments.minimum.verdicts import ASKED_NS, CLAIMED_LEAST_NS
from nanonap.lab.show.tables import NONE, Section, Table, time_text

#: Ascending. Below the first no idle program can wait; the second is claimed.
_LIMITS = (samples.MILLISECOND_NS, CLAIMED_LEAST_NS)


def claimed_table(data: pl.DataFrame) -> Table:
    """The claimed sleep, with intervals."""
    rows = []
    for arm in samples.arms_there(data):
        found = samples.sleeps(samples.chosen(data, samples.STEADY, arm, ASKED_NS))
        if found is None:
            continue
        too_short, count = samples.early(data, [arm])
        figures = [time_text(found.least.value_ns), *map(str, (found.p50, found.p99, found.sigma))]
        rows.append([arm, *figures, f"{too_short:,} of {count:,}"])
    columns = ("arm", "min", "p50 [95 %]", "p99 [95 %]", "σ [95 %]", "too short")
    notes = [
        "Without +slack1 the timer slack is the machine's own (50 µs by default), with it 1 ns. floor: the raw system "
        "call clock_nanosleep. Intervals are over runs. too short: sleeps that ended before the time asked for, of all "
        "durations, in all states.",
    ]
    return Table(f"Asked for {asked(ASKED_NS)}, one sleep after the other", columns, [Section("", rows)], notes)


def duration_table(data: pl.DataFrame) -> Table:
    """Every duration, without intervals."""
    durations = samples.requested(data, samples.STEADY)
    sections = []
    for arm in samples.arms_there(data):
        found = [samples.sleeps(samples.chosen(data, samples.STEADY, arm, each)) for each in durations]
        if not any(found):
            continue
        kinds = {"min": "least", "p50": "p50", "p99": "p99", "σ": "sigma"}
        rows = [
            [label, *(NONE if each is None else time_text(getattr(each, name).value_ns) for each in found)]
            for label, name in kinds.items()
        ]
        sections.append(Section(arm, rows))
    return Table("One sleep after the other: a column per time asked for", ["", *map(asked, durations)], sections)


def short_table(data: pl.DataFrame) -> Table:
    """Stock's short sleeps."""
    sections = []
    for state in samples.states_there(data):
        rows = []
        limits = [samples.shares_below(data, state, limit_ns) for limit_ns in _LIMITS]
        for each in limits[-1]:
            runs = samples.by_run(samples.chosen(data, state, samples.STOCK, each))
            count, least = sum(run.size for run in runs), min(int(run[0]) for run in runs)
            rows.append(
                [asked(each), f"{count:,}", time_text(least), *(cell(shares.get(each), ".1%") for shares in limits)]
            )
        if rows:
            sections.append(Section(state, rows))
    columns = ("asked for", "sleeps", "min", *(f"below {asked(limit_ns)} [95 %]" for limit_ns in _LIMITS))
    notes = [
        "The state is what the process does before and beside the sleep. A thread of the runtime that looks for work "
        "runs the timers that are due: short sleeps happen where one looks. That is why a minimum says little."
    ]
    return Table("How many of stock's sleeps are short", columns, sections, notes)
