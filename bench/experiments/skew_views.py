"""What a person sees of ``skew``: the shares, the stages, what was counted; and the picture."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.arms import in_order
from bench.experiments.skew_recorder import BPFTRACE, TRACEFS
from bench.experiments.skew_rows import TIMERFD
from bench.experiments.skew_verdicts import (
    CLAIMED,
    CLASSES,
    EDGES,
    FROM_DEADLINE,
    FROM_EXPIRY,
    READINGS,
    delays,
    primary,
    share_text,
    shares,
)
from bench.look import DPI, FAINT, GRID, SMALL, duration_ticks
from bench.tables import NONE, Section, Table, asked
from nanonap.durations import format_ns

#: Stages in the kernel: their column, their name, their colour (Okabe and Ito's).
_STAGES = (
    ("expiry_ns", "deadline → expiry", "#D55E00"),
    ("wakeup_ns", "expiry → wake-up", "#56B4E9"),
    ("running_ns", "wake-up → running", "#0072B2"),
    ("exit_ns", "running → end of the call", "#009E73"),
)
_COLUMNS = {
    "late": "late_ns",
    "rounding": "rounding_ns",
    "expiry": "expiry_ns",
    "wake-up": "wakeup_ns",
    "switch": "running_ns",
    "exit": "exit_ns",
    "goroutine": "goroutine_ns",
    "slack": "slack_ns",
}
_BARS = ("#009E73", "#E69F00", "#D55E00")
_LEAST_NS, _MOST_NS = 100, 2_000_000


def arms_of(data: pl.DataFrame) -> list[str]:
    """Arms with sleeps, in the canonical order."""
    return sorted(set(data.filter(pl.col("part") == "sleep")["arm"]), key=in_order)


def tables(data: pl.DataFrame) -> list[Table]:
    """Shares by reading; medians by stage; counts."""
    return [_shares(data), _stages(data), _counts(data)]


def _shares(data: pl.DataFrame) -> Table:
    rows = {reading: [["claimed", *(f"{each:.0%}" for each in CLAIMED), NONE, NONE]] for reading in READINGS}
    for reading, own in rows.items():
        probes = [TIMERFD] if reading != list(READINGS)[-1] else []
        for arm in [*arms_of(data), *probes]:
            found, times = shares(data, arm, reading), delays(data, arm, reading)["ns"]
            if found is not None:
                median = format_ns(float(times.quantile(0.5) or 0))
                own.append([arm, *(share_text(each) for each in found), median, f"{times.len():,}"])
    notes = [
        "Share of the wake-ups whose delay is in the class, with its 95 % interval over runs; n: wake-ups in all.",
        "expiry: the expired timer's handler begins; deadline: what the kernel was asked for, without timer slack; "
        "asked: the moment at which the program wanted to be woken. running: the thread has a CPU.",
        f"{TIMERFD}: a Python program, one run, whole microseconds. Recorded by {primary(data)}.",
    ]
    sections = [Section(reading, own) for reading, own in rows.items()]
    return Table("How long wake-ups take", ("arm", *CLASSES, "p50", "n"), sections, notes)


def _stages(data: pl.DataFrame) -> Table:
    own = data.filter(pl.col("part") == "sleep", pl.col("method") == primary(data))
    sections = []
    for requested_ns in sorted(set(own["requested_ns"])):
        rows = []
        for arm in arms_of(data):
            found = own.filter(pl.col("arm") == arm, pl.col("requested_ns") == requested_ns)
            rows.append([arm, *(_p50(found[column]) for column in _COLUMNS.values())])
        sections.append(Section(f"asked for {asked(requested_ns)}", rows))
    notes = [
        "Medians, which need not add up. late: the whole, by the program's own clock. rounding: from the end of the "
        "sleep as asked for to the deadline that the kernel was given (negative: the wait is asked for shorter, and "
        "what is late anyway makes up for it). expiry: from there to the timer's handler. wake-up: until the thread is "
        "on a run queue. switch: until it has a CPU. exit: until its system call returns. goroutine: until the "
        "sleeping goroutine reads the clock, with what the recording itself does at the call's end.",
        "slack: how much later than its deadline the kernel may let the timer expire; it expires earlier where another "
        "timer's interrupt comes in between.",
    ]
    return Table("Stage by stage", ("arm", *_COLUMNS), sections, notes)


def _p50(values: pl.Series) -> str:
    known = values.drop_nulls()
    return format_ns(float(known.quantile(0.5) or 0)) if known.len() else NONE


def _counts(data: pl.DataFrame) -> Table:
    sleeps, recordings = data.filter(pl.col("part") == "sleep"), data.filter(pl.col("part") == "recording")
    rows = []
    for method in (BPFTRACE, TRACEFS):
        own, counted = (
            frame.filter(pl.col("method") == method, pl.col("arm").is_null() | (pl.col("arm") != TIMERFD))
            for frame in (sleeps, recordings)
        )
        if counted.height:
            times = delays(data, "stock", FROM_EXPIRY, method)["ns"]
            whole = own.filter(pl.col("running_ns").is_not_null()).height
            ended = own.filter(pl.col("expiry_ns").is_not_null()).height
            cells = [f"{own.height:,}", f"{ended:,}", f"{whole:,}"]
            cells += [_sum(counted, name) for name in ("otherwise", "timerfd", "stats", "lost")]
            rows.append([f"Go, by {method}", *cells, _p50(times)])
    probe = recordings.filter(pl.col("arm") == TIMERFD)
    if probe.height:
        waits = data.filter(pl.col("part") == TIMERFD)
        cells = [_sum(probe, "sleeps"), f"{waits.height:,}", f"{waits['running_ns'].drop_nulls().len():,}"]
        cells += [_sum(probe, name) for name in ("otherwise", "timerfd", "stats", "lost")]
        rows.append([TIMERFD, *cells, _p50(delays(data, TIMERFD, FROM_EXPIRY)["ns"])])
    lacks = data.filter(pl.col("part") == "lack")
    notes = [
        "by timer: sleeps that a timer's wake-up ended; whole: of those, seen until the thread ran (the others kept "
        "their CPU, or the kernel did not record the switch); otherwise: armed waits that something else ended; the "
        "next two: calls of timerfd_settime and events of sched_stat_sleep; lost: events without room.",
        "Neither way sees all: a script of bpftrace misses the events that interrupt it (such a wait counts as ended "
        "otherwise), and tracefs on some kernels what idle tasks do, but on the first CPU. They record one after the "
        "other. expiry → running: the median of stock's sleeps.",
        *(f"{what}: {missing}" for what, missing in lacks.select("what", "missing").iter_rows()),
    ]
    columns = ("", "sleeps", "by timer", "whole", "otherwise", "timerfd", "stat_sleep", "lost", FROM_EXPIRY)
    return Table("What was recorded", columns, [Section("", rows)], notes)


def _sum(data: pl.DataFrame, column: str) -> str:
    known = data[column].drop_nulls()
    return f"{int(known.sum()):,}" if known.len() else NONE


def picture(data: pl.DataFrame) -> Figure | None:
    """Distributions by arm above, shares as bars below."""
    arms = arms_of(data)
    if not arms:
        return None
    figure = Figure(figsize=(9.6, 8.6), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=[2.1, 1])
    above, below = (figure.add_subfigure(grid[row]) for row in (0, 1))
    panels = list(above.subplots(2, 3, sharex=True, sharey=True).flat)
    for axes, arm in zip(panels, arms, strict=False):
        _distributions(axes, data, arm)
    for axes in panels[len(arms) :]:
        axes.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    title = "share of wake-ups of which\na stage took at most …"
    panels[-1].legend(handles, labels, loc="center", fontsize=SMALL, frameon=False, title=title)
    above.suptitle(_headline(data), x=0.01, ha="left", fontsize=11, fontweight="bold")
    for axes, reading in zip(below.subplots(1, 2), (FROM_EXPIRY, FROM_DEADLINE), strict=True):
        _bars(axes, data, arms, reading)
    handles, labels = below.axes[0].get_legend_handles_labels()
    below.legend(handles, labels, loc="outside upper right", fontsize=SMALL, ncols=3, frameon=False)
    return figure


def _headline(data: pl.DataFrame) -> str:
    short, long = (_p50(delays(data, "stock", reading)["ns"]) for reading in (FROM_EXPIRY, FROM_DEADLINE))
    return f"Stock's timers: {short} from expiry until the thread runs, {long} from the deadline (medians)"


def _distributions(axes: Axes, data: pl.DataFrame, arm: str) -> None:
    own = data.filter(pl.col("part") == "sleep", pl.col("arm") == arm, pl.col("method") == primary(data))
    for column, name, colour in _STAGES:
        _steps(axes, own[column].drop_nulls(), colour, name, 1.3)
    _steps(axes, delays(data, arm, FROM_EXPIRY)["ns"], "#000000", FROM_EXPIRY, 2.2)
    for edge in EDGES:
        axes.axvline(edge, color=FAINT, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlim(_LEAST_NS, _MOST_NS)
    duration_ticks(axes, "x", (100, 1_000, 10_000, 50_000, 1_000_000))
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=8)
    axes.tick_params(labelbottom=True, labelleft=True)
    axes.set_title(arm, loc="left", fontsize=10)
    axes.grid(True, color=GRID)
    axes.spines[["top", "right"]].set_visible(False)


def _steps(axes: Axes, values: pl.Series, colour: str, label: str, width: float) -> None:
    ordered = np.sort(values.to_numpy())
    share = np.arange(1, ordered.size + 1) / max(ordered.size, 1)
    axes.step(np.maximum(ordered, _LEAST_NS), share, where="post", color=colour, linewidth=width, label=label)


def _bars(axes: Axes, data: pl.DataFrame, arms: Sequence[str], reading: str) -> None:
    rows: list[tuple[str, Sequence[float]]] = [("claimed", CLAIMED)]
    for arm in arms:
        found = shares(data, arm, reading)
        rows.append((arm, [share.value for share in found] if found else [0.0] * len(CLASSES)))
    left = np.zeros(len(rows))
    for place, (name, colour) in enumerate(zip(CLASSES, _BARS, strict=True)):
        widths = np.array([values[place] for _, values in rows])
        axes.barh(range(len(rows)), widths, left=left, color=colour, height=0.7, label=name)
        for row, (start, width) in enumerate(zip(left, widths, strict=True)):
            if width >= 0.08:
                axes.text(start + width / 2, row, f"{width:.0%}", ha="center", va="center", fontsize=8, color="white")
        left += widths
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=SMALL)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=8)
    axes.set_title(reading, loc="left", fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
