"""The picture of the experiment ``minimum``: actual over requested for each way to sleep, and σ."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from nanonap.lab.experiments.minimum import verdicts
from nanonap.lab.experiments.minimum.samples import STEADY, STRATEGIES, arms_there, by_run, chosen, requested
from nanonap.lab.show.style import DPI, SMALL, colour, dress, duration_ticks, legend_above, short
from nanonap.lab.stats.resampling import quantile

_TITLES = {
    "stock": "stock",
    "usleep": "usleep (time.Sleep does not call it)",
    "sleep": "sleep (clock_nanosleep)",
    "netpoll": "netpoll (epoll_pwait2)",
    "floor": "floor (the raw system call)",
}
_CLAIM, _EQUAL = "#D55E00", "#777777"
#: Behind words that lie on lines.
_PLATE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
_TICKS = (1e3, 1e4, 1e5, 1e6, 5e6)


def picture(data: pl.DataFrame) -> Figure:
    """One panel per strategy at both timer slacks, and one with every σ."""
    figure = Figure(figsize=(9.6, 6.6), dpi=DPI, layout="constrained")
    panels = list(figure.subplots(2, 3, sharex=True).flat)
    durations = requested(data, STEADY)
    for axes in panels:
        _frame(axes, durations)
    for axes, strategy in zip(panels, STRATEGIES, strict=False):
        _actual(axes, data, strategy, durations)
        _claims(axes, strategy)
    limits = [end for axes in panels[:5] for end in axes.get_ylim()]
    for axes in panels[:5]:
        axes.set_ylim(min(limits), max(limits))
    _sigma(panels[5], data, durations)
    for axes in (panels[0], panels[3]):
        axes.set_ylabel("actual", fontsize=SMALL)
    for axes in panels[3:]:
        axes.set_xlabel("requested", fontsize=SMALL)
    legend_above(figure, _handles(), "What a sleep takes: as built, patched, and in the kernel", 6, size=8)
    return figure


def _handles() -> list[Artist]:
    return [
        Line2D([], [], color="black", marker="o", markersize=3, label="median, the machine's timer slack"),
        Line2D([], [], color="black", marker="o", markersize=3, linestyle="--", label="median, 1 ns slack"),
        Patch(color="black", alpha=0.2, linewidth=0, label="p1 to p99"),
        Line2D([], [], color="black", marker="_", markersize=8, linestyle="", label="minimum"),
        Line2D([], [], color=_CLAIM, marker="X", markersize=7, label="claimed"),
        Line2D([], [], color=_EQUAL, linestyle=":", label="actual = requested"),
    ]


def _actual(axes: Axes, data: pl.DataFrame, strategy: str, durations: Sequence[int]) -> None:
    axes.plot([durations[0], durations[-1]], [durations[0], durations[-1]], ":", color=_EQUAL, linewidth=1.2)
    for arm, style in ((strategy, "-"), (f"{strategy}+slack1", "--")):
        found = [(each, _pooled(data, arm, each)) for each in durations]
        known = [(each, pooled) for each, pooled in found if pooled.size]
        if not known:
            continue
        x = [each for each, _ in known]
        low, middle, high = ([quantile(pooled, q) for _, pooled in known] for q in (0.01, 0.5, 0.99))
        axes.fill_between(x, low, high, color=colour(arm), alpha=0.15, linewidth=0)
        axes.plot(x, middle, f"{style}o", color=colour(arm), markersize=3, linewidth=1.4)
        axes.plot(x, [int(pooled[0]) for _, pooled in known], "_", color=colour(arm), markersize=7)
    axes.set_title(_TITLES[strategy], fontsize=9)


def _claims(axes: Axes, strategy: str) -> None:
    if strategy == "stock":
        axes.axhspan(
            verdicts.CLAIMED_LEAST_NS - verdicts.CLAIMED_LEAST_SIGMA_NS,
            verdicts.CLAIMED_LEAST_NS + verdicts.CLAIMED_LEAST_SIGMA_NS,
            color=_CLAIM,
            alpha=0.12,
            linewidth=0,
        )
        axes.axhline(verdicts.CLAIMED_LEAST_NS, color=_CLAIM, linewidth=1)
        words = f"claimed: ≥ {short(verdicts.CLAIMED_LEAST_NS)}, ± {short(verdicts.CLAIMED_LEAST_SIGMA_NS)}"
        axes.text(0.03, 0.9, words, transform=axes.transAxes, color=_CLAIM, fontsize=8, bbox=_PLATE)
    if strategy == "sleep":
        axes.plot(verdicts.ASKED_NS, verdicts.CLAIMED_NS, "X", color=_CLAIM, markersize=8, zorder=5)
        axes.annotate(
            f"claimed: {short(verdicts.CLAIMED_NS)} ± {short(verdicts.CLAIMED_SIGMA_NS)}",
            (verdicts.ASKED_NS, verdicts.CLAIMED_NS),
            (0.98, 0.38),
            textcoords="axes fraction",
            ha="right",
            color=_CLAIM,
            fontsize=8,
        )


def _sigma(axes: Axes, data: pl.DataFrame, durations: Sequence[int]) -> None:
    for arm in arms_there(data):
        known = [(each, _pooled(data, arm, each)) for each in durations]
        points = [(each, float(pooled.std(ddof=1))) for each, pooled in known if pooled.size > 1]
        if points:
            style = "--" if arm.endswith("+slack1") else "-"
            axes.plot(*zip(*points, strict=True), style, color=colour(arm), linewidth=1.2)
    for claimed_ns in (verdicts.CLAIMED_LEAST_SIGMA_NS, verdicts.CLAIMED_SIGMA_NS):
        axes.axhline(claimed_ns, color=_CLAIM, linewidth=1)
        axes.text(
            durations[0], claimed_ns * 1.08, f"claimed: {short(claimed_ns)}", color=_CLAIM, fontsize=8, bbox=_PLATE
        )
    axes.set_title("σ of each, in the colours of the panels", fontsize=9)


def _frame(axes: Axes, durations: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda _value, _: ""))
    axes.tick_params(labelbottom=True)
    dress(axes)
    duration_ticks(axes, "x", [each for each in _TICKS if durations[0] <= each <= durations[-1]])
    axes.set_axisbelow(True)


def _pooled(data: pl.DataFrame, arm: str, requested_ns: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    runs = by_run(chosen(data, STEADY, arm, requested_ns))
    return np.sort(np.concatenate(runs)) if runs else np.empty(0, dtype=np.int64)
