"""Each run's median by its block: whether the machine changed while it was measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from nanonap.base.durations import asked, format_ns
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
from nanonap.lab.stats.control import Control

_LEAST_NS = 1_000
_HICCUP = "block in which the idle control was late"


def drift_plot(cells: Sequence[Cell], control: Control | None) -> Drawn | None:
    """A panel per requested duration: the overshoot of each run's median, by block; a line per arm.

    ``control`` is the summary's: blocks with hiccups are marked. None where no arm has two runs.
    """
    known = [cell for cell in cells if len(cell.by_run) > 1]
    if not known:
        return None
    durations = sorted({cell.key.requested_ns for cell in known})
    arms = list(dict.fromkeys(cell.key.arm for cell in known))
    figure, grid = panels(len(durations), 3.3, 0, 2.1, 0.9 + 0.19 * -(-len(arms) // 4), sharex=True)
    for axes, each in zip(grid.flat, durations, strict=False):
        _panel(axes, [cell for cell in known if cell.key.requested_ns == each], arms, control.blocks if control else [])
        axes.set_title(f"asked for {asked(each)}", fontsize=10)
    for axes in grid[:, 0]:
        axes.set_ylabel("overshoot of a run's median", fontsize=8)
    for axes in grid[-1, :]:
        axes.set_xlabel("block", fontsize=SMALL)
    handles, _ = grid.flat[0].get_legend_handles_labels()
    legend_above(figure, handles, f"Run by run: {condition_title(known[0].condition)}", 4)
    return Drawn(figure, _alt(known, arms, control))


def _panel(axes: Axes, cells: Sequence[Cell], arms: Sequence[str], hiccups: Sequence[int]) -> None:
    for number, block in enumerate(hiccups):
        axes.axvline(block, color=FAINT, linewidth=3, alpha=0.3, label=_HICCUP if number == 0 else None, zorder=1)
    ends = []
    for cell in cells:
        arm = cell.key.arm
        late = np.maximum(cell.run_medians - cell.key.requested_ns, _LEAST_NS)
        blocks = [block for block, _ in cell.by_run]
        look: dict[str, Any] = {"linewidth": 1.3} if strong(arm, arms) else {"linewidth": 0.8, "alpha": 0.4}
        axes.plot(blocks, late, label=arm, color=colour(arm), linestyle=dash(arm), marker=".", markersize=3, **look)
        ends += [float(late.min()), float(late.max())]
    low, high = min(ends) / 1.15, max(ends) * 1.15
    axes.set(yscale="log", ylim=(low, high))
    duration_ticks(axes, "y", nice_ticks(low, high))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    dress(axes)


def _alt(cells: Sequence[Cell], arms: Sequence[str], control: Control | None) -> str:
    shortest = min(cell.key.requested_ns for cell in cells)
    named = [
        f"{cell.key.arm} {format_ns(cell.run_medians.min())} to {format_ns(cell.run_medians.max())}"
        for cell in cells
        if cell.key.requested_ns == shortest and strong(cell.key.arm, arms)
    ]
    late = (
        f" The idle control was late in blocks {', '.join(map(str, control.blocks))}."
        if (control and control.blocks)
        else ""
    )
    return (
        f"The median of each run by its block, {condition_title(cells[0].condition)}: a line that climbs or falls is "
        f"drift. The runs' medians at {asked(shortest)}: {'; '.join(named)}.{late}"
    )
