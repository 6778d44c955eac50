"""What a bench says when it ends: at most 40 lines at 100 columns. All tables are in the page, and by ``report``."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from nanonap.base.durations import asked, format_ns
from nanonap.base.terminal import command
from nanonap.lab.judge.analysis import CellRow, Summary
from nanonap.lab.judge.disturbance import Disturbed
from nanonap.lab.plan.arms import CONTROL, PRECISE
from nanonap.lab.show import tables
from nanonap.lab.show.price_tables import by_workload
from nanonap.lab.show.tables import NONE, Section, Table
from nanonap.lab.show.terminal import print_limits, print_table, wide
from nanonap.lab.stats.costs import CostRow

#: Arms that are shown where many were measured, in this order; else all are.
_SHOWN = ("stock", "netpoll", PRECISE, f"{PRECISE}+quantum", f"{PRECISE}+spin", "rebuilt+slack1", "floor+slack1")
_PRICED = ("stock", PRECISE, f"{PRECISE}+quantum", "rebuilt+slack1", "upstream+slack1")
_COMPARED = ("stock", PRECISE)
_MOST_DURATIONS = 6
_MOST_CONDITIONS = 3
_OUTCOME_WIDTH = 12


def print_first_screen(summary: Summary, disturbed: Disturbed, folder: Path, page: Path) -> None:
    """To stdout: what stock does, what the patch does, what it costs, the verdicts, what disturbed it, where more is.

    ``folder`` and ``page`` are where the result and its page lie.
    """
    console = wide()
    runs = max((cell.runs for cell in summary.cells), default=0)
    head = f"Go {summary.go_version}; {summary.host.short}; {runs} runs per arm"
    console.print(f"[dim]{escape(head)}[/]", highlight=False)
    print_limits(summary.above)
    if mark := summary.bench.mark:
        console.print(f"[yellow]{escape(mark)}[/]")
    groups = list(tables.by_condition(summary).values())
    prices = next(iter(by_workload(summary).values()), [])
    for table in (_sleeps(groups[:1]), _price(prices), _others(groups[1:])):
        if table is not None:
            print_table(table, dense=True)
    _print_verdicts(console, summary)
    console.print(escape(str(disturbed)), highlight=False)
    if summary.warnings:
        many = f"{len(summary.warnings)} warnings, the first:" if len(summary.warnings) > 1 else "warning:"
        console.print(f"[yellow]{many}[/] {escape(_in_short(summary.warnings[0]))}", highlight=False)
    console.print(f"all tables: {escape(command('report', folder))}", highlight=False, soft_wrap=True)
    console.print(f"the page:   {escape(str(page))}", highlight=False, soft_wrap=True)


def _in_short(warning: str) -> str:
    """What is wrong, without the list of where."""
    what, _, _ = warning.partition(": ")
    return what if " " in what else warning


def _chosen(arms: Sequence[str], wanted: tuple[str, ...]) -> list[str]:
    """The wanted ones of the arms; all of them where none is wanted or they are no more than those."""
    own = [arm for arm in arms if arm != CONTROL]
    named = [arm for arm in wanted if arm in own]
    return own if not named or len(own) <= len(wanted) else named


def _sleeps(groups: list[list[CellRow]]) -> Table | None:
    """What a sleep takes under the first condition."""
    if not groups:
        return None
    (cells,) = groups
    known = {(cell.arm, cell.requested_ns): cell for cell in cells}
    durations = sorted({cell.requested_ns for cell in cells if cell.arm != CONTROL})[:_MOST_DURATIONS]
    rows = []
    for arm in _chosen(list(dict.fromkeys(cell.arm for cell in cells)), _SHOWN):
        own = [cell for each in durations if (cell := known.get((arm, each)))]
        medians = [tables.time_text(cell.p50_ns) if (cell := known.get((arm, each))) else NONE for each in durations]
        rows.append([arm, *medians, tables.time_text(own[0].cpu_ns_per_sleep if own else None)])
    columns = ("a sleep lasts (median)", *map(asked, durations), "CPU per sleep")
    return Table(tables.condition_title(cells[0].condition), columns, [Section("", rows)])


def _price(costs: list[CostRow]) -> Table | None:
    """What precision costs where many sleepers are not in step."""
    known = {row.arm: row for row in costs}
    rows = [
        [
            arm,
            tables.time_text(row.late_p50_ns),
            tables.time_text(row.late_p99_ns),
            tables.time_text(row.cpu_ns_per_sleep),
            tables.ratio_text(row.cpu_over_stock),
            tables.share_text(row.cpu_share),
        ]
        for arm in _chosen(list(known), _PRICED)
        for row in (known[arm],)
    ]
    columns = ("what it costs", "late p50", "late p99", "CPU per sleep", "× stock", "of a core")
    return Table(tables.condition_title(costs[0].condition), columns, [Section("", rows)]) if rows else None


def _others(groups: list[list[CellRow]]) -> Table | None:
    """Stock and the patch under the other conditions, at the duration closest to 1 ms."""
    shown = [(cells, {cell.arm: cell for cell in cells if cell.requested_ns == _closest(cells)}) for cells in groups]
    arms = [arm for arm in _COMPARED if any(arm in known for _, known in shown)]
    if not arms:
        return None
    rows = []
    for cells, known in shown[:_MOST_CONDITIONS]:
        figures = [figure for arm in arms for figure in _p50_p99(known.get(arm))]
        rows.append([tables.short_condition(cells[0].condition), *figures])
    columns = ["", *(f"{arm} {name}" for arm in arms for name in ("p50", "p99"))]
    more = len(groups) - _MOST_CONDITIONS
    inside = groups[0][0].condition.inside
    title = f"Asked for {asked(_closest(groups[0]))} under other conditions{f', {inside}' if inside else ''}"
    return Table(title + (f" ({more} more in all tables)" if more > 0 else ""), columns, [Section("", rows)])


def _closest(cells: list[CellRow]) -> int:
    return min({cell.requested_ns for cell in cells}, key=lambda each: abs(each - 1_000_000))


def _p50_p99(cell: CellRow | None) -> tuple[str, str]:
    return (format_ns(cell.p50_ns), format_ns(cell.p99_ns)) if cell else (NONE, NONE)


def _print_verdicts(console: Console, summary: Summary) -> None:
    """A line each; what was not measured is counted."""
    asked_for = [verdict for verdict in summary.verdicts if verdict.outcome != "not measured"]
    for verdict in asked_for:
        colour = "green" if verdict.outcome == verdict.expected else "yellow"
        outcome = f"[{colour}]{verdict.outcome:{_OUTCOME_WIDTH}}[/]"
        console.print(f"{outcome} {escape(verdict.question)}", highlight=False)
    left = len(summary.verdicts) - len(asked_for)
    if left:
        told = f"{left} more question{'s' if left > 1 else ''}, whose arms were not run"
        console.print(f"{'not measured':{_OUTCOME_WIDTH}} {told}", highlight=False)
