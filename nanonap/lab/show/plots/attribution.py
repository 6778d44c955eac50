"""Two plots: what late wake-ups are made of, and one second of a process as a time line."""

from collections.abc import Mapping, Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from nanonap.base.durations import format_ns
from nanonap.lab.attribution.attribute import Attribution
from nanonap.lab.attribution.path import Part
from nanonap.lab.show.plots.picture import Drawn
from nanonap.lab.show.style import DPI, FAINT, SMALL, legend_above, short

LABELS = {
    Part.GRANULARITY: "timer",
    Part.THROTTLED: "throttled",
    Part.RUNQUEUE: "run queue",
    Part.GOSCHEDULER: "Go scheduler",
    Part.UNEXPLAINED: "unexplained",
}
# Okabe and Ito's palette, told apart in any colour vision.
COLOURS = {
    Part.GRANULARITY: "#56B4E9",
    Part.THROTTLED: "#D55E00",
    Part.RUNQUEUE: "#F0E442",
    Part.GOSCHEDULER: "#009E73",
    Part.UNEXPLAINED: "#BBBBBB",
}
_ON_CPU, _ASLEEP, _LATE = "#0072B2", "#DDDDDD", "#CC79A7"
_STATES = {
    "running": _ON_CPU,
    "throttled": COLOURS[Part.THROTTLED],
    "runqueue": COLOURS[Part.RUNQUEUE],
    "unexplained": COLOURS[Part.UNEXPLAINED],
}
SECOND_NS = 1_000_000_000
_BAR = 0.62


def explained_plots(sleeps: pl.DataFrame, states: pl.DataFrame) -> dict[str, Drawn | None]:
    """``attribution``: a bar for each arm and condition; ``timeline``: the second in which stock lost most."""
    names = sleeps.select("arm", "quota", "load").unique(maintain_order=True)
    ordered = names.sort(pl.col("quota") != "none", "quota", pl.col("load") != "quiet", "load", "arm").rows()
    bars = {f"{quota}, {load}: {arm}": _of(sleeps, arm, quota, load) for arm, quota, load in ordered}
    title = "How late sleeps end, and where that time went"
    plots: dict[str, Drawn | None] = {"attribution": Drawn(parts_plot(bars, title), _parts_alt(bars))}
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
        plots["timeline"] = Drawn(timeline_plot(one, title), alt)
    return plots


def _parts_alt(bars: dict[str, pl.DataFrame]) -> str:
    said = []
    for name, frame in bars.items():
        parts = [(LABELS[part], float(frame[f"{part.value}_ns"].sum()) / max(frame.height, 1)) for part in Part]
        named = ", ".join(f"{label} {format_ns(mean)}" for label, mean in parts if mean)
        said.append(f"{name}: {named or 'nothing'}")
    return f"Mean time late by arm and condition, and its parts. {'; '.join(said)}."


def _of(frame: pl.DataFrame, arm: str, quota: str, load: str) -> pl.DataFrame:
    return frame.filter((pl.col("arm") == arm) & (pl.col("quota") == quota) & (pl.col("load") == load))


def parts_plot(rows: Mapping[str, pl.DataFrame], title: str) -> Figure:
    """A bar per name: the mean overshoot of its sleeps (frames with the columns of ``Attribution.sleeps``) in parts."""
    figure = Figure(figsize=(8.4, 0.42 * len(rows) + 2.0), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    draw_parts(axes, rows)
    legend_above(figure, part_handles(), title, len(Part))
    return figure


def draw_parts(axes: Axes, rows: Mapping[str, pl.DataFrame]) -> None:
    """The bars of ``parts_plot``."""
    names = list(rows)
    before = [0.0] * len(names)
    for part in Part:
        means = [_mean(rows[name], f"{part.value}_ns") for name in names]
        axes.barh(names, means, left=before, color=COLOURS[part], height=_BAR, edgecolor="white", linewidth=0.5)
        before = [sum(pair) for pair in zip(before, means, strict=True)]
    for name, total in zip(names, before, strict=True):
        text = f"{format_ns(total)}, n = {rows[name].height:,}"
        axes.annotate(text, (total, name), (4, 0), textcoords="offset points", va="center", fontsize=SMALL)
    axes.invert_yaxis()
    axes.set_xlim(0, max(before, default=0) * 1.25 or 1)
    axes.set_xlabel("mean time late", fontsize=SMALL)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)


def _mean(frame: pl.DataFrame, column: str) -> float:
    return float(frame[column].sum()) / max(frame.height, 1)


