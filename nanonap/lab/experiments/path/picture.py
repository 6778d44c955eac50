"""One sleep of 100 µs, from the request to running again: goroutine, thread and system call, stock above patched."""

from dataclasses import dataclass

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from nanonap.base.durations import asked, format_ns
from nanonap.lab.experiments.path.shown import CALL, FIRED, GOROUTINE, MOMENT, SET, THREAD
from nanonap.lab.show.style import DPI, FOOTNOTE, GRID, SMALL, short

ARMS = ("stock", "netpoll+slack1")
_LANES = (GOROUTINE, THREAD, CALL)
_BAR = 0.72
_RUNS, _READY, _RESTS, _CALLS, _DEADLINE = "#009E73", "#E69F00", "#d9d9d9", "#0072B2", "#D55E00"
_COLOURS = {"Running": _RUNS, "running": _RUNS, "Runnable": _READY, "waiting": _READY}
#: What each lane's rests are called in a bar that has room for it.
_WORDS = {"blocked": "blocked", "stuck": "blocked", "waiting": "waits for a CPU", "running": "runs"}
#: A letter takes about this share of a panel of full width.
_LETTER = 0.0085
_BEFORE_NS, _AFTER_NS = 12_000, 16_000
#: A sleep up to this is enlarged as a whole, of a longer one this much of its end.
_WHOLE_NS, _END_NS = 260_000, 130_000
#: From one line of words above the lanes to the next.
_LINE = 0.37


@dataclass(frozen=True)
class _Sleep:
    """A sleep's rows, and what they say."""

    arm: str
    rows: pl.DataFrame

    @property
    def requested_ns(self) -> int:
        return int(self.rows["requested_ns"][0])

    @property
    def actual_ns(self) -> int:
        return int(self.rows["actual_ns"][0])

    def parts(self, lane: str) -> list[tuple[str, int, int]]:
        """(name, begin, end) of a lane."""
        return list(self.rows.filter(pl.col("lane") == lane).select("name", "begin_ns", "end_ns").iter_rows())

    @property
    def call(self) -> tuple[str, int, int]:
        return self.parts(CALL)[0]

    def moment(self, name: str) -> int | None:
        return next((begin for each, begin, _ in self.parts(MOMENT) if each == name), None)

    def moments(self) -> list[tuple[int, str]]:
        """The stages in their order, with the words for them."""
        name, begin_ns, end_ns = self.call
        rests = [begin for label, begin, _ in self.parts(GOROUTINE) if label.startswith(("Waiting", "Syscall"))]
        parked = next((begin for begin in rests if 0 <= begin < self.actual_ns), None)
        fired = self.moment(FIRED)
        runs = [begin for label, begin, _ in self.parts(THREAD) if label == "running" and begin >= (fired or 0)]
        found = [
            (0, "request"),
            (parked, "goroutine parks"),
            (begin_ns, f"enters {name.partition('(')[0]}"),
            (self.moment(SET), "timer set for"),
            (fired, "timer fires"),
            (runs[0] if runs else None, "thread has a CPU"),
            (end_ns, "call returns"),
            (self.actual_ns, "goroutine runs"),
        ]
        return sorted((ns, words) for ns, words in found if ns is not None)


def picture(data: pl.DataFrame) -> Figure | None:
    """Two sleeps on one axis, and below it their short stages enlarged. None where none was recorded whole."""
    spans = data.filter(pl.col("kind") == "span")
    sleeps = [_Sleep(arm, spans.filter(pl.col("arm") == arm)) for arm in ARMS]
    if any(not each.rows.height for each in sleeps):
        return None
    stock, patched = sleeps
    ends = [(-_BEFORE_NS, each.actual_ns + _AFTER_NS) for each in sleeps]
    zooms = [(low if high - low <= _WHOLE_NS else high - _END_NS, high) for low, high in ends]
    figure = Figure(figsize=(11.0, 9.6), dpi=DPI, layout="constrained")
    rows = figure.add_gridspec(3, 1, height_ratios=(1.0, 1.0, 1.9))
    whole = (-_BEFORE_NS, max(high for _, high in ends) + _AFTER_NS)
    for row, each in enumerate(sleeps):
        axes = figure.add_subplot(rows[row])
        _draw(axes, each, whole, 1.0)
        _plain(axes, each)
        if each is patched:  # beside a short sleep there is room
            axes.legend(handles=_legend(), loc="center right", frameon=False, fontsize=SMALL)
    widths = [high - low for low, high in zooms]
    below = rows[2].subgridspec(1, 2, width_ratios=widths)
    most = max(len(_named(each, zoom)) for each, zoom in zip(sleeps, zooms, strict=True))
    for column, (each, zoom) in enumerate(zip(sleeps, zooms, strict=True)):
        axes = figure.add_subplot(below[column])
        _draw(axes, each, zoom, sum(widths) / widths[column])
        _stages(axes, _named(each, zoom), zoom, most)
        part = "the end" if zoom[0] > -_BEFORE_NS else "the whole"
        axes.set_title(f"{each.arm}: {part}, enlarged", fontsize=10, loc="left", fontweight="bold")
        if column:
            axes.set_yticklabels([])
    figure.suptitle(_title(stock, patched), fontsize=12, fontweight="bold")
    return figure


