"""What precision costs: an arm a row, a measure a panel, a point for each number of sleepers."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from nanonap.base.durations import format_ns
from nanonap.lab.judge.analysis import Summary
from nanonap.lab.plan.arms import in_order
from nanonap.lab.show.plots.picture import Drawn
from nanonap.lab.show.price_tables import load_order
from nanonap.lab.show.style import dress, legend_above, nice_ticks, panels, short, spaced, ticks_at
from nanonap.lab.show.tables import ratio_text
from nanonap.lab.stats.costs import CostRow, IdleRow

Row = CostRow | IdleRow
Shown = Callable[[float], str]


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


# Name, the field of summary.costs, its interval's, and how a value is written.
_Panel = tuple[str, str, str | None, Shown]
_PANELS: tuple[_Panel, ...] = (
    ("lateness, p50", "late_p50_ns", None, short),
    ("CPU time per sleep", "cpu_ns_per_sleep", "cpu_ns_per_sleep_ci", short),
    ("wake-ups a second", "wakeups_per_second", None, _count),
    ("system calls per sleep", "syscalls_per_sleep", None, _count),
    ("threads, most at once", "threads_peak", None, _count),
)
_IDLE: _Panel = ("idle: wake-ups a second", "wakeups_per_second", None, _count)
_IDLE_COLOUR = "#999999"
_LEAST = 1e-3


def price_plot(summary: Summary) -> Drawn | None:
    """Of the cost workloads without quota, and of the idle one; None where neither was measured."""
    rows = [row for row in summary.costs if row.condition.quota == "none"]
    idle = [row for row in summary.idle if row.condition.quota == "none"]
    chosen: list[tuple[_Panel, Sequence[Row]]]
    chosen = [(panel, rows) for panel in _PANELS if any(getattr(row, panel[1]) is not None for row in rows)]
    chosen += [(_IDLE, idle)] * any(getattr(row, _IDLE[1]) is not None for row in idle)
    if not chosen:
        return None
    arms = sorted({row.arm for row in rows} | {row.arm for row in idle}, key=in_order)
    loads = sorted({row.condition.load_label for row in rows}, key=load_order)
    figure, grid = panels(len(chosen), 2.5, 1.9, 0.27 * len(arms) + 0.75, 0.9, sharey=True)
    for axes, (panel, own) in zip(grid.flat, chosen, strict=False):
        _panel(axes, panel, own, arms, loads)
    handles = [Line2D([], [], linestyle="none", label=load, **_marker(load, loads)) for load in loads]
    legend_above(figure, handles, "What precision costs, by number of sleepers", 4)
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


def _panel(axes: Axes, panel: _Panel, rows: Sequence[Row], arms: Sequence[str], loads: Sequence[str]) -> None:
    name, key, interval, shown = panel
    ends: list[float] = []
    for place, arm in enumerate(arms):
        for row in rows:
            if row.arm != arm or getattr(row, key) is None:
                continue
            value, load = max(getattr(row, key), _LEAST), row.condition.load_label
            look = _marker(load, loads) if load in loads else {"marker": "D", "markersize": 4.5, "color": _IDLE_COLOUR}
            bounds = (getattr(row, interval) if interval else None) or [value, value]
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
    room = (high / low * margin) ** 0.35 if len(loads) < 2 or isinstance(rows[0], IdleRow) else 1
    axes.set(xscale="log", xlim=(low / margin, high * margin * room), ylim=(len(arms) - 0.5, -0.5))
    axes.set_yticks(range(len(arms)), arms)
    ticks_at(axes, "x", _ticks(low / margin, high * margin * room), shown)
    axes.set_title(name, fontsize=10)
    dress(axes, rows=True)


def _ticks(low: float, high: float) -> list[float]:
    return spaced(nice_ticks(low, high), low, high, 0.25)


def _written(key: str, value: float) -> str:
    return format_ns(value) if key.endswith("_ns") or key.startswith("cpu_ns") else _count(value)


def _alt(rows: Sequence[CostRow], idle: Sequence[IdleRow]) -> str:
    said = [
        f"{row.condition.load_label} {row.arm} {format_ns(row.cpu_ns_per_sleep)}"
        + (f" ({ratio_text(row.cpu_over_stock)} × stock)" if row.cpu_over_stock is not None else "")
        + f", late {format_ns(row.late_p50_ns)}"
        for row in rows
        if row.cpu_ns_per_sleep is not None and row.arm in ("stock", "netpoll+slack1", "rebuilt+slack1")
    ]
    said += [
        f"idle {row.arm} {_count(row.wakeups_per_second)} wake-ups a second"
        for row in idle
        if row.arm in ("stock", "netpoll+slack1") and row.wakeups_per_second is not None
    ]
    what = "What each arm costs, a panel per measure, a point per number of sleepers"
    return f"{what}. CPU time per sleep: {'; '.join(said)}."
