"""What the runs of ``small-quotas`` say: patched against stock, measure by measure, quota by quota."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from nanonap.base.durations import asked
from nanonap.lab.experiments.kit.base import Outcome, Verdict
from nanonap.lab.experiments.kit.counted import share_cell
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, ratio_by_block
from nanonap.lab.quota.limits import parse_quota
from nanonap.lab.show.style import DPI, FAINT, SMALL, colour, dash, dress
from nanonap.lab.show.tables import NONE, Section, Table

#: (mode, column, what it is, whether more of it is better).
MEASURES = (
    ("time", "sleeps", "sleeps in the same time", True),
    ("time", "mean_ns", "mean sleep", False),
    ("time", "p50_ns", "p50", False),
    ("time", "p99_ns", "p99", False),
    ("count", "wall_ns", "time for the same number", False),
    ("count", "throttled_ns", "throttled time for the same number", False),
)
#: What is worse or better by less is not said to be.
LEAST_EFFECT = 1.05


@dataclass(frozen=True)
class Compared:
    """A measure of an arm over stock's at a quota and a duration; ``worse`` None where the runs do not settle it."""

    quota: str
    requested_ns: int
    arm: str
    mode: str
    column: str
    what: str
    ratio: Ratio
    worse: bool | None
    better: bool | None


def compared(data: pl.DataFrame) -> list[Compared]:
    """Every measure that has a base.

    One is worse or better if it is by LEAST_EFFECT with the whole of an interval that is corrected for the number of an
    arm's measures: some of many would be by chance. It is not worse if its 95 % interval ends before LEAST_EFFECT:
    that nothing is worse must be shown of each, so chance does not add up there.
    """
    found = []
    tests = _measures(data)
    for quota, requested_ns, arm in _cells(data):
        for mode, column, what, more_is_better in MEASURES:
            which = {"mode": mode, "quota": quota, "requested_ns": requested_ns, "arm": arm}
            ratio = ratio_by_block(data, column, which, {**which, "arm": "stock"})
            if ratio is None:
                continue
            up, down = _beyond(ratio, tests)
            worse, better = (down, up) if more_is_better else (up, down)
            found.append(Compared(quota, requested_ns, arm, mode, column, what, ratio, worse, better))
    return found


def _measures(data: pl.DataFrame) -> int:
    """Of an arm: at each quota and duration."""
    return len(MEASURES) * max(data.select("quota", "requested_ns").n_unique(), 1)


def _beyond(ratio: Ratio, tests: int) -> tuple[bool | None, bool | None]:
    """Whether it is above 1 by LEAST_EFFECT, and whether below; None where that is not settled."""
    bounds, sure = ratio.interval, ratio.corrected(tests)
    up = None if bounds is None or bounds[1] >= LEAST_EFFECT else False
    down = None if bounds is None or bounds[0] <= 1 / LEAST_EFFECT else False
    if sure is not None:
        up, down = sure[0] >= LEAST_EFFECT or up, sure[1] <= 1 / LEAST_EFFECT or down
    return up, down


def _cells(data: pl.DataFrame) -> Iterator[tuple[str, int, str]]:
    cells = data.filter(pl.col("arm") != "stock").select("quota", "requested_ns", "arm").unique().rows()
    yield from sorted(cells, key=lambda cell: (cell[1], *_by_quota(cell[0]), cell[2]))


def _by_quota(quota: str) -> tuple[float]:
    parsed = parse_quota(quota)
    return ((parsed.quota_ns or 0) / parsed.period_ns,)


def verdicts(data: pl.DataFrame) -> list[Verdict]:
    """One verdict per arm: holds if nothing is worse anywhere, refuted if something is and nothing is better."""
    every = compared(data)
    arms = list(dict.fromkeys(each.arm for each in every))
    if not arms:
        says = "the patch makes sleeps worse at no quota"
        return [Verdict("small quotas", says, "cannot be tested here", "no data of a patched and a stock program")]
    return [_verdict(arm, [each for each in every if each.arm == arm]) for arm in arms]


def _verdict(arm: str, every: Sequence[Compared]) -> Verdict:
    says = f"{arm} makes sleeps worse at no quota, by no measure"
    worse, better = [each for each in every if each.worse], [each for each in every if each.better]
    open_ones = [each for each in every if each.worse is None]
    if worse:
        outcome: Outcome = "holds in part" if better else "refuted"
    else:
        outcome = "not settled" if open_ones else "holds"
    sentence = f"worse: {_listed(worse) or 'nowhere'}. Better: {_listed(better, short=True) or 'nowhere'}"
    if open_ones:
        sentence += f". {len(open_ones)} of {len(every)} measures are not settled" + ("" if worse else f"; {TOO_FEW}")
    figures = {
        name: [
            {"quota": each.quota, "requested_ns": each.requested_ns, "measure": each.what, **each.ratio.to_json()}
            for each in chosen
        ]
        for name, chosen in (("worse", worse), ("better", better))
    }
    return Verdict(f"small quotas, {arm}", says, outcome, sentence, figures)


