"""The tables of sleeps as plain text cells, for the terminal, Markdown and HTML; the others build on their parts."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nanonap.base.durations import UNITS, asked, format_ns, parse_duration_ns
from nanonap.lab.judge.analysis import CellRow, Summary
from nanonap.lab.plan.conditions import is_apart
from nanonap.lab.store.runs import RunCondition

NONE = "–"


@dataclass(frozen=True)
class Section:
    """Rows under a heading (empty: none)."""

    heading: str
    rows: list[list[str]]


@dataclass(frozen=True)
class Table:
    """``notes`` explain the columns; the first column holds names, the others figures."""

    title: str
    columns: Sequence[str]
    sections: list[Section]
    notes: list[str] = field(default_factory=list)


def condition_title(condition: RunCondition) -> str:
    """A condition for a person."""
    kind, _, count = condition.load.partition(":")
    many = "" if count == "1" else "s"
    neighbours = {
        "burn": f"Beside {count} CPU burner{many}",
        "sibling": f"Beside a process with {count} CPU burner{many} in the same group",
        "gc": f"Beside {count} allocating goroutine{many}",
        "sleepers": f"{count} sleeper{many}, {'alone' if count == '1' else 'none in step'}",
        "aligned": f"{count} sleepers, all in step",
        "idle": "Idle",
    }.get(kind, "Quiet")
    processors = f", GOMAXPROCS {condition.gomaxprocs}" if condition.gomaxprocs_set else ""
    return f"{neighbours}, {_limit(condition)}{processors}"


def _limit(condition: RunCondition) -> str:
    """Its quota, and what is above it."""
    quota, inside = condition.quota, condition.inside
    above = f", {inside}" if inside else ""
    if quota == "none":
        return f"no quota of ours{above}" if inside else "no quota"
    limit, _, burst = quota.partition("+burst=")
    share, _, period = limit.partition("/")
    more = f", burst {burst}" if burst else ""
    return f"quota {share} of a CPU (period {asked(parse_duration_ns(period or '100ms'))}{more}){above}"


def short_condition(condition: RunCondition) -> str:
    """A condition in a few words: ``no quota, quiet``."""
    quota, inside = condition.quota, condition.inside
    none = "no quota of ours" if inside else "no quota"
    return f"{none if quota == 'none' else f'quota {quota}'}, {condition.load_label}"


def by_condition(summary: Summary) -> dict[tuple[str, str], list[CellRow]]:
    """The cells of the sleeping conditions, without the cost workload, grouped by (quota, load), in their order."""
    grouped: dict[tuple[str, str], list[CellRow]] = defaultdict(list)
    for cell in summary.cells:
        if not is_apart(cell.condition.load):
            grouped[cell.condition.key].append(cell)
    return grouped


def time_text(value_ns: float | None) -> str:
    """A time for a table."""
    return NONE if value_ns is None else format_ns(value_ns)


def ratio_text(value: float | None) -> str:
    """A ratio for a table: two decimals, one from ten on."""
    return NONE if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def share_text(value: float | None) -> str:
    """A share for a table, in whole percent."""
    return NONE if value is None else f"{value:.0%}"


def with_interval(value: float | None, low_high: Sequence[float] | None, show: Callable[[float], str]) -> str:
    """A figure and its interval, all three as ``show`` writes them."""
    if value is None:
        return NONE
    return show(value) + (f" [{show(low_high[0])}, {show(low_high[1])}]" if low_high else "")


def ratio_with(value: float | None, low_high: Sequence[float] | None) -> str:
    """A ratio and its interval: ``8.26 [7.84, 8.40]``."""
    return with_interval(value, low_high, ratio_text)


def time_with(value_ns: float | None, low_high: Sequence[float] | None) -> str:
    """A time and its interval, in the time's unit: ``132 [129, 1050] µs``."""
    if value_ns is None or not low_high:
        return time_text(value_ns)
    value, unit = format_ns(value_ns).split(" ")
    scale = dict(UNITS)[unit]
    return f"{value} [{_digits(low_high[0] / scale)}, {_digits(low_high[1] / scale)}] {unit}"


def _digits(value: float) -> str:
    """Three significant digits, as ``format_ns`` writes them, and no exponent for more."""
    size = abs(value)
    sign = "−" if value < 0 else ""
    return f"{sign}{size:.2f}" if size < 9.995 else f"{sign}{size:.1f}" if size < 99.95 else f"{sign}{size:.0f}"


def full_tables(summary: Summary) -> list[Table]:
    """A table per condition, a section per requested duration, every column, with the intervals."""
    return [_table(cells, _wide_columns(cells)) for cells in by_condition(summary).values()]


def narrow_table(cells: list[CellRow]) -> Table:
    """A condition for the terminal: the interval of p99 alone, since p50's stands in the ratios' sentences."""
    counts = {cell.requested_ns: cell.n for cell in cells}
    counted = ", ".join(f"{count:,} of {asked(each)}" for each, count in counts.items())
    return _table(cells, _NARROW, f"Sleeps per arm: {counted}.")


