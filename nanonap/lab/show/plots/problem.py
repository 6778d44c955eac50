"""The problem in one picture: what was asked for, and what was slept."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nanonap.base.durations import asked, format_ns
from nanonap.lab.show.plots.picture import Drawn
from nanonap.lab.show.style import DPI, FAINT, SMALL, colour, dash, dress, duration_ticks, headline
from nanonap.lab.stats.cells import Cells

_PATCHED = "netpoll+slack1"
_PROBLEM = {
    "stock": "stock Go",
    _PATCHED: "patched: netpoll, 1 ns slack",
    "floor+slack1": "the kernel's own floor, 1 ns slack",
}
_WORTH_AN_ARROW = 1.5
Lines = dict[str, dict[int, int]]


def problem_plot(cells: Cells) -> Drawn | None:
    """Requested against median actual, both logarithmic, quiet and without quota; None without such data."""
    lines: Lines = {arm: {} for arm in _PROBLEM}
    for key, cell in cells.items():
        if key.arm in lines and key.condition == ("none", "quiet"):
            lines[key.arm][key.requested_ns] = cell.p50_ns
    lines = {arm: points for arm, points in lines.items() if len(points) > 1}
    if "stock" not in lines:
        return None
    figure = Figure(figsize=(7.2, 4.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    dress(axes, labels=10)
    every = sorted({requested for points in lines.values() for requested in points})
    limits = (every[0] / 1.5, every[-1] * 1.5)
    axes.plot(limits, limits, color=FAINT, linewidth=1, linestyle=":", label="exactly what was asked for")
    for arm, points in lines.items():
        style: dict[str, Any] = {"color": colour(arm), "linestyle": dash(arm), "marker": "o", "linewidth": 2}
        axes.plot(list(points), list(points.values()), label=_PROBLEM[arm], **style)
    axes.set(xscale="log", yscale="log", xlim=limits)
    axes.set_xlabel("time asked for")
    axes.set_ylabel("time the sleep took (median)")
    headline(axes, _title(lines))
    duration_ticks(axes, "x", every)
    duration_ticks(axes, "y", every)
    _mark_gaps(axes, lines["stock"], lines.get(_PATCHED, {}))
    axes.legend(frameon=False, loc="lower right", fontsize=SMALL)
    return Drawn(figure, _alt(lines))


def _title(lines: Lines) -> str:
    shortest = min(lines["stock"])
    title = f"Asked for {asked(shortest)}, stock Go sleeps {format_ns(lines['stock'][shortest])}"
    patched = lines.get(_PATCHED, {}).get(shortest)
    return title if patched is None else f"{title}, patched Go {format_ns(patched)}"


def _alt(lines: Lines) -> str:
    said = [
        f"{_PROBLEM[arm]}: " + ", ".join(f"{format_ns(actual)} for {asked(each)}" for each, actual in points.items())
        for arm, points in lines.items()
    ]
    return f"Time asked for against the median time the sleep took, both axes logarithmic. {'; '.join(said)}."


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
