"""A comparison in the terminal: what differs, a table per condition, and what it comes to."""

from itertools import groupby

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.compare import Comparison, Row
from bench.conditions import load_label
from bench.effects import Interval
from bench.host import describe
from bench.result import Result
from bench.tables import asked, condition_title
from nanonap.durations import format_ns
from nanonap.terminal import answers

_WIDTH = 144
_COLUMNS = ("arm", "p50 in A", "p50 in B", "B / A", "× stock in A", "× stock in B", "overlap")
_UNITS = (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0))
_NONE = "–"


def print_comparison(compared: Comparison) -> None:
    """To stdout."""
    console = answers() if answers().is_terminal else Console(width=_WIDTH)
    for name, result in (("A", compared.a), ("B", compared.b)):
        console.print(f"[bold]{name}[/]  {escape(_line(result))}", highlight=False, soft_wrap=True)
    for each in compared.differing:
        both = f"{each['a']} | {each['b']}"
        console.print(f"   differs in {escape(each['what'])}: {escape(both)}", highlight=False, soft_wrap=True)
    console.print()
    for _, rows in groupby(compared.rows, key=lambda row: (row.condition["quota"], load_label(row.condition))):
        console.print(_table(list(rows)))
    for warning in compared.warnings:
        console.print(f"[yellow]warning[/] {escape(warning)}", highlight=False, soft_wrap=True)
    colour = "green" if compared.verdict.outcome == compared.verdict.expected else "yellow"
    console.print(f"[bold]{escape(compared.verdict.question)}[/]", highlight=False)
    console.print(f"  [{colour}]{escape(compared.verdict.sentence)}[/]", highlight=False, soft_wrap=True)


def _line(result: Result) -> str:
    about = result.about
    started = str(about.get("started_utc", "time unknown"))[:16].replace("T", " ")
    return f"{result.folder.name}: Go {result.go_version}, {started} UTC. {describe(result.runs[0]['host'])}"


def _table(rows: list[Row]) -> Table:
    drawn = Table(
        title=condition_title(rows[0].condition),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for number, column in enumerate(_COLUMNS):
        drawn.add_column(column, justify="right" if number else "left", no_wrap=number == 0)
    for requested_ns, own in groupby(rows, key=lambda row: row.requested_ns):
        drawn.add_row(f"[bold]asked for {asked(requested_ns)}[/]")
        for row in own:
            drawn.add_row(*map(escape, _cells(row)))
    return drawn


def _cells(row: Row) -> list[str]:
    return [
        row.arm,
        _time(row.p50_a_ns, row.p50_a_ci),
        _time(row.p50_b_ns, row.p50_b_ci),
        _ratio(row.b_over_a, row.b_over_a_ci),
        _ratio(row.over_stock_a, row.over_stock_a_ci),
        _ratio(row.over_stock_b, row.over_stock_b_ci),
        _NONE if row.overlap is None else "yes" if row.overlap else "no",
    ]


def _time(value_ns: float, low_high: Interval) -> str:
    """``135 [134, 136] µs``: the unit once."""
    if low_high is None:
        return format_ns(value_ns)
    unit, scale = next((pair for pair in _UNITS if value_ns >= pair[1]), _UNITS[-1])
    value, low, high = (each / scale for each in (value_ns, *low_high))
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}] {unit}"


def _ratio(value: float | None, low_high: Interval) -> str:
    if value is None:
        return _NONE
    return f"{value:.3f}" + (f" [{low_high[0]:.3f}, {low_high[1]:.3f}]" if low_high else "")
