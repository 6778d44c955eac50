"""The experiments' door: run one, keep its data, judge and show them; or show kept data again."""

import importlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from rich.markup import escape

from bench import host
from bench.arms import discover
from bench.errors import BadResult
from bench.experiments.base import Experiment, Setting
from bench.interrupt import Stop
from bench.look import save
from bench.quota.choose import Choice, choose
from bench.quota.limits import Limits, parse_quota
from bench.quota.none import NoBackend
from bench.record import PARTS, new_folder
from bench.terminal import print_table, wide
from nanonap import __version__
from nanonap.errors import UsageError
from nanonap.files import beside, write_text
from nanonap.paths import BUILD, PATCHED, RESULTS
from nanonap.terminal import messages
from toolchain.releases import NEWEST

SCHEMA = 1
EXPERIMENTS = {
    "quota-limits": "bench.experiments.quota_limits:QuotaLimits",
    "dilation": "bench.experiments.dilation:Dilation",
    "bandwidth": "bench.experiments.bandwidth:Bandwidth",
    "environments": "bench.experiments.environments:Environments",
    "small-quotas": "bench.experiments.small_quotas:SmallQuotas",
    "engines": "bench.experiments.engines:Engines",
    "stretch": "bench.experiments.stretch:Stretch",
    "attribution": "bench.experiments.attribution:Attributed",
    "quantum": "bench.experiments.quantum:Quantum",
    "clocks": "bench.experiments.clocks:Clocks",
    "path": "bench.experiments.path:SleepPath",
    "handoff": "bench.experiments.handoff:Handoff",
    "skew": "bench.experiments.skew:Skew",
    "minimum": "bench.experiments.minimum:Minimum",
    "polling": "bench.experiments.polling:Polling",
    "article-patch": "bench.experiments.article_patch:ArticlePatch",
}
DATA, ABOUT, PICTURE = "data.parquet", "experiment.json", "picture.png"


def make_experiment(name: str) -> Experiment:
    """An experiment by its name. Raises UsageError, listing the names."""
    if name not in EXPERIMENTS:
        raise UsageError(f"no such experiment: {name}; there are {', '.join(EXPERIMENTS)}")
    module, _, kind = EXPERIMENTS[name].partition(":")
    made: Experiment = getattr(importlib.import_module(module), kind)()
    return made


def run_experiment(
    name: str, *, quick: bool = False, backend: str = "auto", out: Path | None = None, go: str = NEWEST
) -> Path:
    """Run an experiment and keep its data in a folder (``out``, or one of its own); returns the folder.

    Raises UsageError, NothingBuilt, QuotaUnavailable, RunFailed, Interrupted, OutputExists.
    """
    experiment = make_experiment(name)
    folder = new_folder(RESULTS / "experiments" / name, out)
    try:
        about, data = _run(experiment, folder, quick, backend, go)
        (folder / PARTS).rmdir()
        with beside(folder / DATA) as temporary:
            data.write_parquet(temporary, compression="zstd", compression_level=19)
            temporary.chmod(0o644)
        write_text(folder / ABOUT, json.dumps(about, indent=1) + "\n")
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


def _run(
    experiment: Experiment, folder: Path, quick: bool, backend: str, go: str
) -> tuple[dict[str, Any], pl.DataFrame]:
    """(experiment.json, the raw data)."""
    choice = _choice(experiment, backend)
    stop = Stop()
    try:
        with stop.listening(), messages().status(experiment.name) as status:
            files = {arm.name: arm.path for arm in discover(BUILD, PATCHED, go, names=("stock", *experiment.arms))}
            program = files.pop("stock")
            setting = Setting(
                quick, choice.backend, program, files, stop, lambda text: status.update(escape(text)), folder
            )
            started = datetime.now(UTC).isoformat(timespec="seconds")
            data = experiment.run(setting)
            facts = {**host.facts(), **choice.backend.facts()}
    finally:
        choice.backend.close()
    about = {
        "schema": SCHEMA,
        "experiment": experiment.name,
        "tool": __version__,
        "started_utc": started,
        "quick": quick,
        "command": f"invoke experiment {experiment.name}{' --quick' if quick else ''} --backend {choice.backend.name}",
        "backend": {"name": choice.backend.name, "why": choice.why, "mark": choice.backend.mark},
        "go_version": go,
        "host": facts,
    }
    return about, data


