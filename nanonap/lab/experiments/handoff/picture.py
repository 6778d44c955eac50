"""The picture of ``handoff``: how long a P is held, which sleeps hold threads, and who gets the quota."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.handoff import runs
from nanonap.lab.experiments.handoff.verdicts import gap, share
from nanonap.lab.show.style import DPI, FAINT, SMALL, colour, dress, duration_ticks, headline

_COLOURS = {
    runs.SLEEP: colour("stock"),
    runs.LOCKED: colour("usleep"),
    runs.CALL: colour("nanosleep"),
    runs.DIRECT: colour("sleep"),
    runs.NETPOLL: colour("netpoll"),
}
_LABELS = {
    runs.SLEEP: "time.Sleep",
    runs.LOCKED: "time.Sleep,\nlocked to its thread",
    runs.CALL: "blocking\nsystem call",
    runs.DIRECT: "patched:\nsleep (blocks)",
    runs.NETPOLL: "patched:\nnetpoll",
}


def picture(data: pl.DataFrame) -> Figure | None:
    """Three panels: until the P runs another goroutine; threads of many sleepers; what neighbours get of a quota."""
    if data.filter(pl.col("part") == runs.HAND).is_empty():
        return None
    figure = Figure(figsize=(9.6, 7.2), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(5, 4))
    _gaps(figure.add_subplot(grid[0, :]), data)
    _threads(figure.add_subplot(grid[1, 0]), data)
    _shares(figure.add_subplot(grid[1, 1]), data)
    for axes in figure.axes:
        dress(axes, "x", SMALL)
    return figure


def _gaps(axes: Axes, data: pl.DataFrame) -> None:
    dice = np.random.default_rng(1)
    own = data.filter(pl.col("part") == runs.HAND, pl.col("quota") == runs.NONE)
    for place, method in enumerate(runs.HANDED):
        for same, marker in ((True, "o"), (False, "^")):
            gaps = own.filter(pl.col("method") == method, pl.col("same_thread") == same)["gap_ns"].to_numpy()
            height = place + dice.uniform(-0.2, 0.2, gaps.size)
            face = "none" if same else _COLOURS[method]
            axes.scatter(gaps, height, s=18, marker=marker, facecolors=face, edgecolors=_COLOURS[method], alpha=0.6)
        found = gap(data, method)
        if found is not None:
            middle = found[0]
            axes.plot([middle, middle], [place - 0.32, place + 0.32], color=_COLOURS[method], linewidth=2)
            axes.annotate(
                format_ns(middle), (middle, place - 0.34), ha="center", va="bottom", fontsize=SMALL, fontweight="bold"
            )
    axes.scatter(
        [], [], s=18, marker="o", facecolors="none", edgecolors="black", label="on the same thread: no handoff"
    )
    axes.scatter([], [], s=18, marker="^", color="black", label="on another thread: the P was handed over")
    axes.set_xscale("log")
    duration_ticks(axes, "x", [1e3, 1e4, 1e5, 1e6, 1e7, 1e8])
    axes.set_xlim(5e2, 1e8)
    axes.set_yticks(range(len(runs.HANDED)), [_LABELS[each] for each in runs.HANDED])
    axes.set_ylim(len(runs.HANDED) - 0.4, -0.75)
    axes.set_xlabel(
        "from falling asleep until the next goroutine ran on the sleeper's P (GOMAXPROCS 1)", fontsize=SMALL
    )
    headline(axes, "Falling asleep: when, and on which thread, does the next goroutine run?")
    axes.legend(frameon=False, fontsize=SMALL, loc="upper right")


def _threads(axes: Axes, data: pl.DataFrame) -> None:
    own = data.filter(pl.col("part") == runs.IDLE, pl.col("quota") == runs.NONE, pl.col("sleepers") > 1)
    for place, method in enumerate(runs.METHODS):
        seen = own.filter(pl.col("method") == method)
        if seen.is_empty():
            continue
        threads, idle = max(seen["threads"].to_list()), int(np.median(seen["idle_ps"].to_numpy()))
        axes.barh(place, threads, height=0.5, color=_COLOURS[method], alpha=0.8)
        text = f"{threads} threads; {idle} of {seen['gomaxprocs'][0]} Ps idle"
        axes.annotate(text, (threads, place), (5, 0), textcoords="offset points", va="center", fontsize=SMALL)
    sleepers = max(own["sleepers"].to_list(), default=0)
    axes.set_yticks(range(len(runs.METHODS)), [_LABELS[each] for each in runs.METHODS])
    axes.set_ylim(len(runs.METHODS) - 0.4, -0.6)
    axes.set_xlim(0, 2 * (sleepers + 5))
    axes.set_xticks(range(0, sleepers + 6, 5))
    axes.set_axisbelow(True)
    axes.set_xlabel("threads of the process, most seen by the scheduler's trace", fontsize=SMALL)
    headline(axes, f"{sleepers} goroutines asleep: how many threads?")


def _shares(axes: Axes, data: pl.DataFrame) -> None:
    measured = [method for method in runs.METHODS if share(data, method, runs.LIMITED) is not None]
    for place, method in enumerate(measured):
        for quota, offset, face in ((runs.NONE, -0.13, "white"), (runs.LIMITED, 0.13, _COLOURS[method])):
            ratio = share(data, method, quota)
            if ratio is None:
                continue
            low, high = ratio.interval or (ratio.value, ratio.value)
            axes.plot([low, high], [place + offset] * 2, color=_COLOURS[method], linewidth=2)
            axes.plot([ratio.value], [place + offset], "o", color=_COLOURS[method], markerfacecolor=face)
            axes.annotate(f"{ratio.value:.2f} ×", (high, place + offset), (7, 0), textcoords="offset points",
                          va="center", fontsize=SMALL)  # fmt: skip
    axes.plot([], [], "o", color="black", markerfacecolor="white", label="no quota")
    axes.plot([], [], "o", color="black", label=f"quota {runs.LIMITED} of a CPU")
    axes.axvline(1, color=FAINT, linewidth=1, linestyle=":")
    axes.axvline(2, color=FAINT, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(measured)), [_LABELS[each] for each in measured])
    axes.set_ylim(len(measured) - 0.4, -0.35 * len(measured))
    axes.set_xlim(0.5, 2.8)
    axes.set_xlabel("work of a computing goroutine beside a sleeping one,\nover beside a computing one", fontsize=SMALL)
    headline(axes, "What a neighbour gains while one sleeps")
    axes.legend(frameon=False, fontsize=SMALL, loc="upper left", ncols=2)
