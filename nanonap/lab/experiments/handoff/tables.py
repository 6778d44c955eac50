"""The tables of ``handoff``: who runs next, what Ps and threads do while all sleep, who gets the quota."""

import numpy as np
import polars as pl

from nanonap.lab.experiments.handoff import runs
from nanonap.lab.experiments.handoff.verdicts import progress, share
from nanonap.lab.experiments.kit.ratios import cell
from nanonap.lab.show.tables import NONE as ABSENT
from nanonap.lab.show.tables import Section, Table, time_text
from nanonap.lab.stats.resampling import quantile


def tables(data: pl.DataFrame) -> list[Table]:
    """One of each part that there is."""
    made = [_hand(data), _idle(data), _share(data), _quiet(data)]
    return [each for each in made if any(section.rows for section in each.sections)]


def _hand(data: pl.DataFrame) -> Table:
    sections = []
    for quota in runs.QUOTAS:
        cells = []
        for method in runs.HANDED:
            own = data.filter(pl.col("part") == runs.HAND, pl.col("method") == method, pl.col("quota") == quota)
            if own.is_empty():
                continue
            gaps = [quantile(np.sort(own["gap_ns"].to_numpy()), q) for q in (0.5, 0.9, 1.0)]
            other = int((~own["same_thread"]).sum())
            speed = cell(progress(data, method)) if quota == runs.NONE else ABSENT
            counts = [_most(own, "not_in_go"), _most(own, "threads")]
            cells.append([method, f"{other} of {own.height}", *map(time_text, gaps), speed, *counts])
        if cells:
            sections.append(Section(f"quota {quota}", cells))
    notes = [
        "One P; one goroutine falls asleep, another wants to compute; locked: asleep while locked to its thread "
        "(runtime.LockOSThread). other thread: in how many of the sleeps the other first ran on a thread that is not "
        "the sleeper's. p50, p90, max: from just before the sleep until it ran.",
        "progress: its speed from the moment the other fell asleep on (four fifths of the sleep), over its speed with "
        "nobody asleep, 95 % interval; under the quota the kernel's stops would be all that it shows. calls: most "
        "goroutines that the runtime counted in a system call during a sleep. threads: most that the process had.",
    ]
    columns = ("asleep by", "other thread", "p50", "p90", "max", "progress", "calls", "threads")
    return Table("One P: who runs next when a goroutine falls asleep", columns, sections, notes)


def _idle(data: pl.DataFrame) -> Table:
    traced = data.filter(pl.col("part") == runs.IDLE)
    shapes = sorted(
        traced.select("quota", "gomaxprocs", "sleepers").unique().rows(), key=lambda row: (row[0] != runs.NONE, row)
    )
    sections = []
    for quota, ps, sleepers in shapes:
        of_shape = pl.col("quota") == quota, pl.col("gomaxprocs") == ps, pl.col("sleepers") == sleepers
        cells = [_idle_row(method, traced.filter(*of_shape, pl.col("method") == method)) for method in runs.METHODS]
        sections.append(Section(f"{sleepers} asleep, GOMAXPROCS {ps}, quota {quota}", [row for row in cells if row]))
    notes = [
        "Samples of the scheduler's own trace (GODEBUG=schedtrace) while all sleepers sleep and nothing else is to be "
        "done. idle Ps: range, and the share of the samples in which all are idle. ticks: system calls left, and Ps "
        "retaken from them (syscalltick of all Ps), most seen.",
        "sysmon prints the trace, after it has taken Ps from system calls: so the trace does not tell how long one is "
        "held there; the first table does. The trace keeps sysmon awake. Without it sysmon sleeps while every P is "
        "idle, and a goroutine that enters a system call wakes it.",
    ]
    columns = ("asleep by", "samples", "idle Ps", "all idle", "threads", "of them idle", "ticks")
    return Table("Nothing but sleepers: Ps and threads", columns, sections, notes)


def _idle_row(method: str, own: pl.DataFrame) -> list[str]:
    if own.is_empty():
        return []
    all_idle = own.filter(pl.col("idle_ps") == pl.col("gomaxprocs")).height
    return [
        method,
        str(own.height),
        _range(own, "idle_ps"),
        f"{all_idle / own.height:.0%}",
        _range(own, "threads"),
        _range(own, "idle_threads"),
        _most(own, "syscall_ticks"),
    ]


def _share(data: pl.DataFrame) -> Table:
    sections = []
    for quota in runs.QUOTAS:
        cells = []
        for beside in (runs.COMPUTE, runs.PARK, *runs.METHODS):
            own = data.filter(pl.col("part") == runs.SHARE, pl.col("method") == beside, pl.col("quota") == quota)
            if own.is_empty():
                continue
            cpu = float(own["cpu_ns"].sum()) / float(own["window_ns"].sum())
            ratios = ["1", "1"]
            if beside != runs.COMPUTE:
                ratios = [cell(share(data, beside, quota, column)) for column in ("own", "group")]
            cells.append([beside, str(own.height), *ratios, f"{cpu:.2f}", _periods(own)])
        sections.append(Section(f"quota {quota}", cells))
    notes = [
        "Two Ps; one goroutine computes, another does what the first column says. gets: how far the first comes, over "
        "how far beside a computing one. both: the two together. CPUs: CPU time of the process over the time. "
        "throttled: periods in which the kernel stopped the group, of those it counted."
    ]
    columns = ("beside one", "runs", "gets", "both", "CPUs", "throttled")
    return Table("Two Ps: who gets what a sleeper leaves", columns, sections, notes)


def _quiet(data: pl.DataFrame) -> Table:
    cells = []
    for method in runs.METHODS:
        own = data.filter(pl.col("part") == runs.QUIET, pl.col("method") == method)
        if own.is_empty():
            continue
        used = float(own["cpu_ns"].sum()) / float(own["window_ns"].sum())
        usage = own["usage_ns"].drop_nulls()
        whole = time_text(float(usage.sum()) / usage.len()) if usage.len() else ABSENT
        throttled = own["throttled_ns"].drop_nulls()
        stopped = time_text(float(throttled.sum())) if throttled.len() else ABSENT
        cells.append([method, str(own.height), f"{used:.3%}", whole, _periods(own), stopped])
    notes = [
        "used asleep: CPU time over time while it slept. whole run: CPU time of the group, the process's start "
        "included (mean). throttled: periods with a stop, of those counted, and the time stopped, all runs together."
    ]
    columns = ("asleep by", "runs", "used asleep", "whole run", "throttled", "time stopped")
    return Table(f"A process that only sleeps, quota {runs.LIMITED}", columns, [Section("", cells)], notes)


def _periods(own: pl.DataFrame) -> str:
    counted = own.filter(pl.col("nr_periods").is_not_null())
    if not counted["nr_periods"].sum():
        return ABSENT
    return f"{counted['nr_throttled'].sum()} of {counted['nr_periods'].sum()}"


def _most(own: pl.DataFrame, column: str) -> str:
    known = own[column].drop_nulls().to_list()
    return str(max(known)) if known else ABSENT


def _range(own: pl.DataFrame, column: str) -> str:
    known = own[column].drop_nulls().to_list()
    if not known:
        return ABSENT
    low, high = min(known), max(known)
    return str(low) if low == high else f"{low} … {high}"