def _title(stock: _Sleep, patched: _Sleep) -> str:
    calls = [f"{each.call[0].replace('(', ' for ').rstrip(')')}" for each in (stock, patched)]
    return f"A sleep of {asked(stock.requested_ns)}: stock waits in {calls[0]}, patched in {calls[1]}"


def _draw(axes: Axes, sleep: _Sleep, limits: tuple[int, int], narrower: float) -> None:
    """The lanes, top to bottom; ``narrower``: how many such panels would make the full width."""
    width = limits[1] - limits[0]
    for row, lane in enumerate(_LANES):
        for name, begin_ns, end_ns in sleep.parts(lane):
            begin, end = max(begin_ns, limits[0]), min(end_ns, limits[1])
            if begin >= end:
                continue
            colour = _CALLS if lane == CALL else _COLOURS.get(name, _RESTS)
            axes.barh(row, end - begin, _BAR, begin, color=colour, edgecolor="white", linewidth=0.5)
            words = name if lane != THREAD else _WORDS.get(name, name)
            dark = colour in (_CALLS, _RUNS)
            if len(words) * _LETTER * narrower < (end - begin) / width:
                at = (begin + end) / 2
                axes.text(at, row, words, ha="center", va="center", fontsize=SMALL, color="w" if dark else "k")
            elif lane == CALL and narrower == 1.0:
                axes.text(
                    max(end, sleep.actual_ns) + width * 0.008,
                    row,
                    words,
                    ha="left",
                    va="center",
                    fontsize=SMALL,
                    color=_CALLS,
                )
    axes.axvline(sleep.requested_ns, color=_DEADLINE, linestyle="--", linewidth=1.4)
    axes.axvline(sleep.actual_ns, color="black", linewidth=1.2)
    axes.set_xlim(*limits)
    axes.set_ylim(len(_LANES) - 0.5, -0.6)
    axes.set_yticks(range(len(_LANES)), list(_LANES), fontsize=SMALL)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(True, axis="x", color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _plain(axes: Axes, sleep: _Sleep) -> None:
    """What a panel at full scale says: its title has the length, the lines their names."""
    title = f"{sleep.arm}: runs again after {format_ns(sleep.actual_ns)}"
    axes.set_title(title, fontsize=10, loc="left", fontweight="bold", pad=20)
    axes.set_xlabel(
        "since the request; both sleeps to one scale, recorded under tracing", fontsize=SMALL, color=FOOTNOTE
    )
    late = format_ns(sleep.actual_ns - sleep.requested_ns)
    for at, words, colour, side in (
        (sleep.requested_ns, "deadline ", _DEADLINE, "right"),
        (sleep.actual_ns, f" runs, {late} late", "black", "left"),
    ):
        right = side == "left" and at > sum(axes.get_xlim()) * 0.75
        text = f"{words.strip()} " if right else words
        axes.text(at, -0.62, text, ha="right" if right else side, va="bottom", fontsize=SMALL, color=colour)


def _named(sleep: _Sleep, limits: tuple[int, int]) -> list[tuple[int, str, str]]:
    """(moment, words, colour) of the stages in a panel, the deadline among them, in their order."""
    found = [*((ns, words, "black") for ns, words in sleep.moments()), (sleep.requested_ns, "deadline", _DEADLINE)]
    return sorted(each for each in found if limits[0] <= each[0] <= limits[1])


def _stages(axes: Axes, shown: list[tuple[int, str, str]], limits: tuple[int, int], lines: int) -> None:
    """The moments by name above the lanes, each on a line of its own: to the right of early ones, else to the left."""
    middle = limits[0] + 0.55 * (limits[1] - limits[0])
    early = [each for each in shown if each[0] <= middle]
    top = -0.75 - _LINE * lines
    # Words cross as few of the others' lines as can be: early ones step down, late ones up.
    for number, (ns, words, colour) in enumerate([*early, *reversed(shown[len(early) :])]):
        level = top + _LINE * (number + 0.5)
        axes.plot([ns, ns], [level, len(_LANES) - 0.5], color=colour, linewidth=0.7)
        left = ns <= middle
        text = f"{words} {short(round(ns, -3))}"
        shift = (5 if left else -5, 0)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        axes.annotate(
            text, (ns, level), shift, textcoords="offset points", ha="left" if left else "right", va="center",
            fontsize=8, color=colour, bbox=box, zorder=5,
        )  # fmt: skip
    axes.set_ylim(len(_LANES) - 0.5, top)
    axes.set_xlabel("since the request", fontsize=SMALL, color=FOOTNOTE)


def _legend() -> list[Patch]:
    return [
        Patch(color=_RUNS, label="runs"),
        Patch(color=_READY, label="ready: waits for a thread, or a CPU"),
        Patch(color=_RESTS, label="waits for the timer"),
        Patch(color=_CALLS, label="in the system call"),
        Patch(color=_DEADLINE, label="deadline"),
    ]
