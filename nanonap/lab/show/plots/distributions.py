"""Distributions of one condition, from its raw samples: cumulated, and by percentiles to the fourth nine."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray

from nanonap.base.durations import asked, format_ns
from nanonap.lab.plan.conditions import is_scheduled
from nanonap.lab.show.plots.picture import Drawn
from nanonap.lab.show.style import (
    FAINT,
    SMALL,
    colour,
    dash,
    dress,
    duration_ticks,
    legend_above,
    nice_ticks,
    panels,
    strong,
)
from nanonap.lab.show.tables import condition_title
from nanonap.lab.stats.cells import Cell
from nanonap.lab.stats.resampling import quantile

_MOST_POINTS = 1_000
_PERCENTILE_POINTS = 240
_LEAST_NS = 1_000
"""What is earlier, or late by less than this, is drawn here: an axis of times is logarithmic."""
_NINES = {0.0: "0", 0.5: "50", 0.9: "90", 0.99: "99", 0.999: "99.9", 0.9999: "99.99 %"}
_SHOWN = 0.99


def file_part(text: str) -> str:
    """A quota or load as a part of a file's name."""
    return "".join(character if character.isalnum() else "_" for character in text.replace("%", "pct"))


def ecdf_name(quota: str, load: str) -> str:
    """The name of a condition's figure of cumulated distributions."""
    return f"ecdf-{file_part(quota)}-{file_part(load)}"


def percentile_name(quota: str, load: str) -> str:
    """The name of a condition's figure of percentiles."""
    return f"percentiles-{file_part(quota)}-{file_part(load)}"


def ecdf_plot(cells: Sequence[Cell]) -> Drawn:
    """Distributions under one condition: a panel per requested duration, a line per arm, x logarithmic.

    Of sleeps: the time they took. Of wake-ups on absolute schedules: their lateness.
    """
    scheduled = is_scheduled(cells[0].key.load)
    figure, panels = _panels(cells)
    for axes, requested_ns, own in panels:
        _ecdf_panel(axes, requested_ns, own, scheduled)
        if _is_leftmost(axes):
            axes.set_ylabel("wake-ups no later" if scheduled else "sleeps no longer than this", fontsize=SMALL)
        if _is_lowest(axes, panels):
            axes.set_xlabel("lateness" if scheduled else "time the sleep took", fontsize=SMALL)
    _legend(figure, panels, cells, "how late wake-ups came" if scheduled else "how long sleeps took")
    what = "share of wake-ups no later than a time" if scheduled else "share of sleeps that took at most a time"
    return Drawn(figure, _alt(cells, what, (0.5, 0.99)))


def percentile_plot(cells: Sequence[Cell]) -> Drawn:
    """Percentiles under one condition: x as many nines as the samples hold, y what is past the time asked for."""
    measure = _measure(cells)
    figure, panels = _panels(cells)
    for axes, requested_ns, own in panels:
        _percentile_panel(axes, requested_ns, own)
        if _is_leftmost(axes):
            axes.set_ylabel(f"{measure} at most", fontsize=SMALL)
        if _is_lowest(axes, panels):
            axes.set_xlabel("percentile", fontsize=SMALL)
    _legend(figure, panels, cells, f"{measure} by percentile")
    return Drawn(figure, _alt(cells, f"{measure} by percentile, as far as the samples reach", (0.5, 0.99, 0.999)))


Panels = list[tuple[Axes, int, list[Cell]]]


