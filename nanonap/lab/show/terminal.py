"""A result in the terminal: tables, then what they say, since a reader's eye is at the end."""

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from bench.found_tables import further_tables, modes_note
from bench.price_tables import cost_tables
from bench.tables import Summary, Table, by_condition, compact_table, narrow_table
from nanonap.terminal import answers

_WIDTH = 112
_NAME_WIDTH = 16
_NARROW_LEAVES_OUT = ("min", "σ", "epoll/s")


def print_summary(summary: Summary, where: str) -> None:
    """Print tables, verdicts, warnings and where the result lies to stdout."""
    console = wide()
    if mark := (summary["bench"].get("backend") or {}).get("mark"):
        console.print(f"[yellow]{escape(mark)}[/]")
    for table in terminal_tables(summary):
        print_table(table)
    if note := modes_note(summary):
        console.print(f"{escape(note)}\n", highlight=False)
    _print_verdicts(console, summary["verdicts"])
    for warning in summary["warnings"]:
        console.print(f"[yellow]warning[/] {escape(warning)}", highlight=False)
    console.print(f"\n{escape(where)}", highlight=False, soft_wrap=True)


def terminal_tables(summary: Summary) -> list[Table]:
    """The first condition in full; of the others p50 and p99, since nobody reads two hundred rows; the cost."""
    groups = list(by_condition(summary).values())
    costs = cost_tables(summary, narrow=True)
    return [*map(narrow_table, groups[:1]), *map(compact_table, groups[1:]), *costs, *further_tables(summary)]


def wide() -> Console:
    """The console for tables: a pipe has no width of its own, and rich would fold them at 80 columns."""
    return answers() if answers().is_terminal else Console(width=_WIDTH)


def print_table(table: Table) -> None:
    """One table and its notes, to stdout."""
    console = wide()
    console.print(_rich(table, console.width))
    for note in table.notes:
        console.print(f"  [dim]{escape(note)}[/]", highlight=False)
    console.print()


def _print_verdicts(console: Console, verdicts: list[dict[str, Any]]) -> None:
    for verdict in verdicts:
        colour = "green" if verdict["outcome"] == verdict["expected"] else "yellow"
        console.print(f"[bold]{escape(verdict['question'])}[/]", highlight=False)
        console.print(f"  [{colour}]{escape(verdict['sentence'])}[/]", highlight=False)
    console.print()


def _rich(table: Table, width: int) -> RichTable:
    narrow = width < _WIDTH - 12
    shown = [number for number, column in enumerate(table.columns) if not (narrow and column in _NARROW_LEAVES_OUT)]
    drawn = RichTable(
        title=table.title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for number in shown:
        name = number == 0
        least = _NAME_WIDTH if name else None
        drawn.add_column(table.columns[number], justify="left" if name else "right", no_wrap=True, min_width=least)
    for section in table.sections:
        if section.heading:
            drawn.add_row(f"[bold]{escape(section.heading)}[/]")
        for row in section.rows:
            drawn.add_row(*(escape(row[number]) for number in shown))
    return drawn