def timeline_plot(attribution: Attribution, title: str) -> Figure:
    """One second of a run, where most time was lost: sleeps and threads."""
    start_ns = latest_second(attribution.sleeps)
    threads = _busy_threads(attribution.states, start_ns)
    figure = Figure(figsize=(10.0, 0.34 * (len(threads) + 1) + 2.1), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    draw_timeline(axes, attribution.sleeps, attribution.states, start_ns)
    handles = [*timeline_handles(), *part_handles((Part.THROTTLED, Part.RUNQUEUE))]
    legend_above(figure, handles, title, len(handles))
    return figure


def timeline_handles() -> list[Patch]:
    """What a time line shows beside the parts."""
    colours = {"sleep, as asked for": _ASLEEP, "late": _LATE, "thread runs": _ON_CPU}
    return [Patch(color=colour, label=label) for label, colour in colours.items()]


def part_handles(parts: Sequence[Part] = tuple(Part)) -> list[Patch]:
    """The colours of the parts."""
    return [Patch(color=COLOURS[part], label=LABELS[part]) for part in parts]


def draw_timeline(axes: Axes, sleeps: pl.DataFrame, states: pl.DataFrame, start_ns: int) -> None:
    """A row for the sleeps of the first sleeper, and one for each thread that ran or waited in that second."""
    first = sleeps.filter(pl.col("sleeper") == sleeps["sleeper"].min()) if sleeps.height else sleeps
    deadline, end = pl.col("start_ns") + pl.col("requested_ns"), pl.col("start_ns") + pl.col("actual_ns")
    asked = first.select("start_ns", deadline.alias("end_ns"))
    late = first.select(deadline.alias("start_ns"), end.alias("end_ns"))
    _spans(axes, 0, asked, start_ns, _ASLEEP)
    _spans(axes, 0, late, start_ns, _LATE)
    threads = _busy_threads(states, start_ns)
    for row, tid in enumerate(threads, 1):
        axes.axhline(row, color="#eeeeee", linewidth=1, zorder=0)
        for state, colour in _STATES.items():
            mine = states.filter((pl.col("tid") == tid) & (pl.col("state") == state))
            # What runs for less than a pixel is to be seen; what waits so shortly is not to hide what runs.
            _spans(axes, row, mine, start_ns, colour, edge=0.4 if state == "running" else 0.0)
    axes.set_yticks(range(len(threads) + 1), ["sleeps", *(f"thread {row}" for row in range(1, len(threads) + 1))])
    axes.set_ylim(len(threads) + 0.6, -0.6)
    axes.set_xlim(0, min(SECOND_NS, _last(first, states) - start_ns) or SECOND_NS)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_xlabel("time", fontsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)
    if not threads:
        text = "what the threads did was not recorded"
        axes.annotate(text, (0.5, 0.15), xycoords="axes fraction", ha="center", color=FAINT, fontsize=SMALL)


def _last(sleeps: pl.DataFrame, states: pl.DataFrame) -> int:
    """When the last sleep or state ended; 0 where there is none."""
    ends = [*(sleeps["start_ns"] + sleeps["actual_ns"]), *states["end_ns"]]
    return max(ends, default=0)


def latest_second(sleeps: pl.DataFrame) -> int:
    """The beginning of the second in which the sleeps lost most time, of those that begin with a sleep."""
    if not sleeps.height:
        return 0
    ordered = sleeps.sort("start_ns")
    found = ordered.rolling("start_ns", period=f"{SECOND_NS}i", offset="-1i").agg(pl.col("overshoot_ns").sum())
    return int(found.sort("overshoot_ns", descending=True)["start_ns"][0])


def _busy_threads(states: pl.DataFrame, start_ns: int) -> list[int]:
    """The threads that run or wait in that second, the busiest first."""
    end_ns = start_ns + SECOND_NS
    inside = states.filter(
        pl.col("state").is_in(list(_STATES)) & (pl.col("end_ns") > start_ns) & (pl.col("start_ns") < end_ns)
    )
    length = pl.min_horizontal("end_ns", pl.lit(end_ns)) - pl.max_horizontal("start_ns", pl.lit(start_ns))
    totals = inside.group_by("tid").agg(length.sum().alias("total")).sort("total", "tid", descending=[True, False])
    return totals["tid"].to_list()


def _spans(axes: Axes, row: int, spans: pl.DataFrame, start_ns: int, colour: str, edge: float = 0.0) -> None:
    inside = spans.filter((pl.col("end_ns") > start_ns) & (pl.col("start_ns") < start_ns + SECOND_NS))
    begin = inside["start_ns"] - start_ns
    pairs = list(zip(begin.to_list(), (inside["end_ns"] - inside["start_ns"]).to_list(), strict=True))
    axes.broken_barh(pairs, (row - _BAR / 2, _BAR), facecolors=colour, edgecolors=colour, linewidth=edge)
