"""The model's stalls beside the measured ones, one line per condition."""

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from nanonap.base.durations import format_ns
from nanonap.lab.judge.beside_model import ModelRow
from nanonap.lab.show.plots.picture import Drawn
from nanonap.lab.show.style import DPI, FAINT, SMALL, dress, headline, short

_PREDICTED, _MEASURED = "#0072B2", "#D55E00"


def model_plot(rows: list[ModelRow]) -> Drawn | None:
    """Of the summary's ``model``: predicted and measured stalls, one line per condition; None without both."""
    known = [(row, measured_ns) for row in rows if (measured_ns := row.measured_stall_ns) is not None]
    if not known:
        return None
    said = [
        f"quota {row.condition.quota}, {row.condition.load_label}: predicted {format_ns(row.stall_ns)}, "
        f"measured {format_ns(measured_ns)}"
        for row, measured_ns in known
    ]
    return Drawn(_model_plot(known), f"How long the quota stops the group in a period. {'; '.join(said)}.")


def _model_plot(rows: list[tuple[ModelRow, float]]) -> Figure:
    figure = Figure(figsize=(8.4, 0.4 * len(rows) + 1.8), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    names = [f"{row.condition.quota}, {row.condition.load_label}" for row, _ in rows]
    for place, (row, _) in enumerate(rows):
        low, high = row.predicted_stall_range_ns
        axes.plot((low, high), (place, place), color=_PREDICTED, linewidth=7, alpha=0.3, solid_capstyle="butt")
        if row.measured_stall_ci:
            axes.plot(row.measured_stall_ci, (place, place), color=_MEASURED, linewidth=2)
    places = range(len(rows))
    axes.plot([row.stall_ns for row, _ in rows], places, "|", color=_PREDICTED, markersize=13, label="predicted")
    axes.plot([measured_ns for _, measured_ns in rows], places, "o", color=_MEASURED, label="measured, 95 % interval")
    for place, (row, measured_ns) in enumerate(rows):
        if row.outcome == "differs":
            point = (max(row.stall_ns, measured_ns), place)
            axes.annotate("differ", point, (9, 0), textcoords="offset points", va="center", color=FAINT, fontsize=SMALL)
    axes.set_yticks(places, names, fontsize=SMALL)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("stall in a period", fontsize=SMALL)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    dress(axes, "x", SMALL)
    headline(axes, "How long the quota stops the group in a period")
    axes.legend(frameon=False, fontsize=SMALL, loc="best")
    return figure
