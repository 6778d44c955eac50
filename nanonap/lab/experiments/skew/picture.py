"""The picture of ``skew``: of each arm the distribution of each stage, and the shares as bars."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nanonap.lab.experiments.skew import shares
from nanonap.lab.experiments.skew.rows import SLEEP
from nanonap.lab.experiments.skew.tables import arms_of, median
from nanonap.lab.show.style import DPI, FAINT, SMALL, dress, duration_ticks

#: Stages in the kernel: their column, their name, their colour (Okabe and Ito's). The last two are not known where the
#: switch was not seen.
_STAGES = (
    ("expiry_ns", "deadline → expiry", "#D55E00"),
    ("wakeup_ns", "expiry → wake-up", "#56B4E9"),
    ("running_ns", "wake-up → running", "#0072B2"),
    ("exit_ns", "running → end of the call", "#009E73"),
)
_BARS = ("#009E73", "#E69F00", "#D55E00")
_LEAST_NS, _MOST_NS = 100, 2_000_000


def picture(data: pl.DataFrame) -> Figure | None:
    """Distributions by arm above, shares as bars below."""
    arms = arms_of(data)
    if not arms:
        return None
    figure = Figure(figsize=(9.6, 8.6), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=[2.1, 1])
    above, below = (figure.add_subfigure(grid[row]) for row in (0, 1))
    panels = list(above.subplots(2, 3, sharex=True, sharey=True).flat)
    for axes, arm in zip(panels, arms, strict=False):
        _distributions(axes, data, arm)
    for axes in panels[len(arms) :]:
        axes.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    title = "share of wake-ups of which\na stage took at most …"
    panels[-1].legend(handles, labels, loc="center", fontsize=SMALL, frameon=False, title=title)
    above.suptitle(_headline(data), x=0.01, ha="left", fontsize=11, fontweight="bold")
    for axes, reading in zip(below.subplots(1, 2), (shares.FROM_EXPIRY, shares.FROM_DEADLINE), strict=True):
        _bars(axes, data, arms, reading)
    handles, labels = below.axes[0].get_legend_handles_labels()
    below.legend(handles, labels, loc="outside upper right", fontsize=SMALL, ncols=3, frameon=False)
    return figure


def _headline(data: pl.DataFrame) -> str:
    if not shares.is_covered(data, "stock"):
        whole, ended = shares.seen_whole(data, "stock")
        return f"Too few of stock's wake-ups were seen until the thread ran: {whole:,} of {ended:,}"
    short, long = (
        median(shares.delays(data, "stock", reading)["ns"]) for reading in (shares.FROM_EXPIRY, shares.FROM_DEADLINE)
    )
    return f"Stock's timers: {short} from expiry until the thread runs, {long} from the deadline (medians)"


def _distributions(axes: Axes, data: pl.DataFrame, arm: str) -> None:
    own = data.filter(pl.col("part") == SLEEP, pl.col("arm") == arm, pl.col("method") == shares.primary(data))
    covered = shares.is_covered(data, arm)
    for column, name, colour in _STAGES if covered else _STAGES[:2]:
        _steps(axes, own[column].drop_nulls(), colour, name, 1.3)
    if covered:
        _steps(axes, shares.delays(data, arm, shares.FROM_EXPIRY)["ns"], "#000000", shares.FROM_EXPIRY, 2.2)
    for edge in shares.EDGES:
        axes.axvline(edge, color=FAINT, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlim(_LEAST_NS, _MOST_NS)
    duration_ticks(axes, "x", (100, 1_000, 10_000, 50_000, 1_000_000))
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=8)
    axes.tick_params(labelbottom=True, labelleft=True)
    axes.set_title(arm, loc="left", fontsize=10)
    dress(axes)


def _steps(axes: Axes, values: pl.Series, colour: str, label: str, width: float) -> None:
    ordered = np.sort(values.to_numpy())
    share = np.arange(1, ordered.size + 1) / max(ordered.size, 1)
    axes.step(np.maximum(ordered, _LEAST_NS), share, where="post", color=colour, linewidth=width, label=label)


def _bars(axes: Axes, data: pl.DataFrame, arms: Sequence[str], reading: str) -> None:
    rows: list[tuple[str, Sequence[float]]] = [("claimed", shares.CLAIMED)]
    for arm in arms:
        found = shares.by_class(data, arm, reading)
        rows.append((arm, [share.value for share in found] if found else [0.0] * len(shares.CLASSES)))
    left = np.zeros(len(rows))
    for place, (name, colour) in enumerate(zip(shares.CLASSES, _BARS, strict=True)):
        widths = np.array([values[place] for _, values in rows])
        axes.barh(range(len(rows)), widths, left=left, color=colour, height=0.7, label=name)
        for row, (start, width) in enumerate(zip(left, widths, strict=True)):
            if width >= 0.08:
                axes.text(start + width / 2, row, f"{width:.0%}", ha="center", va="center", fontsize=8, color="white")
        left += widths
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=SMALL)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=8)
    axes.set_title(f"{reading}, with what recording costs", loc="left", fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
