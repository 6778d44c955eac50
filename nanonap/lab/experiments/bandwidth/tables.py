"""Tables and the picture of ``bandwidth``."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.bandwidth.read import at_once, changes, count_all, nested_shares, refusals, trials
from nanonap.lab.experiments.kit.ratios import cell
from nanonap.lab.show.style import DPI, FAINT, SMALL, dress
from nanonap.lab.show.tables import NONE, Section, Table

_BLACK, _BLUE, _ORANGE = "#000000", "#0072B2", "#D55E00"
_MS = 1e6


def change_table(data: pl.DataFrame) -> Table:
    """One row per pair of quotas."""
    rows = []
    for before, after in _pairs(data, "change"):
        found = changes(data, before)
        times = [format_ns(float(np.mean([getattr(each, name) for each in found]))) if found else NONE for name in
                 ("left_ns", "used_ns", "at_once_ns", "later_ns")]  # fmt: skip
        rows.append([f"{before} → {after}", str(len(found)), *times, cell(at_once(found), ".2f")])
    notes = [
        "From the write to the end of its period: time left; CPU time used; what it would be if the new quota "
        "counted at once, or later.",
        "effect: 1 at once, 0 from the next period on.",
    ]
    columns = ("quota changed in mid-period", "n", "left", "used", "at once", "later", "effect")
    return Table("When a new quota counts", columns, [Section("", rows)], notes)


def nested_table(data: pl.DataFrame) -> Table:
    """One row per pair."""
    shares = nested_shares(data)
    refused = {(child, parent): name for child, parent, name in refusals(data)}
    rows = []
    for pair in _pairs(data, "nested"):
        share = shares.get(pair)
        rows.append([f"{pair[0]} in {pair[1]}", cell(share, ".0%") if share else f"refused: {refused.get(pair, NONE)}"])
    columns = ("child in parent", "child's share of a CPU")
    return Table("A group in a group: two busy threads in the child", columns, [Section("", rows)])


def count_table(data: pl.DataFrame) -> Table:
    """One row per load."""
    rows = [
        [
            f"{row.scene}, {row.quota}",
            str(row.trials),
            cell(row.counted, ".0%"),
            f"{row.throttled:.0%}",
            cell(row.used, ".0%"),
        ]
        for row in count_all(data)
    ]
    notes = ["nr_periods: of the periods that passed. nr_throttled: of nr_periods. used: of one CPU."]
    columns = ("load, quota", "n", "nr_periods", "nr_throttled", "used")
    return Table("What the counters count", columns, [Section("", rows)], notes)


def _pairs(data: pl.DataFrame, scene: str) -> list[tuple[str, str]]:
    chosen = data.filter(pl.col("scene") == scene).select("quota", "other_quota").unique(maintain_order=True)
    return [(quota, other) for quota, other in chosen.iter_rows()]


def picture(data: pl.DataFrame) -> Figure | None:
    """CPU time used around each change, one panel per pair of quotas, one line per trial."""
    pairs = [pair for pair in _pairs(data, "change") if changes(data, pair[0])]
    if not pairs:
        return None
    figure = Figure(figsize=(8.8, 4.0), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(pairs), squeeze=False, sharey=True)
    for axes, (before, after) in zip(panels.flat, pairs, strict=True):
        _panel(axes, data, before, after)
    panels.flat[0].set_ylabel("CPU time used since the period began, ms", fontsize=SMALL)
    panels.flat[0].legend(loc="upper left", frameon=False, fontsize=SMALL)
    figure.suptitle("A quota changed in the middle of a period", fontsize=11, fontweight="bold")
    return figure


def _panel(axes: Axes, data: pl.DataFrame, before: str, after: str) -> None:
    for number, trial in enumerate(trials(data, "change", before)):
        times = (trial["monotonic_ns"] - trial["written_ns"]).to_numpy() / _MS
        begun = np.interp((trial["begun_ns"][0] - trial["written_ns"][0]) / _MS, times, trial["used_ns"].to_numpy())
        axes.plot(times, (trial["used_ns"].to_numpy() - begun) / _MS, color=_BLACK, linewidth=0.8, alpha=0.6,
                  label="measured, one line per trial" if number == 0 else None)  # fmt: skip
    found = changes(data, before)
    left, at_write = float(np.mean([each.left_ns for each in found])), _used_before(data, before)
    for name, colour, label in (("at_once_ns", _BLUE, "if it counts at once"), ("later_ns", _ORANGE, "if it waits")):
        rise = float(np.mean([getattr(each, name) for each in found]))
        bend = min(rise, left)
        points = ([0, bend / _MS, left / _MS], [at_write, at_write + rise / _MS, at_write + rise / _MS])
        axes.plot(*points, color=colour, linewidth=2.2, linestyle="--", label=label)
    axes.axvline(0, color=FAINT, linewidth=1, linestyle=":")
    axes.axvline(left / _MS, color=FAINT, linewidth=1, linestyle=":")
    top = axes.get_xaxis_transform()
    axes.text(1, 1.0, "written", transform=top, fontsize=8, color="#555555", va="bottom", ha="center")
    axes.text(left / _MS, 1.0, "period's end", transform=top, fontsize=8, color="#555555", va="bottom", ha="center")
    axes.set(xlim=(-45, left / _MS + 25), ylim=(-4, 125))
    axes.set_title(f"from {before} to {after}", loc="left", fontsize=10, pad=16)
    axes.set_xlabel("time from the write, ms", fontsize=SMALL)
    dress(axes)


def _used_before(data: pl.DataFrame, quota: str) -> float:
    """CPU time used in the period up to the write, ms, the mean over trials."""
    used = []
    for trial in trials(data, "change", quota):
        moments = [trial["begun_ns"][0], trial["written_ns"][0]]
        begun, written = np.interp(moments, trial["monotonic_ns"].to_numpy(), trial["used_ns"].to_numpy())
        used.append((written - begun) / _MS)
    return float(np.mean(used))