def compact_table(cells: list[CellRow]) -> Table:
    """A condition's p50 and p99: a column per time asked for."""
    durations = sorted({cell.requested_ns for cell in cells})
    known = {(cell.arm, cell.requested_ns): cell for cell in cells}
    rows = []
    for arm in dict.fromkeys(cell.arm for cell in cells):
        own = [known.get((arm, each)) for each in durations]
        rows.append([arm, "p50", *(time_text(cell.p50_ns if cell else None) for cell in own)])
        rows.append(["", "p99", *(time_text(cell.p99_ns if cell else None) for cell in own)])
    columns = ["arm", "", *(asked(each) for each in durations)]
    notes = ["A column per time asked for; p50 above p99.", *_throttled(cells)]
    return Table(condition_title(cells[0].condition), columns, [Section("", rows)], notes)


Column = tuple[str, Callable[[CellRow], str]]
_MIN: Column = ("min", lambda cell: time_text(cell.min_ns))
_P99: Column = ("p99 [95 %]", lambda cell: time_with(cell.p99_ns, cell.p99_ci))
_SIGMA: Column = ("σ", lambda cell: time_text(cell.stdev_ns))
_OVER: Column = ("overshoot", lambda cell: time_text(cell.overshoot_p50_ns))
_CPU: Column = ("CPU", lambda cell: time_text(cell.cpu_ns_per_sleep))
_NARROW: tuple[Column, ...] = (
    _MIN,
    ("p50", lambda cell: time_text(cell.p50_ns)),
    _P99,
    _SIGMA,
    _OVER,
    ("× stock", lambda cell: ratio_text(cell.p50_over_stock)),
    ("× floor", lambda cell: ratio_text(cell.p50_over_floor)),
    _CPU,
)
_WIDE: tuple[Column, ...] = (
    ("p50", lambda cell: time_text(cell.p50_ns)),
    ("overshoot [95 %]", lambda cell: time_with(cell.overshoot_p50_ns, _past(cell))),
    ("× stock [95 %]", lambda cell: ratio_with(cell.p50_over_stock, cell.p50_over_stock_ci)),
    ("p90 − p50", lambda cell: time_text(cell.p90_minus_p50_ns)),
    _P99,
    ("max", lambda cell: time_text(cell.max_ns)),
    ("min [95 %]", lambda cell: time_with(cell.min_ns, cell.min_ci)),
    ("σ [95 %]", lambda cell: time_with(cell.stdev_ns, cell.stdev_ci)),
    ("n", lambda cell: str(cell.n)),
    ("shorter than stock's", lambda cell: share_text(cell.effect_size)),
    ("U test, p", lambda cell: _p_value(cell.mann_whitney_p)),
    ("× floor", lambda cell: ratio_text(cell.p50_over_floor)),
    _CPU,
)
#: Columns that only some results can fill, and what fills them.
_FILLED_BY = {"p90 − p50": "p90_minus_p50_ns", "shorter than stock's": "effect_size", "U test, p": "mann_whitney_p"}


def _past(cell: CellRow) -> list[float] | None:
    """The interval of the median past the time asked for; of long sleeps the median's own shows no difference."""
    return [end - cell.requested_ns for end in cell.p50_ci] if cell.p50_ci else None


def _wide_columns(cells: list[CellRow]) -> list[Column]:
    def filled(name: str) -> bool:
        return name not in _FILLED_BY or any(getattr(cell, _FILLED_BY[name]) is not None for cell in cells)

    return [column for column in _WIDE if filled(column[0])]


def _table(cells: list[CellRow], columns: Sequence[Column], *more: str) -> Table:
    sections = [
        Section(f"asked for {asked(each)}", [[cell.arm, *(show(cell) for _, show in columns)] for cell in own])
        for each, own in _requested(cells)
    ]
    runs = sorted({cell.runs for cell in cells})
    counted = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    names = [name for name, _ in columns]
    notes = [
        f"{counted} runs per arm. overshoot: median minus what was asked for. × floor: to the raw system call at the "
        "same timer slack. CPU: per sleep, over the whole run, all durations together.",
        *more,
        *_throttled(cells),
    ]
    if "U test, p" in names:
        notes.append(
            "shorter than stock's: how often a run's median is shorter than a run's of stock; U test: Mann and "
            "Whitney's, of the runs' medians against stock's."
        )
    return Table(condition_title(cells[0].condition), ("arm", *names), sections, notes)


def _throttled(cells: list[CellRow]) -> list[str]:
    """How often the quota stopped the programs, and how often a limit above did."""
    notes = []
    for field_name, what in (
        ("throttled_share", "quota stopped the programs"),
        ("above_throttled_share", "limit above stopped its group"),
    ):
        shares = sorted({share for cell in cells if (share := getattr(cell, field_name)) is not None})
        if shares:
            notes.append(f"The {what} in {shares[0]:.0%} to {shares[-1]:.0%} of its periods, by arm.")
    return notes


def _requested(cells: list[CellRow]) -> list[tuple[int, list[CellRow]]]:
    grouped: dict[int, list[CellRow]] = defaultdict(list)
    for cell in cells:
        grouped[cell.requested_ns].append(cell)
    return sorted(grouped.items())


def _p_value(value: float | None) -> str:
    return NONE if value is None else "< 0.0001" if value < 0.0001 else f"{value:.2g}"
