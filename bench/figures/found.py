"""Figures of what a bench found beside its measurements: where the time went, and the model beside the measured."""

from typing import Any

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.attribution.attribute import Attribution
from bench.attribution.path import Part
from bench.attribution.plots import LABELS, parts_figure, timeline_figure
from bench.conditions import load_label
from bench.figures.picture import Drawn
from bench.look import DPI, FAINT, GRID, SMALL, short
from nanonap.durations import format_ns

_PREDICTED, _MEASURED = "#0072B2", "#D55E00"


def explained_figures(sleeps: pl.DataFrame, states: pl.DataFrame) -> dict[str, Drawn | None]:
    """``attribution``: a bar for each arm and condition; ``timeline``: the second in which stock lost most."""
    names = sleeps.select("arm", "quota", "load").unique(maintain_order=True)
    ordered = names.sort(pl.col("quota") != "none", "quota", pl.col("load") != "quiet", "load", "arm").rows()
    bars = {f"{quota}, {load}: {arm}": _of(sleeps, arm, quota, load) for arm, quota, load in ordered}
    title = "How late sleeps end, and where that time went"
    figures: dict[str, Drawn | None] = {"attribution": Drawn(parts_figure(bars, title), _parts_alt(bars))}
    late = sleeps.filter(pl.col("arm") == "stock").group_by("quota", "load").agg(pl.col("overshoot_ns").sum())
    if late.height:
        quota, load, lost_ns = late.sort("overshoot_ns", descending=True).row(0)
        one = Attribution("", _of(sleeps, "stock", quota, load), _of(states, "stock", quota, load), None, 0)
        title = f"One second of stock, quota {quota}, load {load}"
        alt = (
            f"{title}: above what each sleep lasted as asked for and how long it was late, below when each thread ran, "
            f"waited for a CPU or was stopped by the quota. {one.sleeps.height} sleeps of this condition were late by "
            f"{format_ns(lost_ns)} together."
        )
        figures["timeline"] = Drawn(timeline_figure(one, title), alt)
    return figures


def _parts_alt(bars: dict[str, pl.DataFrame]) -> str:
    said = []
    for name, frame in bars.items():
        parts = [(LABELS[part], float(frame[f"{part.value}_ns"].sum()) / max(frame.height, 1)) for part in Part]
        named = ", ".join(f"{label} {format_ns(mean)}" for label, mean in parts if mean)
        said.append(f"{name}: {named or 'nothing'}")
    return f"Mean time late by arm and condition, and its parts. {'; '.join(said)}."


def _of(frame: pl.DataFrame, arm: str, quota: str, load: str) -> pl.DataFrame:
    return frame.filter((pl.col("arm") == arm) & (pl.col("quota") == quota) & (pl.col("load") == load))


def model_figure(rows: list[dict[str, Any]]) -> Drawn | None:
    """Of the summary's ``model``: predicted and measured stalls, a line a condition; None without both."""
    known = [row for row in rows if row["measured_stall_ns"] is not None]
    if not known:
        return None
    said = [
        f"quota {row['condition']['quota']}, {load_label(row['condition'])}: predicted {format_ns(row['stall_ns'])}, "
        f"measured {format_ns(row['measured_stall_ns'])}"
        for row in known
    ]
    return Drawn(_model_figure(known), f"How long the quota stops the group in a period. {'; '.join(said)}.")


def _model_figure(rows: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(8.4, 0.4 * len(rows) + 1.8), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    names = [f"{row['condition']['quota']}, {load_label(row['condition'])}" for row in rows]
    for place, row in enumerate(rows):
        low, high = row["predicted_stall_range_ns"]
        axes.plot((low, high), (place, place), color=_PREDICTED, linewidth=7, alpha=0.3, solid_capstyle="butt")
        if row["measured_stall_ci"]:
            axes.plot(row["measured_stall_ci"], (place, place), color=_MEASURED, linewidth=2)
    places = range(len(rows))
    axes.plot([row["stall_ns"] for row in rows], places, "|", color=_PREDICTED, markersize=13, label="predicted")
    axes.plot([row["measured_stall_ns"] for row in rows], places, "o", color=_MEASURED, label="measured, 95 % interval")
    for place, row in enumerate(rows):
        if row["outcome"] == "differs":
            point = (max(row["stall_ns"], row["measured_stall_ns"]), place)
            axes.annotate("differ", point, (9, 0), textcoords="offset points", va="center", color=FAINT, fontsize=SMALL)
    axes.set_yticks(places, names, fontsize=SMALL)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("stall in a period", fontsize=SMALL)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.tick_params(labelsize=SMALL)
    axes.grid(True, axis="x", color=GRID)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("How long the quota stops the group in a period", loc="left", fontsize=11, fontweight="bold")
    axes.legend(frameon=False, fontsize=SMALL, loc="best")
    return figure
