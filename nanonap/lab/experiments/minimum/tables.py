"""The tables of the experiment ``minimum``."""

import polars as pl

from bench.experiments.minimum_samples import (
    MILLISECOND_NS,
    STEADY,
    STOCK,
    Estimate,
    arms_there,
    by_run,
    chosen,
    early,
    requested,
    share_text,
    shares_below,
    sleeps,
    states_there,
)
from bench.experiments.minimum_verdicts import ASKED_NS, CLAIMED_LEAST_NS
from bench.tables import NONE, Section, Table, asked, time_text, time_with

#: Ascending. Below the first no idle program can wait; the second is claimed.
_LIMITS = (MILLISECOND_NS, CLAIMED_LEAST_NS)


def tables(data: pl.DataFrame) -> list[Table]:
    """The claimed sleep with intervals; every duration without; stock's short sleeps."""
    return [_claimed(data), _every_duration(data), _short(data)]


def _claimed(data: pl.DataFrame) -> Table:
    rows = []
    for arm in arms_there(data):
        found = sleeps(chosen(data, STEADY, arm, ASKED_NS))
        if found is None:
            continue
        too_short, count = early(data, [arm])
        figures = [time_text(found.least.value_ns), *(_text(each) for each in (found.p50, found.p99, found.sigma))]
        rows.append([arm, *figures, f"{too_short:,} of {count:,}"])
    columns = ("arm", "min", "p50 [95 %]", "p99 [95 %]", "σ [95 %]", "too short")
    notes = [
        "Without +slack1 the timer slack is the machine's own (50 µs by default), with it 1 ns. floor: the raw system "
        "call clock_nanosleep. Intervals are over runs. too short: sleeps that ended before the time asked for, of all "
        "durations, in all states.",
    ]
    return Table(f"Asked for {asked(ASKED_NS)}, one sleep after the other", columns, [Section("", rows)], notes)


def _text(figure: Estimate) -> str:
    return time_with(figure.value_ns, figure.interval_ns)


def _every_duration(data: pl.DataFrame) -> Table:
    durations = requested(data, STEADY)
    sections = []
    for arm in arms_there(data):
        found = [sleeps(chosen(data, STEADY, arm, each)) for each in durations]
        if not any(found):
            continue
        kinds = {"min": "least", "p50": "p50", "p99": "p99", "σ": "sigma"}
        rows = [
            [label, *(NONE if each is None else time_text(getattr(each, name).value_ns) for each in found)]
            for label, name in kinds.items()
        ]
        sections.append(Section(arm, rows))
    return Table("One sleep after the other: a column per time asked for", ["", *map(asked, durations)], sections)


def _short(data: pl.DataFrame) -> Table:
    sections = []
    for state in states_there(data):
        rows = []
        limits = [shares_below(data, state, limit_ns) for limit_ns in _LIMITS]
        for each in limits[-1]:
            runs = by_run(chosen(data, state, STOCK, each))
            count, least = sum(run.size for run in runs), min(int(run[0]) for run in runs)
            rows.append(
                [asked(each), f"{count:,}", time_text(least), *(share_text(shares.get(each)) for shares in limits)]
            )
        if rows:
            sections.append(Section(state, rows))
    columns = ("asked for", "sleeps", "min", *(f"below {asked(limit_ns)} [95 %]" for limit_ns in _LIMITS))
    notes = [
        "The state is what the process does before and beside the sleep. A thread of the runtime that looks for work "
        "runs the timers that are due: short sleeps happen where one looks. That is why a minimum says little."
    ]
    return Table("How many of stock's sleeps are short", columns, sections, notes)
