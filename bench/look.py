"""How figures look: colours, ticks, sizes, and how one is saved."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from nanonap.files import beside

DPI = 130
SMALL = 9
GRID = "#e6e6e6"
FAINT = "#999999"
SLACK = "+slack1"
# Okabe and Ito's palette, told apart in any colour vision: a colour per way of sleeping.
_COLOURS = {
    "stock": "#000000",
    "usleep": "#E69F00",
    "sleep": "#009E73",
    "netpoll": "#0072B2",
    "floor": "#CC79A7",
}
_OTHER = "#D55E00"


def colour(arm: str) -> str:
    """The arm's colour, the same at any timer slack."""
    return _COLOURS.get(arm.removesuffix(SLACK), _OTHER)


def dash(arm: str) -> str:
    """Dashed at 1 ns slack, solid at the machine's own."""
    return "--" if arm.endswith(SLACK) else "-"


def duration_ticks(axes: Axes, which: str, values: Sequence[float]) -> None:
    """Ticks at these durations (ns) and nowhere else, labelled with units."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_tick_params(labelsize=8)


def short(value_ns: float) -> str:
    """A round duration as a tick shows it: ``50 µs``, ``2.5 ms``, ``0``."""
    units = (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0))
    unit, scale = next((pair for pair in units if abs(value_ns) >= pair[1]), units[-1])
    return f"{value_ns / scale:.5g} {unit}" if value_ns else "0"


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


def save(figure: Figure, path: Path, footnote: str) -> Path:
    """Write a figure as PNG, whole or not at all. Raises OutputNotWritable, DiskFull."""
    figure.supxlabel(footnote, fontsize=7, color="#777777", x=0.01, ha="left")
    with beside(path) as temporary:
        with temporary.open("wb") as stream:
            figure.savefig(stream, format="png")
        temporary.chmod(0o644)
    return path
