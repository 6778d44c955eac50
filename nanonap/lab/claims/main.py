"""`invoke claims`: run what is cheap (or all), take the newest data of the rest, write the page."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from nanonap import INSTALLED
from nanonap.base.errors import Interrupted, NanonapError, UsageError
from nanonap.base.paths import PROJECT, RESULTS
from nanonap.base.terminal import messages
from nanonap.lab.claims.answers import Answer, answers
from nanonap.lab.claims.data import HOST, Recorded, Source, adopt, hosts_in, read
from nanonap.lab.claims.page import as_list, as_markdown, with_list
from nanonap.lab.claims.rows import ROWS, SOURCES
from nanonap.lab.claims.write import FOLDER, PAGE, copied, prepare, put_in_place
from nanonap.lab.experiments.main import make_experiment, run_experiment
from nanonap.lab.quota.above_limit import refuse_before
from nanonap.lab.show.terminal import wide
from nanonap.toolchain.releases import NEWEST

if TYPE_CHECKING:
    from nanonap.lab.fleet.client import Fleet

DOCS, README = PROJECT / "docs", PROJECT / "README.md"
EXPERIMENTS = RESULTS / "experiments"


@dataclass(frozen=True)
class Ran:
    """A source that was to be run: ``problem`` says why there are no new data of it, empty if there are."""

    source: Source
    problem: str = ""


@dataclass(frozen=True)
class Made:
    """The page, the answers on it, and what was to be run for it."""

    page: Path
    claims: list[Answer]
    ran: list[Ran]

    def to_json(self) -> dict[str, object]:
        """One JSON document."""
        return {
            "page": str(self.page),
            "claims": [each.to_json() for each in self.claims],
            "ran": [
                {"command": each.source.command, "on": each.source.host or None, "problem": each.problem or None}
                for each in self.ran
            ],
        }


def run_claims(
    *,
    rerun: bool = False,
    redraw: bool = False,
    quick: bool = False,
    only: str | None = None,
    out: Path | None = None,
    inside_limit: bool = False,
    fleet: "Fleet | None" = None,
) -> Made:
    """Write the page.

    Runs the experiments that are cheap, or with ``rerun`` all, or with ``redraw`` none; ``only`` are claims or
    sources, comma-separated. An experiment that cannot run here is told, and its recorded data stay. ``out`` is another
    folder than docs/ for page and data; quick runs are only taken there. Page and data are written together at the end,
    or not at all. Inside a CPU limit that others set nothing runs without ``inside_limit``, and what does is only taken
    there too. With ``fleet`` its hosts run what is to be run, each of them all of it. Raises UsageError, InsideLimit,
    BadResult, Interrupted, OutputExists, OutputNotWritable, DiskFull, FleetUnreachable, FleetDiffers, NothingBuilt.
    """
    if rerun and redraw:
        raise UsageError("--rerun and --redraw exclude each other: name one")
    if redraw and (quick or only or fleet):
        raise UsageError("--redraw runs nothing: leave out --quick, --only and --fleet")
    if quick and out is None:
        raise UsageError("the project's own page is not made of quick runs: give --out DIR with --quick")
    if inside_limit and out is None:
        raise UsageError("the project's own page is not made inside a CPU limit: give --out DIR with --inside-limit")
    if INSTALLED and out is None:
        raise UsageError("the project's own page is made in a checkout of it: give --out DIR")
    if not redraw and fleet is None:
        refuse_before(HOST, alone=True, inside_limit=inside_limit)
    sources = _chosen(only)
    root = DOCS if out is None else out
    prepare(root)
    recorded = root / FOLDER if (root / FOLDER).is_dir() else DOCS / FOLDER
    with copied(recorded) as copy, _results(quick) as results:
        due = [] if redraw else [each for each in sources if rerun or _is_cheap(each)]
        ran = (
            [_run(each, quick, inside_limit, results) for each in due]
            if fleet is None
            else _run_on(fleet, due, quick, inside_limit, results, several=out is not None)
        )
        if not redraw:
            for host in {each.source.host for each in ran} | {""}:
                for source in sources:
                    here = replace(source, host=host)
                    adopt(copy / FOLDER, here, results, quick=quick, inside_limit=inside_limit)
        by_source = _read(copy / FOLDER)
        _remove_unshown(by_source)
        made = answers(by_source)
        texts = {root / PAGE: as_markdown(made, FOLDER)}
        if out is None:
            texts[README] = with_list(README.read_text(encoding="utf-8"), as_list(made, f"docs/{PAGE}"))
        put_in_place(copy, root, texts)
    return Made(root / PAGE, made, ran)


@contextlib.contextmanager
def _results(quick: bool) -> Iterator[Path]:
    """Where runs are kept: quick ones only for this page."""
    if not quick:
        yield EXPERIMENTS
        return
    with tempfile.TemporaryDirectory(prefix="nanonap-claims-") as folder:
        yield Path(folder)


def show_claims(made: Made) -> None:
    """The table of verdicts, for a person; what could not be run goes to stderr."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title="Published claims, and what the data say")
    for column in ("", "claim", "verdict"):
        table.add_column(column, overflow="fold", no_wrap=column == "")
    for answer in made.claims:
        table.add_row(answer.row.claim, escape(answer.row.short), answer.outcome)
    wide().print(table)
    for each in made.ran:
        if each.problem:
            on = f" on {each.source.host}" if each.source.host else ""
            text = escape(f"{each.source.command}{on}: {each.problem}; what was recorded before is shown")
            messages().print(f"[yellow]not run:[/] {text}", highlight=False)
    print(f"page: {made.page}")


