"""The campaign: every chosen trial, two at a time, then what must run alone, then the table."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nanonap.base.errors import UsageError
from nanonap.base.files import check_place, write_text
from nanonap.base.paths import ARTIFACTS
from nanonap.base.terminal import messages
from nanonap.toolchain.build import chosen_toolchains
from nanonap.toolchain.progress import progress_bar
from nanonap.toolchain.targets import AMD64, target_named
from nanonap.toolchain.wheels import DEFAULT_GO
from nanonap.trials.corpus.arms import DEFAULT_ARMS, LIVE, chosen_arms
from nanonap.trials.corpus.elsewhere import TrialElsewhere
from nanonap.trials.corpus.foreign import ARM64_PROGRAMS
from nanonap.trials.corpus.obtain import OBTAINED, Obtainer
from nanonap.trials.corpus.page import page_with
from nanonap.trials.corpus.processes import Processes, heard_signals
from nanonap.trials.corpus.programs import PROGRAMS
from nanonap.trials.corpus.report import Report
from nanonap.trials.corpus.row import Result, Row
from nanonap.trials.corpus.show import show_report
from nanonap.trials.corpus.standard import STANDARD, Standard
from nanonap.trials.corpus.testing import PackageTrial, Settled, left_out_rows
from nanonap.trials.corpus.working import ProgramTrial

if TYPE_CHECKING:
    from nanonap.lab.fleet.client import Fleet

CORPUS = ARTIFACTS / "corpus"
_AT_ONCE = 2


@dataclass(frozen=True)
class Trial:
    """What the progress calls it, and the work."""

    name: str
    run: Callable[[], Sequence[Settled]]


@dataclass(frozen=True)
class Asked:
    """What is to be tried: ``only`` names packages and programs from either list, ``strategy`` arms, or "all"."""

    nightly: bool
    only: str | None
    strategy: str
    go: str
    arch: str
    corpus: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """The trials, what runs them, the arms, the Go release, and the rows of what is left out."""

    trials: list[Trial]
    processes: Processes
    arms: list[str]
    release: str
    left_out: list[Row]


def run_corpus(
    *,
    nightly: bool = False,
    only: str | None = None,
    strategy: str = DEFAULT_ARMS,
    go: str = DEFAULT_GO,
    arch: str = AMD64.name,
    as_json: bool = False,
    markdown: Path | None = None,
    corpus: Path = CORPUS,
    fleet: "Fleet | None" = None,
) -> None:
    """Run the campaign, here or on a fleet; show its table; write ``latest.json`` under ``corpus``, and ``markdown``
    where asked.

    ``only``: names of packages and programs from either list; ``strategy``: arms, or "all". Both comma-separated.
    ``arch``: the programs' processor; for another than this machine's there are programs alone.
    Raises UsageError, what fetching a toolchain can raise, CorpusChanged or CorpusIncomplete (after the table), and
    where a machine for another processor cannot be made QuotaUnavailable.
    """
    if markdown is not None:
        check_place(markdown)
    started = datetime.now(UTC)
    asked = Asked(nightly, only, strategy, go, arch, corpus)
    with _prepared(asked) as ready:
        rows = _run(ready.trials, ready.processes) if fleet is None else _run_there(ready.trials, asked, fleet)
        rows += ready.left_out
    report = Report.made(started, ready.release, ready.arms, nightly, rows, arch)
    text = json.dumps(report.to_json(), indent=1) + "\n"
    write_text(corpus / f"{target_named(arch).prefix}latest.json", text)
    if markdown is not None:
        old = markdown.read_text(encoding="utf-8") if markdown.is_file() else ""
        write_text(markdown, page_with(old, report))
    if as_json:
        print(text, end="")
    else:
        show_report(report)
    report.check()


@contextlib.contextmanager
def _prepared(asked: Asked) -> Iterator[Prepared]:
    """All that the campaign tries, until the block ends. Raises UsageError, and what fetching a toolchain can raise."""
    target = target_named(asked.arch)
    arms = chosen_arms(asked.strategy, target)
    of_files = tuple(each for each in arms if each is not LIVE)
    (toolchain, *more) = chosen_toolchains(asked.go, None)
    if more:
        raise UsageError(f"--go {asked.go}: one release at a time")
    corpus, nightly = asked.corpus or CORPUS, asked.nightly
    corpus.mkdir(parents=True, exist_ok=True)
    processes = Processes()
    with tempfile.TemporaryDirectory(prefix="run-", dir=corpus, ignore_cleanup_errors=True) as work:
        obtainer = Obtainer(processes, corpus / OBTAINED.name)
        every = nightly or asked.only is not None
        if target == AMD64:
            standard = Standard(toolchain, processes, corpus / STANDARD.name)
            packages, reasons = standard.packages(every)
            tests = [
                Trial(each.path, PackageTrial(standard, each, of_files, not nightly, Path(work) / "std"))
                for each in packages
                if of_files
            ]
            make, programs = ProgramTrial, PROGRAMS
        else:
            tests, reasons, make, programs = [], {}, TrialElsewhere, ARM64_PROGRAMS
            arms = of_files
        trials = tests + [
            Trial(each.name, make(each, arms, obtainer, processes, Path(work) / "programs"))
            for each in programs
            if every or not each.nightly
        ]
        trials = _chosen(trials, asked.only)
        left_out = [] if asked.only else left_out_rows(toolchain.version, reasons)
        with heard_signals():
            yield Prepared(trials, processes, [arm.name for arm in arms], toolchain.version, left_out)


def _run_there(trials: Sequence[Trial], asked: Asked, fleet: "Fleet") -> list[Row]:
    """Each trial on a worker, which also does what must run alone: it does nothing else. In the trials' order."""
    from nanonap.lab.fleet.spread import spread  # noqa: PLC0415 - the extra ``fleet``

    rows: dict[str, list[Row]] = {}
    orders = [replace(asked, only=each.name, corpus=None) for each in trials]
    with progress_bar() as bar:
        task = bar.add_task("corpus", total=len(trials))
        for order, done in spread(fleet, run_order, orders):
            name = order.only or ""
            lost = Row("program", name, "", "", "", Result.NOT_HERE, "each of three workers died of it")
            rows[name] = [lost] if done.died else done.result
            bar.advance(task)
            for each in rows[name]:
                _tell(each, name)
    return [row for each in trials for row in rows[each.name]]


