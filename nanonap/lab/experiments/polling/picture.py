"""The picture of timers and polling: how late, against how much CPU."""

from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from nanonap.base.durations import asked
from nanonap.lab.experiments.polling.verdicts import WAYS, Workload, mean_with, with_share, workloads
from nanonap.lab.plan.arms import PRECISE
from nanonap.lab.show.style import DPI, SMALL, dress, legend_above, short

_COLOURS = {"stock": "#000000", PRECISE: "#0072B2", "poll1ms": "#E69F00", "poll10ms": "#D55E00", "busy": "#CC79A7"}
#: A marker an interval, in ascending order.
_MARKERS = "ovsDPX*"
_LEAST_NS = 100.0  # a logarithmic axis has no 0


def picture(data: pl.DataFrame) -> Figure:
    """One panel per number of sleepers, one point per way and interval."""
    figure = Figure(figsize=(9.6, 5.6), dpi=DPI, layout="constrained")
    shared, found = with_share(data), workloads(data)
    counts = sorted({each.sleepers for each in found})
    intervals = sorted({each.interval_ns for each in found})
    panels = figure.subplots(1, len(counts), sharex=True, sharey=True, squeeze=False)[0]
    for axes, sleepers in zip(panels, counts, strict=True):
        own = [each for each in found if each.sleepers == sleepers]
        for way in WAYS:
            _points(axes, shared, way, own, intervals)
        _frame(axes, sleepers)
    panels[0].set_ylabel("late at the median (lower is more precise)", fontsize=SMALL)
    handles = [
        *(panels[0].plot([], [], "-", color=_COLOURS[way], linewidth=3, label=label)[0] for way, label in WAYS.items()),
        *(
            panels[0].plot([], [], marker, color="#555555", linestyle="", label=f"every {asked(interval_ns)}")[0]
            for interval_ns, marker in zip(intervals, _MARKERS, strict=False)
        ),
    ]
    legend_above(figure, handles, "What being on time costs: timers, polling at fixed intervals, a busy loop", 5)
    return figure


def _points(axes: Axes, data: pl.DataFrame, way: str, own: Sequence[Workload], intervals: Sequence[int]) -> None:
    line: list[tuple[float, float]] = []
    for workload in own:
        late, share = (mean_with(data, name, workload, way) for name in ("late_p50_ns", "share"))
        if late is None or share is None or not share[0]:
            continue
        x, y = share[0], max(late[0], _LEAST_NS)
        line.append((x, y))
        marker = _MARKERS[intervals.index(workload.interval_ns) % len(_MARKERS)]
        axes.plot(x, y, marker, color=_COLOURS[way], markersize=7, markeredgecolor="white", zorder=3)
        if share[1]:
            axes.plot(share[1], [y, y], color=_COLOURS[way], linewidth=1.2, zorder=2)
        if late[1]:
            axes.plot([x, x], [max(end, _LEAST_NS) for end in late[1]], color=_COLOURS[way], linewidth=1.2, zorder=2)
    if line:
        axes.plot(*zip(*line, strict=True), color=_COLOURS[way], linewidth=0.8, alpha=0.5, zorder=1)


def _frame(axes: Axes, sleepers: int) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.5%}".rstrip("0%").rstrip(".") + " %"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_title("One sleeper" if sleepers == 1 else f"{sleepers} sleepers, out of step", fontsize=10)
    axes.set_xlabel("CPU, share of a processor (left is cheaper)", fontsize=SMALL)
    axes.set_axisbelow(True)
    dress(axes)
