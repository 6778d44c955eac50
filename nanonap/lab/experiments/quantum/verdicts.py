"""What the runs with and without a quantum say: CPU time against stock, and the lateness that it costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.kit.base import Outcome, Verdict
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, ratio_of
from nanonap.lab.plan.arms import UPSTREAM
from nanonap.lab.show.style import DPI, SMALL, dash, dress, short
from nanonap.lab.show.style import colour as arm_colour
from nanonap.lab.show.tables import Section, Table

MOST_CPU = 1.5
_LONE, _FEW, _MANY = "quiet", "sleepers:10", "sleepers:50"
_TITLES = {
    _LONE: "A lone sleeper of 100 µs",
    _FEW: "10 sleepers of 1 ms, 20 µs apart",
    _MANY: "50 sleepers of 1 ms, 20 µs apart",
}
_PLAIN, _DENSE = "#0072B2", "#D55E00"
#: A lone sleeper has kept its precision where the median of its lateness grew by no more than this.
_KEPT_WITHIN = 1.25


@dataclass(frozen=True)
class Rounding:
    """An arm and how it rounds: None for stock and for upstream's, 0 for none; ``dense_ns`` as in the data."""

    arm: str
    quantum_ns: int | None
    dense_ns: int | None

    @property
    def quantum(self) -> int:
        """0 for no quantum."""
        return self.quantum_ns or 0


def cpu_over_stock(data: pl.DataFrame, arm: str, load: str) -> Ratio | None:
    """CPU time per sleep over stock's, by blocks."""
    own, stock = _by_block(data, arm, load), _by_block(data, "stock", load)
    if own.height != stock.height:
        return None
    each = [(frame["cpu_ns"] / frame["sleeps"]).to_list() for frame in (own, stock)]
    return ratio_of(*each)


def late_over_none(data: pl.DataFrame, arm: str, load: str) -> Ratio | None:
    """Median lateness over that without a quantum, by blocks."""
    own, base = (_by_block(data, name, load)["late_p50_ns"].to_list() for name in (arm, "no quantum"))
    return ratio_of(own, base) if len(own) == len(base) else None


def enough(data: pl.DataFrame) -> Verdict:
    """G1: the least quantum that costs at most 1.5 × stock."""
    says = f"some quantum brings 50 sleepers out of step to at most {MOST_CPU:g} × stock's CPU time per sleep"
    found = [(row, cpu_over_stock(data, row.arm, _MANY)) for row in _arms(data) if row.quantum]
    within = [(row, ratio) for row, ratio in found if ratio is not None and ratio.within(0, MOST_CPU)]
    parts = [_cost(data, row.arm, ratio) for row, ratio in found if ratio is not None]
    if not within:
        undecided = any(ratio is None or ratio.within(0, MOST_CPU) is None for _, ratio in found)
        outcome: Outcome = "not settled" if undecided else "refuted"
        return Verdict("G1", says, outcome, "; ".join([*parts, TOO_FEW] if undecided else parts))
    row, ratio = min(within, key=lambda pair: (pair[0].quantum, pair[0].dense_ns is not None))
    figures = {"arm": row.arm, "quantum_ns": row.quantum, "cpu_over_stock": ratio.to_json()}
    return Verdict("G1", says, "holds", f"the smallest is {_cost(data, row.arm, ratio)}", figures)


def _cost(data: pl.DataFrame, arm: str, ratio: Ratio) -> str:
    late = _mean(data, arm, _MANY, "late_p50_ns"), _mean(data, arm, _MANY, "late_p99_ns")
    return f"{arm}: {ratio} the CPU, late by {format_ns(late[0])} at the median, {format_ns(late[1])} at p99"


def serves_both(data: pl.DataFrame) -> Verdict:
    """G2: whether a dense one leaves a lone sleeper alone."""
    says = "a quantum for dense deadlines only leaves a lone sleeper of 100 µs its precision, a plain one does not"
    told: list[str] = []
    kept: dict[bool, list[bool | None]] = {True: [], False: []}
    for row in _arms(data):
        if not row.quantum or row.quantum <= 100_000:
            continue
        ratio = late_over_none(data, row.arm, _LONE)
        kept[row.dense_ns is not None].append(None if ratio is None else ratio.within(0, _KEPT_WITHIN))
        told.append(f"{row.arm}: {ratio}")
    if None in kept[True] + kept[False] or not kept[True]:
        return Verdict("G2", says, "not settled", "; ".join([*told, TOO_FEW]))
    outcome: Outcome = "holds" if all(kept[True]) and not any(kept[False]) else "refuted"
    if outcome == "refuted" and any(kept[True]):
        outcome = "holds in part"
    return Verdict("G2", says, outcome, f"median lateness over that without a quantum: {'; '.join(told)}")


def tables(data: pl.DataFrame) -> list[Table]:
    """Of each load, one row per arm: CPU time, wake-ups, lateness."""
    columns = ("quantum", "CPU/sleep", "× stock", "wake-ups/s", "epoll/s", "late p50", "late p99")
    made = []
    for load, title in _TITLES.items():
        rows = []
        for row in _arms(data):
            own = data.filter(pl.col("arm") == row.arm, pl.col("load") == load)
            ratio = cpu_over_stock(data, row.arm, load)
            epoll = own["epoll_per_second"].drop_nulls()
            rows.append(
                [
                    row.arm,
                    format_ns(_sum(own, "cpu_ns") / _sum(own, "sleeps")),
                    "1" if row.arm == "stock" else str(ratio or "–"),
                    f"{_sum(own, 'nvcsw') / (_sum(own, 'wall_ns') / 1e9):,.0f}",
                    f"{float(epoll[0]):,.0f}" if epoll.len() else "–",
                    format_ns(_mean(data, row.arm, load, "late_p50_ns")),
                    format_ns(_mean(data, row.arm, load, "late_p99_ns")),
                ]
            )
        made.append(Table(title, columns, [Section("", rows)], [_NOTE]))
    return made


