"""A result drawn: summary.json, PNG figures and a self-contained HTML page; or printed as Markdown, benchfmt, JSON."""

import json
from pathlib import Path
from typing import Any

from bench.analysis import analyse
from bench.benchfmt import as_benchfmt
from bench.figures.gather import draw_figures
from bench.found_tables import further_tables, mode_tables
from bench.page import about_line, as_html
from bench.price_tables import cost_tables
from bench.result import load
from bench.tables import Summary, Table, full_tables
from bench.wording import arm_lines, headline
from nanonap.files import write_text

__all__ = ["as_benchfmt", "as_json", "as_markdown", "summarize", "write_report"]


def write_report(folder: Path) -> Summary:
    """Write summary.json, the figures and report.html into a result folder, from its raw data; returns the summary.

    Raises BadResult, OutputNotWritable, DiskFull.
    """
    analysis = analyse(load(folder))
    write_text(folder / "summary.json", as_json(analysis.summary))
    pictures = draw_figures(folder, analysis, _footnote(analysis.summary))
    write_text(folder / "report.html", as_html(folder, analysis.summary, pictures))
    return analysis.summary


def summarize(folder: Path) -> Summary:
    """The summary of a result folder, from its raw data; writes nothing. Raises BadResult."""
    return analyse(load(folder)).summary


def as_json(document: dict[str, Any]) -> str:
    """JSON text, ending in a newline."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def as_markdown(summary: Summary) -> str:
    """Headline, verdicts, arms, tables and warnings as GitHub-flavoured Markdown."""
    answer = headline(summary)
    lines = [f"# {answer.sentence}", "", f"{answer.behind} {about_line(summary)}", ""]
    for verdict in summary["verdicts"]:
        lines += [f"- **{verdict['question']}** {verdict['sentence']}."]
    lines += ["", "## Arms", "", *(f"- `{_cell(arm)}`: {what}" for arm, what in arm_lines(summary))]
    tables = [*full_tables(summary), *mode_tables(summary), *cost_tables(summary), *further_tables(summary)]
    for table in tables:
        lines += ["", f"## {table.title}", *_markdown_table(table)]
    if summary["warnings"]:
        lines += ["", "## Warnings", "", *(f"- {_cell(warning)}" for warning in summary["warnings"])]
    return "\n".join(lines) + "\n"


def _markdown_table(table: Table) -> list[str]:
    lines = []
    for section in table.sections:
        lines += ["", *([f"### {section.heading}", ""] if section.heading else [])]
        lines += [f"| {' | '.join(table.columns)} |", f"|---|{'---:|' * (len(table.columns) - 1)}"]
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in section.rows]
    return [*lines, "", *table.notes]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _footnote(summary: Summary) -> str:
    machine = summary["host"]
    cpus = f"{machine.get('cpu_model')}, {machine.get('cpus_online')} CPUs"
    mark = (summary["bench"].get("backend") or {}).get("mark")
    return f"Go {summary['go_version']}, Linux {machine.get('kernel')}, {cpus}" + (f"; {mark}" if mark else "")