def _choice(experiment: Experiment, backend: str) -> Choice:
    """The backend, ready; of itself an experiment that sets no quota runs in no group. Raises QuotaUnavailable."""
    if backend == "auto" and not experiment.limits:
        return Choice(NoBackend(), "this experiment sets no quota")
    choice = choose(backend)
    if experiment.limits and not choice.limits:
        refusal = choice.refusal(Limits(parse_quota("50%")))
        if refusal is not None:
            raise refusal
    return choice


def judged(folder: Path) -> dict[str, Any]:
    """The document of kept data: what was asked, the verdicts, computed anew. Draws the picture, where there is one.

    Raises BadResult.
    """
    about, data = _load(folder)
    experiment = make_experiment(about["experiment"])
    try:
        verdicts, figure = experiment.judge(data), experiment.draw(data)
        experiment.tables(data)
    except (pl.exceptions.PolarsError, KeyError, IndexError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadResult(f"{folder}: its data are not those of {experiment.name} ({reason})") from error
    if figure is not None:
        mark = about["backend"].get("mark")
        footnote = f"{host.describe(about['host'])}{f'; {mark}' if mark else ''}"
        save(figure, folder / PICTURE, footnote)
    return {
        "result": str(folder),
        **about,
        "question": experiment.question,
        "expects": experiment.expects,
        "verdicts": [asdict(each) for each in verdicts],
        "rows": data.height,
        "picture": str(folder / PICTURE) if figure is not None else None,
    }


def show(folder: Path) -> None:
    """Question, tables, verdicts, for a person. Raises BadResult."""
    document = judged(folder)
    about, data = _load(folder)
    experiment = make_experiment(about["experiment"])
    console = wide()
    console.print(f"[bold]{escape(experiment.question)}[/]")
    console.print(f"expected: {escape(experiment.expects)}", highlight=False)
    if mark := about["backend"].get("mark"):
        console.print(f"[yellow]{escape(mark)}[/]")
    for table in experiment.tables(data):
        print_table(table)
    for verdict in document["verdicts"]:
        head = f"[bold]{verdict['claim']}: {verdict['outcome']}[/] ({escape(verdict['says'])})"
        console.print(f"{head}: {escape(verdict['sentence'])}", highlight=False)
    console.print(f"backend {about['backend']['name']}; data: {folder}", highlight=False)
    if document["picture"]:
        console.print(f"picture: {document['picture']}", highlight=False)


def kept_runs(root: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """(experiment.json, folder) of every kept run under the folder; one that is none is named on stderr."""
    for path in sorted(root.glob(f"*/{ABOUT}")):
        try:
            yield about_of(path.parent), path.parent
        except BadResult as error:
            messages().print(f"[yellow]left out:[/] {escape(str(error))}", highlight=False)


def about_of(folder: Path) -> dict[str, Any]:
    """What experiment.json says of kept data. Raises BadResult."""
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about["schema"] != SCHEMA or not isinstance(about["backend"]["name"], str):
            raise BadResult(f"{folder}: not of schema {SCHEMA}")
        if not isinstance(about["host"], dict) or not isinstance(about["started_utc"], str):
            raise BadResult(f"{folder}: not of schema {SCHEMA}")
        if about["experiment"] not in EXPERIMENTS:
            raise BadResult(f"{folder}: of an experiment that this version does not know ({about['experiment']})")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadResult(f"{folder}: not an experiment's folder ({str(error).splitlines()[0]})") from error
    return about


def _load(folder: Path) -> tuple[dict[str, Any], pl.DataFrame]:
    about = about_of(folder)
    try:
        return about, pl.read_parquet(folder / DATA)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadResult(f"{folder}: not an experiment's folder ({str(error).splitlines()[0]})") from error
