"""A result in the terminal: tables, then what they say, since a reader's eye is at the end."""

from rich import box
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table as RichTable

from nanonap.base.terminal import answers
from nanonap.lab.judge.analysis import Summary
from nanonap.lab.judge.verdicts import Verdict
from nanonap.lab.quota.above import LimitsAbove
from nanonap.lab.quota.above_limit import bites, says
from nanonap.lab.show.further_tables import clusters_note, further_tables
from nanonap.lab.show.price_tables import cost_tables
from nanonap.lab.show.tables import Table, by_condition, compact_table, narrow_table

_WIDTH = 112
_LEAST_COLUMNS = 3
_FIRST_TO_GO = ("min", "σ", "epoll/s")


def print_summary(summary: Summary, where: str) -> None:
    """Print tables, verdicts, warnings and where the result lies to stdout."""
    console = wide()
    if mark := summary.bench.mark:
        console.print(f"[yellow]{escape(mark)}[/]")
    print_limits(summary.above)
    for table in terminal_tables(summary):
        print_table(table)
    if note := clusters_note(summary):
        console.print(f"{escape(note)}\n", highlight=False)
    _print_verdicts(console, summary.verdicts)
    for warning in summary.warnings:
        console.print(f"[yellow]warning[/] {escape(warning)}", highlight=False)
    console.print(f"\n{escape(where)}", highlight=False, soft_wrap=True)


def print_limits(above: LimitsAbove | None) -> None:
    """What limits from above, to stdout; nothing where that is not known."""
    if said := says(above):
        colour = "yellow" if bites(above) else "dim"
        wide().print(f"[{colour}]{escape(said)}[/]\n", highlight=False)


def terminal_tables(summary: Summary) -> list[Table]:
    """The first condition in full; of the others p50 and p99, since nobody reads two hundred rows; the cost."""
    groups = list(by_condition(summary).values())
    costs = cost_tables(summary, narrow=True)
    return [*map(narrow_table, groups[:1]), *map(compact_table, groups[1:]), *costs, *further_tables(summary)]


def wide(columns: int = _WIDTH) -> Console:
    """The console for tables: a pipe has no width of its own, and rich would fold them at 80 columns."""
    return answers() if answers().is_terminal else Console(width=columns)


def print_table(table: Table, *, dense: bool = False, console: Console | None = None) -> None:
    """One table and its notes, to stdout; ``dense``: without the lines that only separate."""
    console = console or wide()
    console.print(_rich(table, console.width, None if dense else box.SIMPLE_HEAD))
    for note in table.notes:
        console.print(f"  [dim]{escape(note)}[/]", highlight=False)
    console.print()


def _print_verdicts(console: Console, verdicts: list[Verdict]) -> None:
    for verdict in verdicts:
        colour = "green" if verdict.outcome == verdict.expected else "yellow"
        console.print(f"[bold]{escape(verdict.question)}[/]", highlight=False)
        console.print(f"  [{colour}]{escape(verdict.sentence)}[/]", highlight=False)
    console.print()


def _rich(table: Table, width: int, lines: box.Box | None) -> RichTable:
    """Nothing is cut off: where there is no room, columns are left out, those on the right first; then names wrap."""
    rows = [row for section in table.sections for row in section.rows]
    widths = [max(map(len, column)) for column in zip(table.columns, *rows, strict=True)]
    widths[0] = max([widths[0], *(len(section.heading) for section in table.sections)])
    shown = list(range(len(widths)))
    while sum(widths[number] + 1 for number in shown) > width and len(shown) > _LEAST_COLUMNS:
        shown.remove(next((each for each in shown if table.columns[each] in _FIRST_TO_GO), shown[-1]))
    drawn = RichTable(
        title=table.title, title_justify="left", title_style="bold", box=lines, padding=(0, 1, 0, 0), pad_edge=False
    )
    for number in shown:
        justify: JustifyMethod = "right" if number else "left"
        drawn.add_column(table.columns[number], justify=justify, no_wrap=number > 0, overflow="fold")
    for section in table.sections:
        if section.heading:
            drawn.add_row(f"[bold]{escape(section.heading)}[/]")
        for row in section.rows:
            drawn.add_row(*(escape(row[number]) for number in shown))
    return drawn
