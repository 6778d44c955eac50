"""The picture of the experiment ``live``: ratios of medians, and how long a process stood still."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from nanonap.base.durations import asked
from nanonap.lab.experiments.live.verdicts import GOALS, SAME, THREADS, durations, pauses_of, ratio_of
from nanonap.lab.judge.verdicts.rivals import EQUIVALENT_WITHIN
from nanonap.lab.show.style import DPI, SMALL, dress, headline, short

_COLOURS = ("#0072B2", "#D55E00")


def picture(data: pl.DataFrame) -> Figure:
    """Left the ratios with their intervals; right the share of the changes that were no longer than that."""
    figure = Figure(figsize=(9.6, 4.2), dpi=DPI, layout="constrained")
    same, stood = figure.subplots(1, 2)
    every = durations(data)
    same.axhspan(1 - EQUIVALENT_WITHIN, 1 + EQUIVALENT_WITHIN, color="#009E73", alpha=0.15, linewidth=0)
    same.axhline(1, color="black", linewidth=1)
    for (arm, base), colour, aside in zip(SAME, _COLOURS, (-0.1, 0.1), strict=True):
        found = [(place + aside, ratio_of(data, arm, base, each)) for place, each in enumerate(every)]
        known = [(place, ratio) for place, ratio in found if ratio is not None]
        places, values = [place for place, _ in known], [ratio.value for _, ratio in known]
        same.plot(places, values, "o", color=colour, label=f"{arm} / {base}")
        for place, ratio in known:
            same.plot([place] * 2, ratio.interval or [ratio.value] * 2, color=colour, linewidth=1.5)
    same.set_xticks(range(len(every)), [asked(each) for each in every])
    headline(same, "Medians, one over the other")
    for threads, colour in zip(THREADS, _COLOURS, strict=True):
        runs = pauses_of(data, threads)
        if runs:
            pauses = np.sort(np.concatenate(runs))
            shares = np.arange(1, pauses.size + 1) / pauses.size
            stood.step(pauses, shares, where="post", color=colour, label=f"{threads:,} threads")
        for _, q, most_ns in (each for each in GOALS if each[0] == threads):
            stood.plot(most_ns, q, "X", color=colour, markersize=8, label=f"at most {short(most_ns)} at p{100 * q:g}")
    stood.set_xscale("log")
    stood.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    stood.yaxis.set_major_formatter(PercentFormatter(1.0))
    headline(stood, "A process stands still for at most")
    for axes in (same, stood):
        dress(axes, labels=SMALL)
        axes.legend(frameon=False, fontsize=8, loc="best")
    return figure
