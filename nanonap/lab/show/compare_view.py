"""A comparison in the terminal: what differs, a table per condition, and what it comes to."""

from itertools import groupby

from rich.markup import escape

from nanonap.base.durations import asked
from nanonap.lab.judge.compare import Comparison, Row
from nanonap.lab.quota.above_limit import merged, says
from nanonap.lab.show.tables import NONE, Section, Table, condition_title, time_with, with_interval
from nanonap.lab.show.terminal import print_table, wide
from nanonap.lab.stats.effects import Interval
from nanonap.lab.store.read import Result

_WIDTH = 144
_COLUMNS = ("arm", "p50 in A", "p50 in B", "B / A", "× stock in A", "× stock in B", "overlap")


def print_comparison(compared: Comparison) -> None:
    """To stdout."""
    console = wide(_WIDTH)
    for name, result in (("A", compared.a), ("B", compared.b)):
        console.print(f"[bold]{name}[/]  {escape(_line(result))}", highlight=False, soft_wrap=True)
    for each in compared.differing:
        both = f"{each.a} | {each.b}"
        console.print(f"   differs in {escape(each.what)}: {escape(both)}", highlight=False, soft_wrap=True)
    console.print()
    for _, rows in groupby(compared.rows, key=lambda row: row.condition.key):
        print_table(_table(list(rows)), console=console)
    for warning in compared.warnings:
        console.print(f"[yellow]warning[/] {escape(warning)}", highlight=False, soft_wrap=True)
    colour = "green" if compared.verdict.outcome == compared.verdict.expected else "yellow"
    console.print(f"[bold]{escape(compared.verdict.question)}[/]", highlight=False)
    console.print(f"  [{colour}]{escape(compared.verdict.sentence)}[/]", highlight=False, soft_wrap=True)


def _line(result: Result) -> str:
    started = (result.about.started_utc or "time unknown")[:16].replace("T", " ")
    limits = says(merged([run.above for run in result.runs]))
    return f"{result.folder.name}: Go {result.go_version}, {started} UTC. {result.runs[0].host}. {limits}"


def _table(rows: list[Row]) -> Table:
    sections = [
        Section(f"asked for {asked(requested_ns)}", [_cells(row) for row in own])
        for requested_ns, own in groupby(rows, key=lambda row: row.requested_ns)
    ]
    return Table(condition_title(rows[0].condition), _COLUMNS, sections)


def _cells(row: Row) -> list[str]:
    return [
        row.arm,
        time_with(row.p50_a_ns, row.p50_a_ci),
        time_with(row.p50_b_ns, row.p50_b_ci),
        _ratio(row.b_over_a, row.b_over_a_ci),
        _ratio(row.over_stock_a, row.over_stock_a_ci),
        _ratio(row.over_stock_b, row.over_stock_b_ci),
        NONE if row.overlap is None else "yes" if row.overlap else "no",
    ]


def _ratio(value: float | None, low_high: Interval) -> str:
    return with_interval(value, low_high, "{:.3f}".format)
