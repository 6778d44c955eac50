"""A result drawn: summary.json, PNG figures and a self-contained HTML page; or printed as Markdown, benchfmt, JSON."""

import base64
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from bench import host
from bench.analysis import analyse
from bench.cells import Cells, make_cells
from bench.further_plots import draw_explained, draw_models
from bench.plots import draw_all, ecdf_name
from bench.result import Result, load
from bench.tables import Summary, Table, by_condition, cost_tables, full_tables, further_tables
from nanonap import __version__
from nanonap.durations import exact_ns
from nanonap.files import write_text

#: Figures that belong below a table.
_FURTHER = {"Where the time went": ("attribution", "timeline"), "The model beside the measured": ("model",)}


def write_report(folder: Path) -> Summary:
    """Write summary.json, the figures and report.html into a result folder, from its raw data; returns the summary.

    Raises BadResult, OutputNotWritable, DiskFull.
    """
    analysis = analyse(load(folder))
    write_text(folder / "summary.json", as_json(analysis.summary))
    footnote = _footnote(analysis.summary)
    figures = draw_all(folder, analysis.cells, analysis.costs, footnote)
    if analysis.explained is not None:
        figures |= draw_explained(folder, *analysis.explained, footnote)
    figures |= draw_models(folder, analysis.summary["model"], footnote)
    write_text(folder / "report.html", as_html(analysis.summary, figures, analysis.cells))
    return analysis.summary


def summarize(folder: Path) -> Summary:
    """The summary of a result folder, from its raw data; writes nothing. Raises BadResult."""
    return analyse(load(folder)).summary


def as_json(document: dict[str, Any]) -> str:
    """JSON text, ending in a newline."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def as_markdown(summary: Summary) -> str:
    """Verdicts, tables and warnings as GitHub-flavoured Markdown."""
    lines = ["# How long a sleep takes", "", _about_line(summary), ""]
    for verdict in summary["verdicts"]:
        lines += [f"- **{verdict['question']}** {verdict['sentence']}."]
    for table in [*full_tables(summary), *cost_tables(summary), *further_tables(summary)]:
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


def as_benchfmt(result: Result) -> str:
    """The Go benchmark format (golang.org/design/14313-benchmark-format): a run's median a line, for benchstat."""
    first = result.runs[0]
    machine = first["host"]
    lines = [
        "goos: linux",
        f"goarch: {_goarch(machine.get('arch'))}",
        "pkg: nanonap/sleepbench",
        f"cpu: {machine.get('cpu_model') or 'unknown'}",
        f"go: {first['go_version']}",
        f"kernel: {machine.get('kernel')}",
        f"gomaxprocs: {first['condition'].get('gomaxprocs')}",
    ]
    for key, cell in make_cells(result).items():
        name = (
            f"arm={key.arm}/requested={exact_ns(key.requested_ns)}/quota={key.quota.replace('/', '@')}/load={key.load}"
        )
        lines += [f"BenchmarkSleep/{name} 1 {median} ns/op" for median in cell.run_medians]
    return "\n".join(lines) + "\n"


def _goarch(machine: str | None) -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine or "", machine or "unknown")


def as_html(summary: Summary, figures: dict[str, Path], cells: Cells) -> str:
    """A page that needs nothing but itself: images embedded, no script, no network."""
    images = {name: _data_uri(path) for name, path in figures.items()}
    tables = full_tables(summary)
    ecdfs = [ecdf_name(*condition) for condition in by_condition(summary)]
    cost_ecdfs = dict.fromkeys(ecdf_name(*key.condition) for key in cells if key.load.startswith("sleepers"))
    environment = Environment(loader=PackageLoader("bench", "templates"), autoescape=True, trim_blocks=True)
    return environment.get_template("report.html.jinja").render(
        summary=summary,
        about=_about_line(summary),
        conditions=[(table, images[name]) for table, name in zip(tables, ecdfs, strict=True)],
        costs=[
            (table, images[name]) for table, name in zip(cost_tables(summary), dict.fromkeys(cost_ecdfs), strict=True)
        ],
        further=[
            (table, [images[name] for name in _FURTHER.get(table.title, ()) if name in images])
            for table in further_tables(summary)
        ],
        mark=(summary["bench"].get("backend") or {}).get("mark"),
        problem=images.get("problem"),
        price=images.get("price"),
        facts=_facts(summary),
        version=__version__,
    )


def _facts(summary: Summary) -> list[tuple[str, str]]:
    def shown(value: Any) -> str:  # noqa: ANN401 - host facts are of any JSON type
        return "not known" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return [(name.replace("_", " "), shown(value)) for name, value in summary["host"].items()]


def _about_line(summary: Summary) -> str:
    about = summary["bench"]
    started = str(about.get("started_utc", "time unknown"))[:16].replace("T", " ")
    partial = ", cut short" if summary["partial"] else ""
    return f"Go {summary['go_version']} on {host.describe(summary['host'])}. Measured {started} UTC{partial}."


def _footnote(summary: Summary) -> str:
    machine = summary["host"]
    cpus = f"{machine.get('cpu_model')}, {machine.get('cpus_online')} CPUs"
    mark = (summary["bench"].get("backend") or {}).get("mark")
    return f"Go {summary['go_version']}, Linux {machine.get('kernel')}, {cpus}" + (f"; {mark}" if mark else "")


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