def run_order(order: Asked) -> list[Row]:
    """On a worker: the one trial that ``only`` names."""
    with _prepared(order) as ready:
        return _run(ready.trials, ready.processes)


def _chosen(trials: list[Trial], only: str | None) -> list[Trial]:
    """Those that ``only`` names. Raises UsageError, listing the known names."""
    if only is None:
        return trials
    known = {each.name: each for each in trials}
    wanted = list(dict.fromkeys(name.strip() for name in only.split(",")))
    for name in wanted:
        if name not in known:
            raise UsageError(f"--only {name}: unknown; choose from {', '.join(known)}")
    return [known[name] for name in wanted]


def _run(trials: Sequence[Trial], processes: Processes) -> list[Row]:
    """Two trials at a time; then, one after the other, what had to wait. The rows in the trials' order.

    On Ctrl-C every process is killed before the exception goes on.
    """
    settled: dict[str, Sequence[Settled]] = {}
    with progress_bar() as bar, ThreadPoolExecutor(_AT_ONCE) as pool:
        task = bar.add_task("corpus", total=len(trials))
        running = {pool.submit(each.run): each for each in trials}
        try:
            for done in as_completed(running):
                name = running[done].name
                settled[name] = done.result()
                bar.advance(task)
                for each in settled[name]:
                    _tell(each, name)
        except BaseException:
            processes.stop()
            pool.shutdown(cancel_futures=True)
            raise
    rows = []
    for trial in trials:
        for each in settled[trial.name]:
            if isinstance(each, Row):
                rows.append(each)
            else:
                rows.append(each())
                _tell(rows[-1], trial.name)
    return rows


def _tell(each: Settled, name: str) -> None:
    """A line on stderr for what is done."""
    said = "verdicts differ; those tests run again, alone, at the end"
    if isinstance(each, Row):
        said = f"{each.arm or 'stock'}: {each.result} ({each.wall_s:.0f} s)"
    messages().print(f"{name}, {said}", highlight=False, markup=False)