_NOTE = (
    "All but stock and upstream are patched with netpoll and 1 ns slack. A wait shorter than the quantum lasts the "
    "quantum; dense: only waits shorter than 32.8 µs do. upstream: the runtime that Go's own developers plan, with the "
    "machine's timer slack and with 1 ns. late: the mean over runs of each run's quantile."
)


def picture(data: pl.DataFrame) -> Figure:
    """Over the quantum: CPU time per sleep against stock, epoll calls, and lateness, of 50 sleepers and of one."""
    figure = Figure(figsize=(9.6, 6.6), dpi=DPI, layout="constrained")
    cpu, calls, many, lone = figure.subplots(2, 2).flat
    for dense, colour in ((False, _PLAIN), (True, _DENSE)):
        chosen = [row for row in _arms(data) if row.quantum and (row.dense_ns is not None) == dense]
        label = "dense deadlines only" if dense else "any wait shorter than the quantum"
        chosen = [Rounding("no quantum", 0, None), *chosen]
        quanta = [row.quantum for row in chosen]
        ratios = [cpu_over_stock(data, row.arm, _MANY) for row in chosen]
        _line(cpu, quanta, [each.value if each else None for each in ratios], colour, "o-", label)
        for quantum_ns, ratio in zip(quanta, ratios, strict=True):
            if ratio is not None and ratio.interval:
                cpu.plot([quantum_ns] * 2, ratio.interval, color=colour, linewidth=1)
        epoll = [_first(data, row.arm, "epoll_per_second") for row in chosen]
        _line(calls, quanta, epoll, colour, "o-", label)
        for axes, load in ((many, _MANY), (lone, _LONE)):
            for name, style in (("late_p50_ns", "o-"), ("late_p99_ns", "o:")):
                values = [_mean(data, row.arm, load, name) for row in chosen]
                _line(axes, quanta, values, colour, style, "")
    for arm in (each for each in UPSTREAM if each in set(data["arm"])):
        ratio = cpu_over_stock(data, arm, _MANY)
        heights = [(cpu, ratio.value if ratio else None), (calls, _first(data, arm, "epoll_per_second"))]
        heights += [(axes, _mean(data, arm, load, "late_p50_ns")) for axes, load in ((many, _MANY), (lone, _LONE))]
        for axes, height in heights:
            if height is not None:
                axes.axhline(height, color=arm_colour(arm), linestyle=dash(arm), linewidth=1, label=arm)
    cpu.axhline(1, color="black", linewidth=1)
    cpu.axhline(MOST_CPU, color="black", linewidth=1, linestyle=":")
    cpu.set_title("CPU time per sleep, × stock (50 sleepers)", fontsize=10)
    cpu.set_ylim(bottom=0)
    calls.axhline(_first(data, "stock", "epoll_per_second") or 0, color="black", linewidth=1)
    calls.set_title("epoll calls per second (50 sleepers; line: stock)", fontsize=10)
    calls.set_ylim(bottom=0)
    for axes, load in ((many, _MANY), (lone, _LONE)):
        axes.axhline(_mean(data, "stock", load, "late_p50_ns"), color="black", linewidth=1)
        axes.set_title(
            f"late: {_TITLES[load][0].lower()}{_TITLES[load][1:]} (dotted: p99; line: stock p50)", fontsize=10
        )
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.set_ylim(bottom=0)
    for axes in (cpu, calls, many, lone):
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        dress(axes)
    for axes in (many, lone):
        axes.set_xlabel("quantum", fontsize=SMALL)
    cpu.legend(frameon=False, fontsize=SMALL)
    figure.suptitle("What a quantum saves, and how late sleeps end for it", fontsize=12, fontweight="bold")
    return figure


def _line(
    axes: Axes, quanta: Sequence[int], values: Sequence[float | None], colour: str, style: str, label: str
) -> None:
    known = [(quantum_ns, value) for quantum_ns, value in zip(quanta, values, strict=True) if value is not None]
    axes.plot(*zip(*known, strict=True), style, color=colour, markersize=4, label=label) if known else None


def _arms(data: pl.DataFrame) -> list[Rounding]:
    """Arms in the order of a reader: stock, upstream's, no quantum, then by quantum, plain before dense."""
    rows = data.select("arm", "quantum_ns", "dense_ns").unique().with_columns(rival=pl.col("arm") != "stock")
    ordered = rows.sort("dense_ns", "quantum_ns", "rival", "arm", nulls_last=False)
    return [Rounding(*row) for row in ordered.drop("rival").iter_rows()]


def _by_block(data: pl.DataFrame, arm: str, load: str) -> pl.DataFrame:
    return data.filter(pl.col("arm") == arm, pl.col("load") == load).sort("block")


def _mean(data: pl.DataFrame, arm: str, load: str, column: str) -> float:
    value = _by_block(data, arm, load)[column].mean()
    return float(value) if isinstance(value, int | float) else 0.0


def _sum(data: pl.DataFrame, column: str) -> int:
    return int(data[column].sum())


def _first(data: pl.DataFrame, arm: str, column: str) -> float | None:
    values = _by_block(data, arm, _MANY)[column].drop_nulls()
    return float(values[0]) if values.len() else None
