"""Medians over stock's, with their intervals: who sleeps shorter, by how much, and how sure that is."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nanonap.base.durations import asked
from nanonap.lab.judge.analysis import CellRow
from nanonap.lab.show.plots.picture import Drawn
from nanonap.lab.show.style import FAINT, colour, dress, panels, spaced, ticks_at
from nanonap.lab.show.tables import condition_title, ratio_text

_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9, 0.95, 1.0, 1.05, 1.1, 2, 5, 10, 20, 50, 100)
_LEAST_WIDTH = 1.12


Point = tuple[float, Sequence[float] | None]
"""A ratio and its interval."""


def forest_plot(rows: Sequence[CellRow]) -> Drawn | None:
    """Of a condition's summary cells: a panel per requested duration, a row per arm, x p50 over stock's, logarithmic.

    None where stock was not measured beside another arm.
    """
    known = [row for row in rows if row.p50_over_stock is not None]
    arms = list(dict.fromkeys(row.arm for row in known if row.arm != "stock"))
    if not arms:
        return None
    durations = sorted({row.requested_ns for row in known})
    points = {
        f"asked for {asked(each)}": {
            row.arm: (row.p50_over_stock, row.p50_over_stock_ci)
            for row in known
            if row.requested_ns == each and row.p50_over_stock is not None
        }
        for each in durations
    }
    title = f"Median sleep as a multiple of stock's, 95 % intervals: {condition_title(known[0].condition)}"
    return Drawn(forest(title, arms, points), _alt(known, durations[0]))


def forest(title: str, arms: Sequence[str], points: Mapping[str, Mapping[str, Point]]) -> Figure:
    """A panel per name in ``points``, a row per arm, its ratio with the interval on a logarithmic axis."""
    figure, grid = panels(len(points), 2.5, 1.9, 0.21 * len(arms) + 0.75, 0.7, sharey=True)
    for axes, (name, own) in zip(grid.flat, points.items(), strict=False):
        _panel(axes, arms, own)
        axes.set_title(name, fontsize=10)
    figure.suptitle(title, fontsize=11, fontweight="bold")
    return figure


def _panel(axes: Axes, arms: Sequence[str], points: Mapping[str, Point]) -> None:
    ends = [1.0]
    for place, arm in enumerate(arms):
        if arm not in points:
            continue
        value, found = points[arm]
        bounds = found or [value, value]
        axes.plot(bounds, (place, place), color=colour(arm), linewidth=2.4, solid_capstyle="butt")
        axes.plot(value, place, "o", color=colour(arm), markersize=4.5)
        ends += [value, *bounds]
    axes.axvline(1, color=FAINT, linewidth=1, linestyle="--", zorder=1)
    low, high = min(ends), max(ends)
    if high / low < _LEAST_WIDTH:
        low, high = low / _LEAST_WIDTH**0.5, high * _LEAST_WIDTH**0.5
    margin = (high / low) ** 0.06
    axes.set(xscale="log", xlim=(low / margin, high * margin), ylim=(len(arms) - 0.5, -0.5))
    axes.set_yticks(range(len(arms)), arms)
    ticks_at(axes, "x", _ticks(low / margin, high * margin), "{:g} ×".format)
    dress(axes, "x", rows=True)


def _ticks(low: float, high: float) -> list[float]:
    """Few of the round ratios within the axis, 1 always among them."""
    return spaced([tick for tick in _TICKS if low <= tick <= high], low, high)


def _alt(rows: Sequence[CellRow], shortest: int) -> str:
    named = []
    for row in rows:
        if row.requested_ns == shortest and row.arm != "stock":
            bounds = row.p50_over_stock_ci
            said = f" [{ratio_text(bounds[0])}, {ratio_text(bounds[1])}]" if bounds else ""
            named.append(f"{row.arm} {ratio_text(row.p50_over_stock)}{said}")
    return (
        f"{condition_title(rows[0].condition)}: each arm's median sleep over stock's with its 95 % interval, a "
        f"panel per time asked for, a line at 1. At {asked(shortest)}: {'; '.join(named)}."
    )
