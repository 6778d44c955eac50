"""Tables of what precision costs: the cost workloads, and what wakes when nothing is due."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from nanonap.base.durations import asked
from nanonap.lab.judge.analysis import Summary
from nanonap.lab.plan.conditions import Load
from nanonap.lab.show import tables
from nanonap.lab.show.tables import NONE, Section, Table
from nanonap.lab.stats.costs import CostRow
from nanonap.lab.stats.effects import Interval


def cost_tables(summary: Summary, *, narrow: bool = False) -> list[Table]:
    """The price of precision: a table per condition of the cost workloads, and one of the idle load.

    ``narrow`` leaves out intervals, and what a terminal has no room for.
    """
    return [*(_cost(rows, narrow) for rows in by_workload(summary).values()), *_idle(summary)]


def by_workload(summary: Summary) -> dict[tuple[str, str], list[CostRow]]:
    """The rows of the cost workloads by (quota, load): without a quota first, fewer sleepers before more."""
    grouped: dict[tuple[str, str], list[CostRow]] = defaultdict(list)
    for row in summary.costs:
        grouped[row.condition.key].append(row)
    ordered = sorted(grouped, key=lambda each: (each[0] != "none", each[0], load_order(each[1])))
    return {condition: grouped[condition] for condition in ordered}


def load_order(label: str) -> tuple[bool, str, int]:
    """A sort key: sleepers that are not in step first, fewer before more."""
    kind, _, count = label.partition("@")[0].partition(":")
    return kind != "sleepers", kind, int(count or 0)


def _rate(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


@dataclass(frozen=True)
class _Column:
    """``field`` fills it, ``show`` writes it, ``with_interval`` where there is room for one; ``wide``: only there."""

    heading: str
    field: str
    show: Callable[[float | None], str]
    with_interval: Callable[[float | None, Interval], str] | None = None
    wide: bool = False

    def cell(self, row: CostRow, narrow: bool) -> str:
        """What stands in a row."""
        value = getattr(row, self.field)
        if value is None:
            return NONE
        if self.with_interval is None or narrow:
            return self.show(value)
        return self.with_interval(value, getattr(row, f"{self.field}_ci"))


_COLUMNS = (
    _Column("late p50", "late_p50_ns", tables.time_text),
    _Column("late p99", "late_p99_ns", tables.time_text),
    _Column("CPU", "cpu_ns_per_sleep", tables.time_text, tables.time_with),
    _Column("× stock", "cpu_over_stock", tables.ratio_text, tables.ratio_with),
    _Column("× rebuilt", "cpu_over_rebuilt", tables.ratio_text, tables.ratio_with),
    _Column("of a core", "cpu_share", tables.share_text, wide=True),
    _Column("wake-ups/s", "wakeups_per_second", _rate),
    _Column("CPU/wake-up", "cpu_ns_per_wakeup", tables.time_text, wide=True),
    _Column("calls/sleep", "syscalls_per_sleep", tables.ratio_text),
    _Column("epoll/s", "epoll_per_second", _rate),
    _Column("switches/sleep", "switches_per_sleep", tables.ratio_text, wide=True),
    _Column("involuntary/sleep", "involuntary_per_sleep", tables.ratio_text, wide=True),
    _Column("threads", "threads_peak", _rate),
)


def _cost(rows: list[CostRow], narrow: bool) -> Table:
    filled = {each.field for each in _COLUMNS if any(getattr(row, each.field) is not None for row in rows)}
    if narrow and "syscalls_per_sleep" in filled:
        filled.discard("epoll_per_second")
    columns = [each for each in _COLUMNS if each.field in filled and not (narrow and each.wide)]
    cells = [[row.arm, *(each.cell(row, narrow) for each in columns)] for row in rows]
    title = f"The price: {tables.condition_title(rows[0].condition)}"
    return Table(title, ("arm", *(each.heading for each in columns)), [Section("", cells)], _notes(rows, filled))


def _notes(rows: list[CostRow], filled: set[str]) -> list[str]:
    kind, _, count = rows[0].condition.load.partition(":")
    phase_ns = Load(kind, int(count)).phase_ns
    apart = f"{asked(phase_ns)} apart" if phase_ns else "all due at the same time"
    each = f", {apart}, {asked(rows[0].requested_ns)} each" if count != "1" else f", {asked(rows[0].requested_ns)}"
    many = "" if count == "1" else "s"
    notes = [f"{count} sleeper{many} on absolute schedules{each}. late: after the deadline. CPU: per sleep."]
    if filled & {"wakeups_per_second", "cpu_ns_per_wakeup", "switches_per_sleep"}:
        notes.append("wake-ups, switches: a thread gave up its CPU to wait.")
    counters = {row.counter for row in rows if row.counter}
    if counters:
        slowed = " (it slows the program: true rates are higher)" if "strace" in counters else ""
        notes.append(
            f"epoll/s, calls/sleep: system calls, counted by {', '.join(sorted(counters))} in a separate run{slowed}."
        )
    return notes


def _idle(summary: Summary) -> list[Table]:
    rows = summary.idle
    if not rows:
        return []
    groups: dict[str, list[list[str]]] = defaultdict(list)
    for row in rows:
        cells = [str(row.runs), _rate(row.wakeups_per_second), tables.time_text(row.cpu_ns_per_second)]
        groups[tables.condition_title(row.condition)].append([row.arm, *cells])
    named = len(groups) > 1 or any(row.condition.inside for row in rows)
    sections = [Section(name if named else "", own) for name, own in groups.items()]
    notes = ["One sleeper of a second: what wakes up, and the CPU time used, when almost nothing is due."]
    return [Table("The price when idle", ("arm", "runs", "wake-ups/s", "CPU/s"), sections, notes)]