def _chosen(only: str | None) -> Sequence[Source]:
    """The sources of claims (``D1``), or themselves (``clocks-guest``), comma-separated. Raises UsageError."""
    if only is None:
        return SOURCES
    named = [word.strip() for word in only.split(",")]
    known = [*(row.claim for row in ROWS), *(source.name for source in SOURCES)]
    unknown = [word for word in named if word not in known]
    if unknown:
        raise UsageError(f"--only {', '.join(unknown)}: no such claim or experiment; choose from {', '.join(known)}")
    of_claims = {source for row in ROWS if row.claim in named for source in row.sources}
    return [each for each in SOURCES if each in of_claims or each.name in named]


def _is_cheap(source: Source) -> bool:
    return source.backend == HOST and make_experiment(source.experiment).cheap


def _run(source: Source, quick: bool, inside_limit: bool, results: Path) -> Ran:
    messages().print(f"{escape(source.command)}{' --quick' if quick else ''}", highlight=False)
    out = None
    if quick:
        out = results / source.experiment / source.name
        out.parent.mkdir(parents=True, exist_ok=True)
    try:
        run_experiment(
            source.experiment, quick=quick, backend=source.backend, out=out, go=NEWEST, inside_limit=inside_limit
        )
    except (Interrupted, UsageError):
        raise
    except NanonapError as error:
        return Ran(source, " ".join(str(error).split()))
    return Ran(source)


def _run_on(
    fleet: "Fleet", sources: Sequence[Source], quick: bool, inside_limit: bool, results: Path, *, several: bool
) -> list[Ran]:
    from nanonap.lab.claims.there import run_there  # noqa: PLC0415 - the extra ``fleet``

    found = run_there(fleet, sources, results, several=several, quick=quick, inside_limit=inside_limit)
    return [Ran(source, " ".join(problem.split())) for source, problem in found]


def _read(root: Path) -> dict[Source, Recorded]:
    sources = [replace(each, host=host) for each in SOURCES for host in ("", *hosts_in(root, each))]
    found = {source: read(root, source) for source in sources}
    return {source: data for source, data in found.items() if data is not None}


def _remove_unshown(by_source: dict[Source, Recorded]) -> None:
    """Only the pictures that the page shows are published."""
    shown = {row.picture for row in ROWS}
    for source, data in by_source.items():
        if data.picture is not None and source.name not in shown:
            data.picture.unlink()
