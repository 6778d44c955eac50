"""`invoke claims`: run what is cheap (or all), take the newest data of the rest, write the page."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from bench.claims.answers import answers
from bench.claims.page import as_list, as_markdown, with_list
from bench.claims.records import HOST, Record, Source, adopt, read
from bench.claims.rows import ROWS, SOURCES
from bench.claims.stage import FOLDER, PAGE, prepare, publish, staged
from bench.experiments.main import make_experiment, run_experiment
from bench.terminal import wide
from nanonap.errors import Interrupted, NanonapError, UsageError
from nanonap.paths import PROJECT, RESULTS
from nanonap.terminal import messages
from toolchain.releases import NEWEST

DOCS, README = PROJECT / "docs", PROJECT / "README.md"
EXPERIMENTS = RESULTS / "experiments"


@dataclass(frozen=True)
class Ran:
    """A source that was to be run: ``problem`` says why there are no new data of it, empty if there are."""

    source: Source
    problem: str = ""


def run_claims(
    *, rerun: bool = False, redraw: bool = False, quick: bool = False, only: str | None = None, out: Path | None = None
) -> dict[str, Any]:
    """Write the page, and give its document: {``page``, ``claims`` [Answer], ``ran`` [{``command``, ``problem``}]}.

    Runs the experiments that are cheap, or with ``rerun`` all, or with ``redraw`` none; ``only`` are claims or
    sources by commas. An experiment that cannot run here is told, and its recorded data stay. ``out`` is another
    folder than docs/ for page and data; quick runs are only taken there. Page and data are written together at the end,
    or not at all. Raises UsageError, BadResult, Interrupted, OutputExists, OutputNotWritable, DiskFull.
    """
    if rerun and redraw:
        raise UsageError("--rerun and --redraw exclude each other")
    if redraw and (quick or only):
        raise UsageError("--redraw runs nothing: leave out --quick and --only")
    if quick and out is None:
        raise UsageError("the project's own page is not made of quick runs: give --out DIR with --quick")
    sources = _chosen(only)
    root = DOCS if out is None else out
    prepare(root)
    recorded = root / FOLDER if (root / FOLDER).is_dir() else DOCS / FOLDER
    with staged(recorded) as stage, _results(quick) as results:
        ran = [] if redraw else [_run(each, quick, results) for each in sources if rerun or _is_cheap(each)]
        if not redraw:
            for source in sources:
                adopt(stage / FOLDER, source, results, quick=quick)
        records = _read(stage / FOLDER)
        _remove_unshown(records)
        made = answers(records)
        texts = {root / PAGE: as_markdown(made, FOLDER)}
        if out is None:
            texts[README] = with_list(README.read_text(encoding="utf-8"), as_list(made, f"docs/{PAGE}"))
        publish(stage, root, texts)
    return {
        "page": str(root / PAGE),
        "claims": [each.to_json() for each in made],
        "ran": [{"command": each.source.command, "problem": each.problem or None} for each in ran],
    }


@contextlib.contextmanager
def _results(quick: bool) -> Iterator[Path]:
    """Where runs are kept: quick ones only for this page."""
    if not quick:
        yield EXPERIMENTS
        return
    with tempfile.TemporaryDirectory(prefix="nanonap-claims-") as folder:
        yield Path(folder)


def show_claims(document: dict[str, Any]) -> None:
    """The table of verdicts, for a person; what could not be run goes to stderr."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title="Published claims, and what the data say")
    for column in ("", "claim", "verdict"):
        table.add_column(column, overflow="fold", no_wrap=column == "")
    for each in document["claims"]:
        table.add_row(each["claim"], escape(each["short"]), each["outcome"])
    wide().print(table)
    for each in document["ran"]:
        if each["problem"]:
            text = escape(f"{each['command']}: {each['problem']}; what was recorded before is shown")
            messages().print(f"[yellow]not run:[/] {text}", highlight=False)
    print(f"page: {document['page']}")


def _chosen(only: str | None) -> Sequence[Source]:
    """The sources of claims (``D1``), or themselves (``dilation``, ``clocks-guest``), by commas. Raises UsageError."""
    if only is None:
        return SOURCES
    named = [word.strip() for word in only.split(",")]
    known = [*(row.claim for row in ROWS), *(source.name for source in SOURCES)]
    unknown = [word for word in named if word not in known]
    if unknown:
        raise UsageError(f"--only {', '.join(unknown)}: no such claim or experiment; there are {', '.join(known)}")
    of_claims = {source for row in ROWS if row.claim in named for source in row.sources}
    return [each for each in SOURCES if each in of_claims or each.name in named]


def _is_cheap(source: Source) -> bool:
    return source.backend == HOST and make_experiment(source.experiment).cheap


def _run(source: Source, quick: bool, results: Path) -> Ran:
    messages().print(f"{escape(source.command)}{' --quick' if quick else ''}", highlight=False)
    out = None
    if quick:
        out = results / source.experiment / source.name
        out.parent.mkdir(parents=True, exist_ok=True)
    try:
        run_experiment(source.experiment, quick=quick, backend=source.backend, out=out, go=NEWEST)
    except (Interrupted, UsageError):
        raise
    except NanonapError as error:
        return Ran(source, " ".join(str(error).split()))
    return Ran(source)


def _read(root: Path) -> dict[Source, Record]:
    found = {source: read(root, source) for source in SOURCES}
    return {source: record for source, record in found.items() if record is not None}


def _remove_unshown(records: dict[Source, Record]) -> None:
    """Only the pictures that the page shows are published."""
    shown = {row.picture for row in ROWS}
    for source, record in records.items():
        if record.picture is not None and source.name not in shown:
            record.picture.unlink()
