"""Tables and the picture of ``dilation``."""

import polars as pl
from matplotlib.figure import Figure

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.dilation.verdicts import go_run_ratios, loads_of, sleep_ratios
from nanonap.lab.experiments.kit.ratios import cell, ratio_by_block
from nanonap.lab.model.model import predict
from nanonap.lab.plan.conditions import parse_load
from nanonap.lab.quota.limits import parse_quota
from nanonap.lab.show.style import DPI, FAINT, SMALL, dress, headline
from nanonap.lab.show.tables import NONE, Section, Table

_CLAIMED = 2.0


def sleep_table(data: pl.DataFrame) -> Table:
    """One row per load."""
    rows = []
    for load, ratio in sleep_ratios(data).items():
        limited = data.filter(pl.col("part") == "sleep", pl.col("load") == load, pl.col("quota") == "50%")
        late = (limited["elapsed_ns"] - limited["requested_ns"]).to_numpy()
        rows.append([load, str(limited.height), cell(ratio), format_ns(int(late.max())), format_ns(_stall_ns(load))])
    sections = [Section("time.Sleep", rows)]
    for part, names in (("gosched", ("elapsed_ns", "iterations")),):
        which = {"part": part, "quota": "50%"}
        count = data.filter(pl.col("part") == part, pl.col("quota") == "50%").height
        found = [ratio_by_block(data, name, which, {**which, "quota": "none"}) for name in names]
        labels = ("time of the loop", "rounds of the loop")
        if count:
            loop = [[label, str(count), cell(each), NONE, NONE] for label, each in zip(labels, found, strict=True)]
            sections.append(Section("a loop of runtime.Gosched()", loop))
    runs = []
    whole, own = go_run_ratios(data, "whole_ns"), go_run_ratios(data, "elapsed_ns")
    for kind in loads_of(data, "go run"):
        count = data.filter(pl.col("part") == "go run", pl.col("load") == kind, pl.col("quota") == "50%").height
        runs.append([f"{kind}: command", str(count), cell(whole[kind]), NONE, NONE])
        runs.append([f"{kind}: its sleep", str(count), cell(own[kind]), NONE, NONE])
    if runs:
        sections.append(Section("go run", runs))
    notes = [
        "Ratios of means over runs, of the same blocks, with 95 % intervals.",
        "late at most: beyond what was asked, under the quota. stall: P − Q/n of the model, one stall's length.",
    ]
    columns = ("under 50 % every 100 ms", "n", "× without quota", "late at most", "stall")
    return Table("How much longer it takes under the quota", columns, sections, notes)


def _stall_ns(load_text: str) -> int:
    return predict(parse_quota("50%"), parse_load(load_text).count, gomaxprocs=None).stall_ns


def stat_table(data: pl.DataFrame) -> Table:
    """The counters of the run's own group, and those that are not its own."""
    limited = data.filter(pl.col("quota") == "50%", pl.col("nr_periods").is_not_null())
    rows = []
    for (part, load), found in limited.group_by(["part", "load"], maintain_order=True):
        periods = f"{_mean(found, 'nr_throttled')} of {_mean(found, 'nr_periods')}"
        times = (_most(found, name) for name in ("throttled_ns", "parent_throttled_ns", "root_throttled_ns"))
        rows.append([f"{part}, {load}", periods, *times])
    notes = [
        "Periods: throttled of active, the mean per run, start of the process included. Times: the largest of a run.",
        "above, topmost: by how much throttled time grew in the cpu.stat of the group above and of the topmost one.",
    ]
    columns = ("run", "periods", "throttled", "above", "topmost")
    return Table("cpu.stat: the run's own group, and the wrong ones", columns, [Section("", rows)], notes)


def _mean(data: pl.DataFrame, column: str) -> str:
    return f"{data[column].to_numpy().mean():.3g}"


def _most(data: pl.DataFrame, column: str) -> str:
    values = data[column].drop_nulls().to_list()
    return format_ns(max(values)) if values else NONE


def picture(data: pl.DataFrame) -> Figure | None:
    """A dot with its interval for each ratio of the sleep, and of ``go run``; lines at once and twice."""
    points = [(f"sleep, {load}", ratio) for load, ratio in sleep_ratios(data).items()]
    points += [(f"go run, {kind}", ratio) for kind, ratio in go_run_ratios(data, "whole_ns").items()]
    drawn = [(name, ratio) for name, ratio in points if ratio is not None]
    if not drawn:
        return None
    figure = Figure(figsize=(7.6, 0.42 * len(drawn) + 1.8), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for place, (name, ratio) in enumerate(drawn):
        low, high = ratio.interval or (ratio.value, ratio.value)
        colour = "#D55E00" if name.startswith("go") else "#000000"
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot([ratio.value], [place], marker="o", color=colour)
        text = f"{ratio.value:.3f} ×"
        axes.annotate(text, (high, place), (8, 0), textcoords="offset points", va="center", fontsize=SMALL)
    axes.axvline(1, color=FAINT, linewidth=1, linestyle=":")
    axes.axvline(_CLAIMED, color=FAINT, linewidth=1, linestyle="--")
    axes.annotate("claimed", (_CLAIMED, 1), (4, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
                  va="top", fontsize=SMALL, color="#555555")  # fmt: skip
    axes.set_yticks(range(len(drawn)), [name for name, _ in drawn])
    axes.set_ylim(len(drawn) - 0.4, -0.9)
    ends = [bound for _, ratio in drawn for bound in (ratio.interval or [ratio.value])]
    axes.set_xlim(min(0.9, *ends), max(2.4, *ends) * 1.08)
    axes.set_xlabel("time under 50 % of a CPU, over the same without quota", fontsize=SMALL)
    headline(axes, "Does a quota stretch sleeps?")
    dress(axes, "x", SMALL)
    return figure
