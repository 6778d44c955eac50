"""Tables and the picture of ``clocks``."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.clocks.runs import SOURCES
from nanonap.lab.experiments.clocks.steps import Steps, grain_of, of
from nanonap.lab.experiments.clocks.verdicts import COST_NS, STEP_NS, apart, cost_ratio, main_clocksource, measured
from nanonap.lab.show.style import DPI, FAINT, SMALL, dress, duration_ticks
from nanonap.lab.show.tables import NONE, Section, Table

_NAMES = {"vdso": "vDSO", "syscall": "system call"}
_COLOURS = {"nanotime": "#0072B2", "time.Now": "#56B4E9", "vdso": "#009E73", "syscall": "#D55E00"}
_QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999))
_PER_DECADE = 24
_WHOLE = ("cpu_ns", "elapsed_ns")
#: Rarer steps than this are not drawn.
_FLOOR = 1e-6
#: Steps over costs that the title calls alike.
_ABOUT = (2 / 3, 3 / 2)


def step_table(data: pl.DataFrame) -> Table:
    """One row per source and series, all runs together."""
    sections = []
    for clocksource, runs in _by_clocksource(data):
        rows = [_step_row(name, found) for name, found in _each(runs, wall=True)]
        grain = grain_of(runs)
        counter = "not told" if grain is None else f"{grain} ns"
        sections.append(Section(f"{clocksource} (counter: {counter})", rows))
    resolution = ", ".join(map(str, data["resolution_ns"].drop_nulls().unique().sort().to_list()))
    notes = [
        "Differences of successive readings on one thread, all runs together. zero: the share of them that is 0; "
        "least: the smallest other. MAD: median absolute deviation from p50. back: steps backwards (of the wall clock "
        "no fault: it is set).",
        "counter: the common divisor of the steps, where readings show one, else the unit, 1 ns. Two readings are "
        f"apart by what one takes at least, give or take a step of it. clock_getres says {resolution} ns: how finely "
        "timers are set, not how the counter moves.",
        *_notes(data, "clocksource"),
        *_notes(data, "run"),
    ]
    columns = ("reading", "zero", "least", *(name for name, _ in _QUANTILES), "max", "p99−p50", "MAD", "back")
    return Table("Steps from one reading to the next", columns, sections, notes)


def _step_row(name: str, runs: pl.DataFrame) -> list[str]:
    steps = Steps(runs)
    if not steps.total:
        return [name, *[NONE] * (len(_QUANTILES) + 6)]
    least = runs["least_ns"].drop_nulls().to_list()
    quantiles = [steps.quantile(q) for _, q in _QUANTILES]
    return [
        name,
        f"{100 * steps.share(0, 0):.3g} %",
        format_ns(min(least)) if least else NONE,
        *(format_ns(each) for each in quantiles),
        format_ns(max(runs["most_ns"].drop_nulls().to_list())),
        format_ns(steps.quantile(0.99) - steps.quantile(0.5)),
        format_ns(steps.deviation_ns()),
        f"{int(runs['backward'].sum()):,}",
    ]


def cost_table(data: pl.DataFrame) -> Table:
    """One row per source."""
    sections = []
    for clocksource, runs in _by_clocksource(data):
        counts = data.filter(pl.col("kind") == "count", pl.col("clocksource") == clocksource)
        rows = []
        for name, found in _each(runs, wall=False):
            source = str(found["source"][0])
            ratio = cost_ratio(runs, source, "nanotime")
            turns, back = int(found["across_readings"].sum()), int(found["across_backward"].sum())
            count = counts.filter(pl.col("source") == source, pl.col("counted").is_not_null()).to_dicts()
            rows.append(
                [
                    name,
                    str(found.height),
                    format_ns(_cost(found)),
                    "1" if source == "nanotime" else str(ratio or NONE),
                    *(format_ns(float((found[each] / found["calls"]).to_numpy().mean())) for each in _WHOLE),
                    f"{count[0]['counted']:,} of {count[0]['calls']:,}" if count else NONE,
                    f"{back:,} of {turns:,}" if turns else NONE,
                ]
            )
        sections.append(Section(clocksource, rows))
    notes = [
        "cost: of a loop that keeps no reading, the median of its hundred parts, the mean over runs; × nanotime: of "
        "it, with the 95 % interval. CPU, elapsed: of the whole loop over its calls, disturbances included. time.Now "
        "reads two clocks, wall and monotonic.",
        "counted: clock_gettime(2) made by a process with so many readings, in its own run. back on 2 CPUs: readings "
        "taken by turns, after one of the other CPU, that were smaller than that.",
        *_notes(data, "count"),
    ]
    columns = ("reading", "runs", "cost", "× nanotime", "CPU", "elapsed", "counted", "back on 2 CPUs")
    return Table("What a reading costs", columns, sections, notes)


def _cost(runs: pl.DataFrame) -> float:
    return float(runs["typical_ns"].to_numpy().mean())


def _notes(data: pl.DataFrame, kind: str) -> list[str]:
    found = data.filter(pl.col("kind") == kind)["missing"].drop_nulls()
    return [str(each) for each in found.unique(maintain_order=True)]


def _by_clocksource(data: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    runs = measured(data)
    for name in runs["clocksource"].unique(maintain_order=True).sort(descending=True):
        yield str(name), runs.filter(pl.col("clocksource") == name)


def _each(runs: pl.DataFrame, *, wall: bool) -> Iterator[tuple[str, pl.DataFrame]]:
    """(name, runs) of each source, in their order; of time.Now the wall clock too, if wanted."""
    for source in SOURCES:
        for series in ("monotonic", "wall"):
            found = of(runs, {"source": source, "series": series})
            if found.height and (wall or series == "monotonic"):
                both = f", {series}" if source == "time.Now" and wall else ""
                yield f"{_NAMES.get(source, source)}{both}", found


def picture(data: pl.DataFrame) -> Figure | None:
    """One panel per clock source, one row per way to read: how often each step is, the least, and the cost."""
    panels = list(_by_clocksource(data))
    if not panels:
        return None
    figure = Figure(figsize=(9.6, 0.9 + 3.1 * len(panels)), dpi=DPI, layout="constrained")
    claimed = False
    for axes, (clocksource, runs) in zip(figure.subplots(len(panels), squeeze=False).flat, panels, strict=True):
        # The claim is about a machine's own clock.
        about = runs["mark"].null_count() == runs.height and clocksource == main_clocksource(measured(data))
        _panel(axes, clocksource, runs, about)
        claimed |= about
    axes.set_xlabel(
        "step from one reading to the next (height: share of the steps, on a logarithmic scale)", fontsize=SMALL
    )
    figure.suptitle(_headline(data), fontsize=12, fontweight="bold")
    handles = [
        Line2D([], [], marker="^", color="black", linestyle="none", label="smallest step"),
        Line2D([], [], marker="D", color="black", linestyle="none", label="cost of a reading"),
    ]
    if claimed:
        step = Line2D([], [], color=FAINT, marker="|", markersize=11, markeredgewidth=2, linestyle="none")
        step.set_label("claimed smallest step")
        handles += [step, Line2D([], [], color=FAINT, linewidth=3, label="claimed cost of the system call")]
    # Below the last panel and not of the whole figure: there the machine's line goes.
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.45, -0.2),
        ncols=len(handles),
        frameon=False,
        fontsize=SMALL,
    )
    return figure


def _headline(data: pl.DataFrame) -> str:
    found = [apart(each) for _, runs in _by_clocksource(data) for _, each in _each(runs, wall=False)]
    if _ABOUT[0] <= min(found) and max(found) <= _ABOUT[1]:
        return "Successive readings are about a reading's cost apart"
    return f"Successive readings are {min(found):.2g} to {max(found):.2g} times a reading's cost apart"


def _panel(axes: Axes, clocksource: str, runs: pl.DataFrame, claimed: bool) -> None:
    found = list(_each(runs, wall=False))
    for place, (_, each) in enumerate(found):
        source = str(each["source"][0])
        _row(axes, -place, each, _COLOURS[source])
        if claimed and source in STEP_NS:
            axes.plot([STEP_NS[source]], [0.09 - place], marker="|", markersize=11, markeredgewidth=2, color=FAINT)
        if claimed and source == "syscall":
            axes.plot(COST_NS, [-0.09 - place] * 2, color=FAINT, linewidth=3, solid_capstyle="butt", zorder=1)
    axes.set_yticks([-place for place in range(len(found))], [name for name, _ in found])
    axes.set_ylim(0.75 - len(found), 1.0)
    axes.set_xscale("log")
    axes.set_xlim(0.8, 5e6)
    duration_ticks(axes, "x", [10.0**power for power in range(7)])
    axes.set_title(_title(clocksource, runs), loc="left", fontsize=10)
    axes.set_axisbelow(True)
    dress(axes, "x", SMALL)


def _title(clocksource: str, runs: pl.DataFrame) -> str:
    grain, marks = grain_of(runs), runs["mark"].drop_nulls().unique().to_list()
    counter = f": its counter moves by {grain} ns" if grain is not None and grain > 1 else ""
    return f"clock source {clocksource}{counter}" + "".join(f" ({mark})" for mark in marks)


def _row(axes: Axes, base: float, runs: pl.DataFrame, colour: str) -> None:
    steps = Steps(runs)
    values, counts = steps.values_ns[steps.values_ns > 0], steps.counts[steps.values_ns > 0]
    if not counts.size:
        return
    edges = np.logspace(0, 7, 7 * _PER_DECADE + 1)
    shares = np.histogram(values, edges, weights=counts)[0] / steps.total
    heights = 0.85 * (1 - np.log10(np.maximum(shares, _FLOOR)) / np.log10(_FLOOR))
    axes.bar(edges[:-1], heights, np.diff(edges), bottom=base, align="edge", color=colour, alpha=0.45, linewidth=0)
    least, cost = min(runs["least_ns"].drop_nulls().to_list()), _cost(runs)
    axes.plot([least], [base + 0.09], marker="^", color=colour, markersize=7, markeredgecolor="white", clip_on=False)
    axes.plot([cost], [base - 0.09], marker="D", color=colour, markersize=6, markeredgecolor="white", clip_on=False)
    text = f"least {format_ns(least)}, cost {format_ns(cost)}"
    axes.annotate(
        text, (1, base + 0.4), xycoords=("axes fraction", "data"), ha="right", fontsize=SMALL, color="#333333"
    )
