"""Lateness over CPU time, a panel a load, every arm in it: down and left is better."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nanonap.lab.experiments.rival.verdicts import LOADS, OURS, arms_of, middle
from nanonap.lab.show.style import SLACK, colour, dress, duration_ticks, headline, legend_above, nice_ticks, panels

_QUANTUM = "#009E73"
_Point = tuple[float, float]


def picture(data: pl.DataFrame) -> Figure:
    """Points with 95 % intervals both ways; a line joins the quanta, which one option moves along."""
    loads = [load for load in LOADS if load in set(data["load"])]
    figure, grid = panels(len(loads), 3.2, 0.2, 2.9, 0.9)
    for axes, load in zip(grid.flat, loads, strict=False):
        _panel(axes, data, load)
        headline(axes, LOADS[load])
    for axes in grid[:, 0]:
        axes.set_ylabel("late, p50", fontsize=9)
    handles = [
        Line2D([], [], linestyle="none", label=arm, **_look(arm)) for arm in arms_of(data) if not _is_quantum(arm)
    ]
    handles.append(Line2D([], [], label="netpoll+slack1 with a quantum", **_look("quantum")))
    legend_above(figure, handles, "Lateness over CPU time per sleep", 5, 8)
    return figure


def _is_quantum(arm: str) -> bool:
    return arm in OURS and OURS[arm][1] is not None


def _look(arm: str) -> dict[str, Any]:
    if arm == "quantum" or _is_quantum(arm):
        marker = "s" if arm.endswith("dense") else "."
        return {"marker": marker, "color": _QUANTUM, "markersize": 6 if marker == "." else 4}
    if arm in OURS:
        shape = {"netpoll": "o", f"netpoll{SLACK}": "D"}.get(arm, "^")
        return {"marker": shape, "color": colour("netpoll"), "markersize": 5}
    hollow = not arm.endswith(SLACK) and arm != "stock"
    shape = "*" if arm == "stock" else "P" if arm.startswith("upstream") else "X"
    tint = colour(arm)
    return {"marker": shape, "color": tint, "markersize": 9, "markerfacecolor": "white" if hollow else tint}


def _panel(axes: Axes, data: pl.DataFrame, load: str) -> None:
    ends: dict[str, list[float]] = {"x": [], "y": []}
    curve: list[_Point] = []
    for arm in arms_of(data.filter(pl.col("load") == load)):
        (x, across), (y, along) = (_middle(data, column, load, arm) for column in ("each_ns", "late_p50_ns"))
        look = _look(arm)
        axes.plot(across, [y, y], color=look["color"], linewidth=1)
        axes.plot([x, x], along, color=look["color"], linewidth=1)
        axes.plot(x, y, linestyle="none", **look)
        ends["x"] += across
        ends["y"] += along
        curve += [(x, y)] if _is_quantum(arm) and not arm.endswith("dense") else []
    if curve:
        axes.plot(*zip(*curve, strict=True), color=_QUANTUM, linewidth=1, zorder=1)
    axes.set(xscale="log", yscale="log")
    for which, values in ends.items():
        low, high = min(values) / 1.15, max(values) * 1.15
        axes.set(**{f"{which}lim": (low, high)})
        duration_ticks(axes, which, nice_ticks(low, high))
    axes.set_xlabel("CPU time per sleep", fontsize=9)
    dress(axes)


def _middle(data: pl.DataFrame, column: str, load: str, arm: str) -> tuple[float, list[float]]:
    value, low_high = middle(data, column, load, arm)
    return value, low_high or [value, value]