def _panels(cells: Sequence[Cell]) -> tuple[Figure, Panels]:
    durations = sorted({cell.key.requested_ns for cell in cells})
    arms = len({cell.key.arm for cell in cells})
    figure, grid = panels(len(durations), 3.3, 0, 2.7, 0.9 + 0.19 * -(-arms // 4))
    return figure, [
        (axes, each, [cell for cell in cells if cell.key.requested_ns == each])
        for axes, each in zip(grid.flat, durations, strict=False)
    ]


def _is_leftmost(axes: Axes) -> bool:
    place = axes.get_subplotspec()
    return place is not None and place.is_first_col()


def _is_lowest(axes: Axes, panels: Panels) -> bool:
    """Whether no panel is below this one."""
    places = [each.get_subplotspec() for each, _, _ in panels]
    own = axes.get_subplotspec()
    return own is not None and not any(
        place is not None and place.colspan == own.colspan and place.rowspan.start > own.rowspan.start
        for place in places
    )


def _legend(figure: Figure, panels: Panels, cells: Sequence[Cell], what: str) -> None:
    known: dict[str, Artist] = {}
    for axes, _, _ in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    columns = 4 if len(known) > 5 else 5
    legend_above(figure, list(known.values()), f"{condition_title(cells[0].condition)}: {what}", columns)


def _style(cell: Cell, position: int, cells: Sequence[Cell]) -> dict[str, Any]:
    arm, arms = cell.key.arm, [each.key.arm for each in cells]
    if not strong(arm, arms):
        return {"color": colour(arm), "linestyle": dash(arm), "linewidth": 1.0, "alpha": 0.55, "zorder": 1.5}
    # Where arms coincide, as stock and usleep must, the ones drawn before show on both sides of the later.
    width = 3.2 - 1.8 * position / max(len(cells) - 1, 1)
    return {"color": colour(arm), "linestyle": dash(arm), "linewidth": width}


def _ecdf_panel(axes: Axes, requested_ns: int, cells: Sequence[Cell], scheduled: bool) -> None:
    if not scheduled:
        axes.axvline(requested_ns, color=FAINT, linewidth=1, linestyle=":", label="asked for")
    shown = {cell.key.arm: _late(cell) if scheduled else cell.ordered for cell in cells}
    for position, cell in enumerate(cells):
        values = _thinned(shown[cell.key.arm])
        style = _style(cell, position, cells)
        axes.ecdf(values, label=cell.key.arm, **style)
    low = min(int(values[0]) for values in shown.values())
    low = low if scheduled else min(requested_ns, low)
    # The last hundredth is for the percentiles to show: here it would press all else to the left.
    high = max(quantile(values, _SHOWN) for values in shown.values())
    margin = max((high / low) ** 0.03, 1.001)
    axes.set(xscale="log", xlim=(low / margin, high * margin), ylim=(0, 1.02))
    _title(axes, requested_ns)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    duration_ticks(axes, "x", nice_ticks(low, high * margin))


def _percentile_panel(axes: Axes, requested_ns: int, cells: Sequence[Cell]) -> None:
    most = max(cell.ordered.size for cell in cells)
    low, high = float("inf"), 0.0
    for position, cell in enumerate(cells):
        late = _late(cell)
        places = np.linspace(0, np.log10(2 * late.size), _PERCENTILE_POINTS)
        ranks = np.minimum((1 - 10.0**-places) * late.size, late.size - 1).astype(np.int64)
        style = _style(cell, position, cells)
        axes.plot(places, late[ranks], label=cell.key.arm, **style)
        low, high = min(low, float(late[0])), max(high, float(late[-1]))
    axes.set(yscale="log", xlim=(0, np.log10(2 * most)), ylim=(low / 1.2, high * 1.2))
    ticks = {-np.log10(1 - share): label for share, label in _NINES.items() if 1 / (1 - share) < 2.01 * most}
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_major_formatter(FixedFormatter(list(ticks.values())))
    axes.xaxis.set_minor_locator(NullLocator())
    duration_ticks(axes, "y", nice_ticks(low / 1.2, high * 1.2))
    _title(axes, requested_ns)


def _title(axes: Axes, requested_ns: int) -> None:
    axes.set_title(f"asked for {asked(requested_ns)}", fontsize=10)
    dress(axes)


def _late(cell: Cell) -> NDArray[np.int64]:
    return np.maximum(cell.ordered - cell.key.requested_ns, _LEAST_NS)


def _thinned(ordered: NDArray[np.int64]) -> NDArray[np.float64]:
    """Enough of the ascending values for a line in a panel, the first and the last among them."""
    ranks = np.linspace(0, ordered.size - 1, min(ordered.size, _MOST_POINTS)).round().astype(np.int64)
    return ordered[ranks].astype(np.float64)


def _measure(cells: Sequence[Cell]) -> str:
    return "lateness" if is_scheduled(cells[0].key.load) else "overshoot"


def _alt(cells: Sequence[Cell], what: str, shares: Sequence[float]) -> str:
    """The figure in words; the percentiles named are those of the shortest sleeps, past the time asked for."""
    shortest = min(cell.key.requested_ns for cell in cells)
    named = [
        f"{cell.key.arm} " + ", ".join(format_ns(quantile(cell.ordered, share) - shortest) for share in shares)
        for cell in cells
        if cell.key.requested_ns == shortest and strong(cell.key.arm, [each.key.arm for each in cells])
    ]
    points = " and ".join(f"p{100 * share:.4g}" for share in shares)
    return (
        f"{condition_title(cells[0].condition)}: {what}, a line per arm, a panel per time asked for. "
        f"{_measure(cells)} at {asked(shortest)}, {points}: {'; '.join(named)}."
    )
