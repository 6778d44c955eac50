"""A result drawn: summary.json, PNG plots and a self-contained HTML page; or printed as Markdown, benchfmt, JSON."""

import json
from pathlib import Path

import msgspec

from nanonap.base.files import write_text
from nanonap.lab.judge.analysis import Summary, analyse
from nanonap.lab.quota.above_limit import bites, label
from nanonap.lab.show.benchfmt import as_benchfmt
from nanonap.lab.show.further_tables import cluster_tables, further_tables
from nanonap.lab.show.page import about_line, as_html, limits_line
from nanonap.lab.show.plots.gather import draw_plots
from nanonap.lab.show.price_tables import cost_tables
from nanonap.lab.show.tables import Table, full_tables
from nanonap.lab.show.wording import arm_lines, headline
from nanonap.lab.store.read import load

__all__ = ["as_benchfmt", "as_json", "as_markdown", "summarize", "write_report"]


def write_report(folder: Path) -> Summary:
    """Write summary.json, the plots and report.html into a result folder, from its raw data; returns the summary.

    Raises BadResult, OutputNotWritable, DiskFull.
    """
    analysis = analyse(load(folder))
    write_text(folder / "summary.json", as_json(analysis.summary))
    pictures = draw_plots(folder, analysis, _footnote(analysis.summary))
    write_text(folder / "report.html", as_html(folder, analysis.summary, pictures))
    return analysis.summary


def summarize(folder: Path) -> Summary:
    """The summary of a result folder, from its raw data; writes nothing. Raises BadResult."""
    return analyse(load(folder)).summary


def as_json(document: object) -> str:
    """JSON text of what a struct or a dict holds, ending in a newline."""
    return json.dumps(msgspec.to_builtins(document), indent=1, ensure_ascii=False) + "\n"


def as_markdown(summary: Summary) -> str:
    """Headline, verdicts, arms, tables and warnings as GitHub-flavoured Markdown."""
    answer = headline(summary)
    lines = [f"# {answer.sentence}", "", f"{answer.behind} {about_line(summary)}", ""]
    if limits := limits_line(summary):
        lines += [f"**{limits}**" if bites(summary.above) else limits, ""]
    for verdict in summary.verdicts:
        lines += [f"- **{verdict.question}** {verdict.sentence}."]
    lines += ["", "## Arms", "", *(f"- `{_cell(arm)}`: {what}" for arm, what in arm_lines(summary))]
    tables = [*full_tables(summary), *cluster_tables(summary), *cost_tables(summary), *further_tables(summary)]
    for table in tables:
        lines += ["", f"## {table.title}", *_markdown_table(table)]
    if summary.warnings:
        lines += ["", "## Warnings", "", *(f"- {_cell(warning)}" for warning in summary.warnings)]
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
    machine = summary.host
    cpus = f"{machine.cpu_model}, {machine.cpus_online} CPUs"
    said = [summary.bench.mark, label(summary.above)]
    return "; ".join([f"Go {summary.go_version}, Linux {machine.kernel}, {cpus}", *filter(None, said)])
