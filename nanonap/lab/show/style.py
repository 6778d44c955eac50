"""How plots look: colours, ticks, sizes, and how one is saved."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from nanonap.base.files import beside

Grid = np.ndarray[tuple[int, int], Any]
DPI = 130
SMALL = 9
GRID = "#e6e6e6"
FAINT = "#999999"
FOOTNOTE = "#777777"
SLACK = "+slack1"
MOST_ALIKE = 8
"""More lines than these in a panel cannot be told apart: the main arms are drawn strongly then, the others faintly."""
MAIN = (
    "stock",
    "usleep",
    "netpoll+slack1",
    "netpoll+slack1+quantum",
    "netpoll+slack1+spin",
    "rebuilt+slack1",
    "nanosleep",
    "floor+slack1",
)
# Okabe and Ito's palette, told apart in any colour vision: a colour per family, a dash for each of a family.
_BLACK, _ORANGE, _SKY, _GREEN, _BLUE, _RED, _PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
_COLOURS = {
    "stock": _BLACK,
    "usleep": _ORANGE,
    "sleep": _GREEN,
    "netpoll": _BLUE,
    "rebuilt": _RED,
    "upstream": _ORANGE,
    "live": _GREEN,
    "godebug": _RED,
    "nanosleep": _SKY,
    "sleep-then-spin": _SKY,
    "floor": _PURPLE,
    "cyclictest": _PURPLE,
    "control": FAINT,
}
_DASHES = {"spin": ":", "quantum": "-.", "prctl": ":", "fifo": ":", "slack1": "--"}
_BARE = {"live": "-.", "godebug": ":", "sleep-then-spin": ":", "cyclictest": "-."}


def colour(arm: str) -> str:
    """The colour of the arm's family, the same at any timer slack."""
    return _COLOURS.get(arm.partition("+")[0], _RED)


def dash(arm: str) -> str:
    """Solid at the machine's own timer slack, dashed at 1 ns; dots and dashes for what else a family has."""
    parts = arm.split("+")[1:]
    return next((look for part, look in _DASHES.items() if part in parts), _BARE.get(arm, "-"))


def strong(arm: str, arms: Collection[str]) -> bool:
    """Whether an arm among these is drawn strongly."""
    return len(set(arms)) <= MOST_ALIKE or arm in MAIN


def dress(axes: Axes, lines: Literal["both", "x"] = "both", labels: float = 8, *, rows: bool = False) -> None:
    """What a panel has: a faint grid, no frame above and to the right, labels of this size at its ticks.

    ``rows``: names stand at its left, which takes neither a frame there nor ticks.
    """
    axes.tick_params(labelsize=labels)
    if rows:
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    axes.grid(True, axis=lines, color=GRID)
    axes.spines[["top", "right"]].set_visible(False)


def headline(axes: Axes, text: str) -> None:
    """What a panel shows, above it."""
    axes.set_title(text, loc="left", fontsize=11, fontweight="bold")


def legend_above(figure: Figure, handles: Sequence[Artist], title: str, columns: int, size: float = SMALL) -> None:
    """The legend above all panels, and in it the figure's title: as its own that would be drawn over the legend."""
    legend = figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=size)
    legend.set_title(title, prop=FontProperties(size=12, weight="bold"))


def panels(
    count: int, column: float, beside: float, line: float, above: float, *, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, Grid]:
    """A figure with a grid of so many panels, three a line, and as wide as a page; all in inches.

    ``column`` and ``line`` are what one of them takes, ``beside`` and ``above`` what the figure takes besides.
    """
    columns = min(3, count)
    lines = -(-count // columns)
    size = (max(column * columns + beside, 7.2), line * lines + above)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=sharex, sharey=sharey)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return figure, grid


def short(value_ns: float) -> str:
    """A round duration as a tick shows it: ``50 µs``, ``2.5 ms``, ``0``."""
    units = (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0))
    unit, scale = next((pair for pair in units if abs(value_ns) >= pair[1]), units[-1])
    return f"{value_ns / scale:.5g} {unit}" if value_ns else "0"


def ticks_at(axes: Axes, which: str, values: Sequence[float], shown: Callable[[float], str]) -> None:
    """Ticks at these values and nowhere else, labelled so."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    axis.set_tick_params(labelsize=8)


def duration_ticks(axes: Axes, which: str, values: Sequence[float]) -> None:
    """Ticks at these durations (ns) and nowhere else, labelled with units."""
    ticks_at(axes, which, values, short)


def nice_ticks(low: float, high: float) -> list[float]:
    """At most five round values between low and high: 1, 2, 5 × 10^k, or an even grid where that gives too few."""
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**exponent for exponent in exponents for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 5:
            break
    if len(ticks) >= 3:
        return ticks
    return [float(tick) for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]


def spaced(ticks: Sequence[float], low: float, high: float, share: float = 0.2) -> list[float]:
    """Of ascending ticks those whose labels do not meet: apart by this share of a logarithmic axis, 1 before others."""
    kept: list[float] = []
    for tick in sorted(ticks, key=lambda tick: (tick != 1, tick)):
        if all(abs(np.log(tick / other)) >= share * np.log(high / low) for other in kept):
            kept.append(tick)
    return sorted(kept)


def add_footnote(figure: Figure, footnote: str) -> None:
    """What machine a plot is of, small and below: plots are shown without their page."""
    figure.supxlabel(footnote, fontsize=7, color=FOOTNOTE, x=0.01, ha="left")


def save(figure: Figure, path: Path, footnote: str) -> Path:
    """Write a figure as PNG, whole or not at all. Raises OutputNotWritable, DiskFull."""
    add_footnote(figure, footnote)
    with beside(path) as temporary:
        with temporary.open("wb") as stream:
            figure.savefig(stream, format="png")
        temporary.chmod(0o644)
    return path