def _listed(chosen: Sequence[Compared], *, short: bool = False) -> str:
    grouped: dict[tuple[str, int], list[str]] = {}
    for each in chosen:
        value = f"{each.ratio.value:.2f}" if short else str(each.ratio)
        grouped.setdefault((each.quota, each.requested_ns), []).append(f"{each.what} {value}")
    return "; ".join(f"{quota}, {asked(wanted)}: {', '.join(parts)}" for (quota, wanted), parts in grouped.items())


def tables(data: pl.DataFrame) -> list[Table]:
    """Of each duration: ratios to stock, and how much of its periods a process was throttled in."""
    every = compared(data)
    return [_table(data, every, requested_ns) for requested_ns in sorted(data["requested_ns"].unique().to_list())]


def _table(data: pl.DataFrame, found: Sequence[Compared], requested_ns: int) -> Table:
    here = data.filter(pl.col("requested_ns") == requested_ns)
    chosen = [each for each in found if each.requested_ns == requested_ns]
    every = {(each.quota, each.arm, each.mode, each.column): each for each in chosen}
    sections = []
    for quota in sorted(here["quota"].unique().to_list(), key=_by_quota):
        rows = []
        for arm in here["arm"].unique(maintain_order=True).sort(descending=True).to_list():
            cells = [_cell(every.get((quota, arm, mode, column))) for mode, column, _, _ in MEASURES]
            if arm == "stock":
                cells = ["1"] * len(MEASURES)
            shares = [_throttled(here, quota, arm, mode) for mode in ("time", "count")]
            rows.append([arm, *cells[:4], shares[0], *cells[4:], shares[1]])
        sections.append(Section(f"{quota} of a CPU", rows))
    notes = [
        f"× stock: over stock's of the same blocks. A + is better and a − worse by {LEAST_EFFECT - 1:.0%} or more",
        f"with the whole interval at 1 − 0.05/{_measures(data)}: corrected for an arm's {_measures(data)} measures.",
        "same time: as many sleeps as fit. same number: time and throttled time for it. thr.: periods with a stop.",
    ]
    columns = ("× stock", "sleeps", "mean", "p50", "p99", "thr.", "time, same n", "throttled", "thr.")
    return Table(f"Sleeps of {asked(requested_ns)} under small quotas", columns, sections, notes)


def _cell(each: Compared | None) -> str:
    if each is None:
        return NONE
    mark = " +" if each.better else " −" if each.worse else ""
    return f"{each.ratio.value:.3g}{mark}"


def _throttled(data: pl.DataFrame, quota: str, arm: str, mode: str) -> str:
    runs = data.filter(pl.col("quota") == quota, pl.col("arm") == arm, pl.col("mode") == mode)
    return share_cell(runs)


def picture(data: pl.DataFrame) -> Figure | None:
    """Mean and p99 over stock's by quota, one panel per duration."""
    every = [each for each in compared(data) if each.column in ("mean_ns", "p99_ns")]
    if not every:
        return None
    durations = sorted({each.requested_ns for each in every})
    figure = Figure(figsize=(max(7.6, 4.6 * len(durations)), 4.2), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(durations), squeeze=False, sharey=True)
    for axes, requested_ns in zip(panels.flat, durations, strict=True):
        _panel(axes, [each for each in every if each.requested_ns == requested_ns])
        axes.set_title(f"sleeps of {asked(requested_ns)}", loc="left", fontsize=10)
    panels.flat[0].set_ylabel("over stock's (below 1: better)", fontsize=SMALL)
    panels.flat[0].legend(frameon=False, fontsize=SMALL)
    figure.suptitle("Patched against stock where CPU time is short", fontsize=11, fontweight="bold")
    return figure


def _panel(axes: Axes, every: Sequence[Compared]) -> None:
    quotas = sorted({each.quota for each in every}, key=_by_quota)
    for arm in dict.fromkeys(each.arm for each in every):
        for column, name, marker in (("mean_ns", "mean", "o"), ("p99_ns", "p99", "s")):
            chosen = [each for each in every if each.arm == arm and each.column == column]
            places = [100 * _by_quota(each.quota)[0] for each in chosen]
            values = [each.ratio.value for each in chosen]
            bounds = [each.ratio.interval or [each.ratio.value] * 2 for each in chosen]
            errors = [[max(0.0, value - low) for value, (low, _) in zip(values, bounds, strict=True)],
                      [max(0.0, high - value) for value, (_, high) in zip(values, bounds, strict=True)]]  # fmt: skip
            fill = colour(arm) if column == "mean_ns" else "#D55E00"
            axes.errorbar(places, values, yerr=errors, marker=marker, capsize=3, color=fill, linestyle=dash(arm),
                          label=f"{arm}, {name}")  # fmt: skip
    axes.axhline(1, color=FAINT, linewidth=1, linestyle=":")
    axes.set(xscale="log", yscale="log")
    ticks = [100 * _by_quota(quota)[0] for quota in quotas]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels(quotas)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} ×"))
    axes.set_xlabel("quota, of one CPU", fontsize=SMALL)
    dress(axes)
