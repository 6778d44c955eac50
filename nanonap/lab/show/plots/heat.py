"""Duration × condition: how much longer than asked a sleep lasts, stock beside the patched program."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from nanonap.base.durations import asked, format_ns
from nanonap.lab.judge.analysis import Summary
from nanonap.lab.plan.arms import PRECISE
from nanonap.lab.show.plots.picture import FIXED, Drawn
from nanonap.lab.show.style import DPI, SMALL
from nanonap.lab.show.tables import by_condition, short_condition

_LEAST_NS = 1_000
Grid = dict[tuple[str, int], float]


def heat_plot(summary: Summary) -> Drawn | None:
    """Of stock and of the arm that a user would take: the median overshoot, a row per condition, a column per duration.

    None where fewer than two conditions or durations were measured for both.
    """
    arms = ("stock", PRECISE)
    grids: dict[str, Grid] = {arm: {} for arm in arms}
    for cells in by_condition(summary).values():
        for cell in cells:
            if cell.arm in arms:
                place = (short_condition(cell.condition), cell.requested_ns)
                grids[cell.arm][place] = cell.overshoot_p50_ns
    rows = list(dict.fromkeys(name for name, _ in grids["stock"]))
    columns = sorted({each for _, each in grids["stock"]})
    if not grids[PRECISE] or len(rows) < 2 or len(columns) < 2:
        return None
    values = [max(value, _LEAST_NS) for grid in grids.values() for value in grid.values()]
    norm = LogNorm(min(values), max(*values, min(values) * 2))
    size = (max(7.2, 1.24 * len(columns) * 0.62 * 2 + 1.9), 0.34 * len(rows) + 1.5)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    for axes, (arm, grid) in zip(figure.subplots(1, 2, sharey=True), grids.items(), strict=True):
        _panel(axes, grid, rows, columns, norm)
        axes.set_title(arm, fontsize=10, fontweight="bold")
    figure.suptitle("How much longer than asked for: median overshoot", fontsize=11, fontweight="bold")
    return Drawn(figure, _alt(grids, rows, columns))


def _panel(axes: Axes, grid: Grid, rows: list[str], columns: list[int], norm: LogNorm) -> None:
    values = np.array([[max(grid.get((row, each), np.nan), _LEAST_NS) for each in columns] for row in rows])
    mesh = axes.pcolormesh(values, cmap="viridis", norm=norm, edgecolors="white", linewidth=1)
    mesh.set_gid(FIXED)
    for down, row in enumerate(rows):
        for right, each in enumerate(columns):
            value = grid.get((row, each))
            if value is None:
                continue
            # viridis is dark at its low end.
            ink = "#ffffff" if norm(max(value, _LEAST_NS)) < 0.6 else "#000000"
            text = axes.text(right + 0.5, down + 0.5, format_ns(value), ha="center", va="center", color=ink, fontsize=8)
            text.set_gid(FIXED)
    axes.set_xticks([place + 0.5 for place in range(len(columns))], [asked(each) for each in columns])
    axes.set_yticks([place + 0.5 for place in range(len(rows))], rows)
    axes.set_ylim(len(rows), 0)
    axes.tick_params(labelsize=8, length=0)
    axes.set_xlabel("asked for", fontsize=SMALL)
    axes.spines[:].set_visible(False)


def _alt(grids: dict[str, Grid], rows: list[str], columns: list[int]) -> str:
    def said(arm: str, row: str) -> str:
        named: list[Any] = [(each, grids[arm].get((row, each))) for each in columns]
        return ", ".join(f"{format_ns(value)} at {asked(each)}" for each, value in named if value is not None)

    each = [f"{row}: stock {said('stock', row)}; {PRECISE} {said(PRECISE, row)}" for row in rows]
    return f"Median overshoot by time asked for and condition, stock beside {PRECISE}. {'. '.join(each)}."
