"""What precision costs: an arm a row, a measure a panel, a point for each number of sleepers."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.arms import in_order
from bench.conditions import load_label
from bench.figures.picture import Drawn
from bench.look import DPI, GRID, SMALL, nice_ticks, short, spaced
from bench.price_tables import load_order
from bench.tables import Summary, ratio_text
from nanonap.durations import format_ns

Row = dict[str, Any]
Shown = Callable[[float], str]


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


# Name, the field of summary["costs"], its interval's, and how a value is written.
_PANELS: tuple[tuple[str, str, str | None, Shown], ...] = (
    ("lateness, p50", "late_p50_ns", None, short),
    ("CPU time per sleep", "cpu_ns_per_sleep", "cpu_ns_per_sleep_ci", short),
    ("wake-ups a second", "wakeups_per_second", None, _count),
    ("system calls per sleep", "syscalls_per_sleep", None, _count),
    ("threads, most at once", "threads_peak", None, _count),
)
_IDLE = ("idle: wake-ups a second", "wakeups_per_second", None, _count)
_IDLE_COLOUR = "#999999"
_LEAST = 1e-3


def price_figure(summary: Summary) -> Drawn | None:
    """Of the cost workloads without quota, and of the idle one; None where neither was measured."""
    rows = [row for row in summary["costs"] if row["condition"]["quota"] == "none"]
    idle = [row for row in summary.get("idle") or [] if row["condition"]["quota"] == "none"]
    panels = [(panel, rows) for panel in _PANELS if any(row.get(panel[1]) is not None for row in rows)]
    panels += [(_IDLE, idle)] * any(row.get(_IDLE[1]) is not None for row in idle)
    if not panels:
        return None
    arms = sorted({row["arm"] for row in [*rows, *idle]}, key=in_order)
    loads = sorted({load_label(row["condition"]) for row in rows}, key=load_order)
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(
        figsize=(max(2.5 * columns + 1.9, 7.2), lines * (0.27 * len(arms) + 0.75) + 0.9), dpi=DPI, layout="constrained"
    )
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (panel, own) in zip(grid.flat, panels, strict=False):
        _panel(axes, panel, own, arms, loads)
    handles = [Line2D([], [], linestyle="none", label=load, **_marker(load, loads)) for load in loads]
    legend = figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False, fontsize=SMALL)
    legend.set_title("What precision costs, by number of sleepers", prop=FontProperties(size=12, weight="bold"))
    return Drawn(figure, _alt(rows, idle))


def _marker(load: str, loads: Sequence[str]) -> dict[str, Any]:
    """Darker for more sleepers; filled where none are in step, hollow where all are."""
    counts = sorted({_sleepers(each) for each in loads})
    place = counts.index(_sleepers(load)) / max(len(counts) - 1, 1)
    tint = colormaps["viridis"](0.85 - 0.7 * place) if len(counts) > 1 else "#0072B2"
    if load.startswith("aligned"):
        return {"marker": "s", "markersize": 5.5, "markerfacecolor": "none", "markeredgecolor": tint}
    return {"marker": "o", "markersize": 5, "color": tint}


def _sleepers(load: str) -> int:
    return int(load.partition(":")[2].partition("@")[0] or 0)


def _panel(
    axes: Axes,
    panel: tuple[str, str, str | None, Shown],
    rows: Sequence[Row],
    arms: Sequence[str],
    loads: Sequence[str],
) -> None:
    name, key, interval, shown = panel
    ends: list[float] = []
    for place, arm in enumerate(arms):
        for row in rows:
            if row["arm"] != arm or row.get(key) is None:
                continue
            value, load = max(row[key], _LEAST), load_label(row["condition"])
            look = _marker(load, loads) if load in loads else {"marker": "D", "markersize": 4.5, "color": _IDLE_COLOUR}
            bounds = (row.get(interval) if interval else None) or [value, value]
            # Points of one row that coincide stand a little apart, in the legend's order.
            height = place + (loads.index(load) - (len(loads) - 1) / 2) * 0.11 if load in loads else place
            axes.plot(bounds, (height, height), color=look.get("color", look.get("markeredgecolor")), linewidth=1.6)
            axes.plot(value, height, linestyle="none", **look)
            ends += [value, *bounds]
            if len(loads) < 2 or load not in loads:
                axes.annotate(
                    _written(key, value),
                    (max(value, bounds[1]), place),
                    (6, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                )
    low, high = min(ends), max(ends)
    margin = max((high / low) ** 0.08, 1.1)
    # A number stands beside a point where there is but one a row.
    room = (high / low * margin) ** 0.35 if len(loads) < 2 or rows[0].get("n") is None else 1
    axes.set(xscale="log", xlim=(low / margin, high * margin * room), ylim=(len(arms) - 0.5, -0.5))
    axes.set_yticks(range(len(arms)), arms)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(low / margin, high * margin * room)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    axes.tick_params(labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_title(name, fontsize=10)
    axes.grid(True, color=GRID)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _ticks(low: float, high: float) -> list[float]:
    return spaced(nice_ticks(low, high), low, high, 0.25)


def _written(key: str, value: float) -> str:
    return format_ns(value) if key.endswith("_ns") or key.startswith("cpu_ns") else _count(value)


def _alt(rows: Sequence[Row], idle: Sequence[Row]) -> str:
    said = [
        f"{load_label(row['condition'])} {row['arm']} {format_ns(row['cpu_ns_per_sleep'])}"
        + (f" ({ratio_text(row['cpu_over_stock'])} × stock)" if row.get("cpu_over_stock") is not None else "")
        + f", late {format_ns(row['late_p50_ns'])}"
        for row in rows
        if row["cpu_ns_per_sleep"] is not None and row["arm"] in ("stock", "netpoll+slack1", "rebuilt+slack1")
    ]
    said += [
        f"idle {row['arm']} {_count(row['wakeups_per_second'])} wake-ups a second"
        for row in idle
        if row["arm"] in ("stock", "netpoll+slack1") and row.get("wakeups_per_second") is not None
    ]
    what = "What each arm costs, a panel per measure, a point per number of sleepers"
    return f"{what}. CPU time per sleep: {'; '.join(said)}."
