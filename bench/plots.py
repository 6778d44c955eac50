"""The figures: the problem in one picture, distributions, the price. Drawn from a result's raw samples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from bench.cells import Cell, Cells, Cost
from bench.look import DPI, FAINT, GRID, SLACK, SMALL, colour, dash, duration_ticks, nice_ticks, save, short
from bench.tables import asked, condition_title
from nanonap.durations import format_ns

_PATCHED = "netpoll+slack1"
_PROBLEM = {
    "stock": "stock Go",
    _PATCHED: "patched: netpoll, 1 ns slack",
    "floor+slack1": "the kernel's own floor, 1 ns slack",
}
_WORTH_AN_ARROW = 1.5
_MOST_POINTS = 2_000


def draw_all(folder: Path, cells: Cells, costs: dict[tuple[str, str, str], Cost], footnote: str) -> dict[str, Path]:
    """Write every figure the data allow into ``folder``; returns name → file. Raises OutputNotWritable, DiskFull."""
    figures: dict[str, Figure] = {}
    problem = problem_figure(cells)
    if problem is not None:
        figures["problem"] = problem
    for quota, load in dict.fromkeys(key.condition for key in cells):
        members = [cell for key, cell in cells.items() if key.condition == (quota, load)]
        figures[ecdf_name(quota, load)] = ecdf_figure(members)
    price = price_figure(cells, costs)
    if price is not None:
        figures["price"] = price
    return {name: save(figure, folder / f"{name}.png", footnote) for name, figure in figures.items()}


def problem_figure(cells: Cells) -> Figure | None:
    """Requested against median actual, both logarithmic, quiet and without quota; None without such data."""
    lines: dict[str, dict[int, int]] = {arm: {} for arm in _PROBLEM}
    for key, cell in cells.items():
        if key.arm in lines and key.condition == ("none", "quiet"):
            lines[key.arm][key.requested_ns] = cell.p50_ns
    lines = {arm: points for arm, points in lines.items() if len(points) > 1}
    if "stock" not in lines:
        return None
    figure = Figure(figsize=(7.6, 4.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    every = sorted({requested for points in lines.values() for requested in points})
    limits = (every[0] / 1.5, every[-1] * 1.5)
    axes.plot(limits, limits, color=FAINT, linewidth=1, linestyle=":", label="exactly what was asked for")
    for arm, points in lines.items():
        label = _PROBLEM[arm]
        axes.plot(list(points), list(points.values()), color=colour(arm), marker="o", linewidth=2, label=label)
    axes.set(xscale="log", yscale="log", xlim=limits)
    axes.set_xlabel("time asked for")
    axes.set_ylabel("time the sleep took (median)")
    axes.set_title(_problem_title(lines), loc="left", fontsize=11, fontweight="bold")
    duration_ticks(axes, "x", every)
    duration_ticks(axes, "y", every)
    _mark_gaps(axes, lines["stock"], lines.get(_PATCHED, {}))
    axes.legend(frameon=False, loc="lower right", fontsize=SMALL)
    axes.grid(True, which="major", color=GRID)
    return figure


def _problem_title(lines: dict[str, dict[int, int]]) -> str:
    shortest = min(lines["stock"])
    title = f"Asked for {asked(shortest)}, stock Go sleeps {format_ns(lines['stock'][shortest])}"
    patched = lines.get(_PATCHED, {}).get(shortest)
    return title if patched is None else f"{title}, patched Go {format_ns(patched)}"


def _mark_gaps(axes: Axes, stock: dict[int, int], patched: dict[int, int]) -> None:
    """An arrow from stock down to patched with the factor between them, where it is worth one."""
    for requested in sorted(stock.keys() & patched.keys()):
        factor = stock[requested] / patched[requested]
        if factor < _WORTH_AN_ARROW:
            continue
        tip, start = (requested, patched[requested] * 1.15), (requested, stock[requested] / 1.1)
        axes.annotate("", tip, start, arrowprops={"arrowstyle": "->", "color": FAINT})
        text, point = f"{factor:.1f} ×", (requested, stock[requested])
        axes.annotate(text, point, (0, 7), textcoords="offset points", ha="center", fontsize=SMALL)


def ecdf_name(quota: str, load: str) -> str:
    """The name of a condition's figure of distributions."""
    return f"ecdf-{_file_part(quota)}-{_file_part(load)}"


