"""The model as a picture: over quotas and periods, how long a group stands still and how many sleeps that hits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from nanonap.lab.model.model import Prediction
from nanonap.lab.quota.limits import DEFAULT_PERIOD_NS, MIN_QUOTA_NS, Quota
from nanonap.lab.show.style import DPI, SMALL, dress, duration_ticks, headline, save, short

_PERIODS_NS = (5_000_000, 10_000_000, 20_000_000, 50_000_000, DEFAULT_PERIOD_NS)
# Okabe and Ito's, dark to light enough for lines.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_POINTS = 200
_TICKS_NS = tuple(round(ms * 1_000_000) for ms in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1_000))


def draw_predictions(predictions: Sequence[Prediction], path: Path) -> Path:
    """Write the plot of ``predictions`` as PNG. Raises OutputNotWritable, DiskFull."""
    footnote = "predicted, not measured: stall P − Q/m a period, hit with the probability 1 − Q/(mP)"
    return save(prediction_plot(predictions), path, footnote)


def prediction_plot(predictions: Sequence[Prediction]) -> Figure:
    """Left the stall by quota, a line per period; right the share of sleeps hit, a line per number of busy threads.

    What was asked for is marked; lines for the usual periods show what another one would change.
    """
    figure = Figure(figsize=(10.4, 4.6), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    busy = sorted({each.busy for each in predictions if each.busy}) or [1]
    marked = [each for each in predictions if each.throttled]
    _stalls(left, predictions, marked, busy[-1])
    _hits(right, marked, busy)
    for axes in (left, right):
        axes.set_xlabel("quota, in percent of one CPU", fontsize=SMALL)
        axes.xaxis.set_major_formatter(PercentFormatter(100))
        axes.set_xlim(0, 100 * busy[-1])
        dress(axes)
    return figure


def _stalls(axes: Axes, predictions: Sequence[Prediction], marked: Sequence[Prediction], busy: int) -> None:
    asked = {each.quota.period_ns for each in predictions}
    for number, period_ns in enumerate(sorted({*_PERIODS_NS, *asked}, reverse=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        quotas = np.linspace(min(MIN_QUOTA_NS, period_ns), busy * period_ns, _POINTS)
        stalls = [_stall(round(quota), period_ns, busy) for quota in quotas]
        axes.plot(quotas * 100 / period_ns, stalls, color=colour, linewidth=1.8, label=f"period {short(period_ns)}")
        own = [each for each in marked if each.quota.period_ns == period_ns and each.busy == busy]
        _mark(axes, [_percent(each) for each in own], [each.stall_ns for each in own], colour)
    axes.set_yscale("log")
    longest = max(*_PERIODS_NS, *asked)
    axes.set_ylim(150_000, longest * 1.3)
    duration_ticks(axes, "y", [tick for tick in _TICKS_NS if tick <= longest])
    headline(axes, f"Stall in each period, {_threads(busy)}")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=SMALL)


def _hits(axes: Axes, marked: Sequence[Prediction], busy: Sequence[int]) -> None:
    for number, count in enumerate(busy):
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot([0, 100 * count], [1, 0], color=colour, linewidth=1.8, label=_threads(count))
        own = [each for each in marked if each.busy == count]
        _mark(axes, [_percent(each) for each in own], [each.hit_probability for each in own], colour)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    headline(axes, "Sleeps that end in a stall, any period")
    axes.legend(frameon=False, loc="upper right", fontsize=SMALL)


def _mark(axes: Axes, x: Sequence[float], y: Sequence[float], colour: str) -> None:
    (points,) = axes.plot(x, y, "o", color=colour, markersize=7, clip_on=False)
    points.set_in_layout(False)  # else room is made for those at the edge


def _stall(quota_ns: int, period_ns: int, busy: int) -> float:
    stall = Prediction(Quota(quota_ns, period_ns), busy, busy).stall
    return float(stall) if stall else float("nan")


def _percent(each: Prediction) -> float:
    return (each.quota.quota_ns or 0) * 100 / each.quota.period_ns


def _threads(count: int) -> str:
    return f"{count} busy thread{'s' if count > 1 else ''} at once"
