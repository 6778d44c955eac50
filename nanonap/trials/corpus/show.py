"""The campaign's table for the terminal."""

from rich.markup import escape
from rich.table import Table

from nanonap.base.terminal import answers
from nanonap.trials.corpus.report import Report
from nanonap.trials.corpus.row import Result, Row

HEADS = ("name", "built by", "arm", "result", "what was compared, or why not")
_STYLES = {
    Result.SAME: "green",
    Result.CHANGED: "bold red",
    Result.UNSTABLE: "yellow",
    Result.UNEXPECTED: "red",
    Result.NOT_HERE: "red",
    Result.STOCK_FAILS: "red",
}


def show_report(report: Report) -> None:
    """A table of the test binaries, one of the programs, and the counts, on stdout."""
    for title, rows in parts(report):
        table = Table(*HEADS, title=title)
        for each in rows:
            style = _STYLES.get(each.result, "dim")
            name, go, arm, result, detail = map(escape, cells(each))
            table.add_row(name, go, arm, f"[{style}]{result}[/]", detail)
        answers().print(table)
    answers().print(summary(report), highlight=False)


def summary(report: Report) -> str:
    """``45 rows: 40 same, 3 refused, 2 left out``."""
    counts = ", ".join(f"{count} {result}" for result, count in report.counts().items())
    return f"{len(report.rows)} rows: {counts or 'nothing ran'}"


def parts(report: Report) -> list[tuple[str, list[Row]]]:
    """The rows of the test binaries and those of the programs, each with a title."""
    titles = {"std": f"test binaries of Go {report.go}'s standard library", "program": "programs"}
    titles["program"] += f" for linux/{report.arch}, emulated" * report.emulated
    parts = [(title, [row for row in report.rows if row.kind == kind]) for kind, title in titles.items()]
    return [(title, rows) for title, rows in parts if rows]


def cells(row: Row) -> tuple[str, str, str, str, str]:
    """A row's texts, under ``HEADS``."""
    name = f"{row.name} ({row.origin})" if row.kind == "program" and row.origin else row.name
    return name, row.go, row.arm, str(row.result), " ".join(row.detail.split())