def ecdf_figure(cells: Sequence[Cell]) -> Figure:
    """Distributions of actual under one condition: a panel per requested duration, a line per arm, x logarithmic."""
    durations = sorted({cell.key.requested_ns for cell in cells})
    columns = min(3, len(durations))
    rows = -(-len(durations) // columns)
    figure = Figure(figsize=(max(3.7 * columns, 7.0), 2.8 * rows + 1.3), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in panels.flat[len(durations) :]:
        axes.set_visible(False)
    for axes, requested_ns in zip(panels.flat, durations, strict=False):
        _ecdf_panel(axes, requested_ns, [cell for cell in cells if cell.key.requested_ns == requested_ns])
    for axes in panels[:, 0]:
        axes.set_ylabel("sleeps no longer than this", fontsize=SMALL)
    for axes in panels[-1, :]:
        axes.set_xlabel("time the sleep took", fontsize=SMALL)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False, fontsize=SMALL)
    # As a title of its own it would be drawn over the legend.
    legend.set_title(condition_title(cells[0].condition), prop=FontProperties(size=12, weight="bold"))
    return figure


def _ecdf_panel(axes: Axes, requested_ns: int, cells: Sequence[Cell]) -> None:
    axes.axvline(requested_ns, color=FAINT, linewidth=1, linestyle=":", label="asked for")
    for position, cell in enumerate(cells):
        arm = cell.key.arm
        # Where arms coincide, as stock and usleep must, the ones drawn before show on both sides of the later.
        width = 3.4 - 2.2 * position / max(len(cells) - 1, 1)
        axes.ecdf(_thinned(cell.ordered), label=arm, linewidth=width, color=colour(arm), linestyle=dash(arm))
    low = min(requested_ns, *(int(cell.ordered[0]) for cell in cells))
    high = max(int(cell.ordered[-1]) for cell in cells)
    margin = (high / low) ** 0.03
    axes.set(xscale="log", xlim=(low / margin, high * margin), ylim=(0, 1.02))
    axes.set_title(f"asked for {asked(requested_ns)}", fontsize=10)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.tick_params(labelsize=8)
    duration_ticks(axes, "x", nice_ticks(low, high))
    axes.grid(True, which="major", color=GRID)


def _thinned(ordered: NDArray[np.int64]) -> NDArray[np.float64]:
    """Enough of the ascending values for a line in a panel, the first and the last among them."""
    ranks = np.linspace(0, ordered.size - 1, min(ordered.size, _MOST_POINTS)).round().astype(np.int64)
    return ordered[ranks].astype(np.float64)


def price_figure(cells: Cells, costs: dict[tuple[str, str, str], Cost]) -> Figure | None:
    """Of the cost workload: how late each arm wakes, and what a sleep costs; None where it was not measured."""
    rows = [
        (key.arm, cell.p50_ns - key.requested_ns, each)
        for key, cell in cells.items()
        if key.condition == ("none", "sleepers:50")
        and (each := costs[key.arm, *key.condition].cpu_ns_per_sleep) is not None
    ]
    if not rows:
        return None
    figure = Figure(figsize=(8.4, 0.4 * len(rows) + 1.7), dpi=DPI, layout="constrained")
    figure.suptitle("What precision costs: 50 sleepers of 1 ms, 20 µs apart", fontsize=12, fontweight="bold")
    late, cost = figure.subplots(1, 2, sharey=True)
    names = [arm for arm, _, _ in rows]
    _bars(late, names, [row[1] for row in rows], "late at the median")
    _bars(cost, names, [row[2] for row in rows], "CPU time per sleep")
    late.invert_yaxis()
    return figure


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float], title: str) -> None:
    bars = axes.barh(names, values, color=[colour(name) for name in names], height=0.62)
    for bar, name in zip(bars, names, strict=True):
        bar.set_hatch("///" if name.endswith(SLACK) else "")
        bar.set_edgecolor("white")
    axes.bar_label(bars, [format_ns(value) for value in values], padding=3, fontsize=SMALL)
    axes.set_title(title, fontsize=10)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.margins(x=0.22)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)


def _file_part(text: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in text.replace("%", "pct"))
