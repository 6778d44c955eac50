"""The experiments' door: run one, keep its data, judge and show them; or show kept data again."""

import importlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from msgspec import Struct, to_builtins
from rich.markup import escape

from nanonap import __version__
from nanonap.base.errors import UsageError
from nanonap.base.files import beside, write_text
from nanonap.base.paths import BUILD, PATCHED, RESULTS
from nanonap.base.terminal import COMMAND, messages
from nanonap.lab.experiments.kit.base import Experiment, Setting, Verdict
from nanonap.lab.ground import host
from nanonap.lab.ground.errors import BadResult
from nanonap.lab.ground.hosts import Host, host_of
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.plan.arms import discover
from nanonap.lab.quota.above import LimitsAbove, above_backend, above_process
from nanonap.lab.quota.above_limit import label, refuse_before, refuse_inside, strictest
from nanonap.lab.quota.choose import Choice, backend_class, choose
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.show.style import save
from nanonap.lab.show.terminal import print_limits, print_table, wide
from nanonap.lab.store.read import decode
from nanonap.lab.store.runs import BackendUsed
from nanonap.lab.store.write import PARTS, new_folder
from nanonap.toolchain.releases import NEWEST

SCHEMA = 1
EXPERIMENTS = {
    "quota-limits": "nanonap.lab.experiments.quota_limits.experiment:QuotaLimits",
    "dilation": "nanonap.lab.experiments.dilation.experiment:Dilation",
    "bandwidth": "nanonap.lab.experiments.bandwidth.experiment:Bandwidth",
    "environments": "nanonap.lab.experiments.environments.experiment:Environments",
    "small-quotas": "nanonap.lab.experiments.small_quotas.experiment:SmallQuotas",
    "engines": "nanonap.lab.experiments.engines.experiment:Engines",
    "stretch": "nanonap.lab.experiments.stretch.experiment:Stretch",
    "attribution": "nanonap.lab.experiments.attribution.experiment:Attributed",
    "quantum": "nanonap.lab.experiments.quantum.experiment:Quantum",
    "rival": "nanonap.lab.experiments.rival.experiment:Rival",
    "bounded": "nanonap.lab.experiments.bounded.experiment:Bounded",
    "wakeup": "nanonap.lab.experiments.wakeup.experiment:Wakeup",
    "clocks": "nanonap.lab.experiments.clocks.experiment:Clocks",
    "path": "nanonap.lab.experiments.path.experiment:SleepPath",
    "handoff": "nanonap.lab.experiments.handoff.experiment:Handoff",
    "skew": "nanonap.lab.experiments.skew.experiment:Skew",
    "minimum": "nanonap.lab.experiments.minimum.experiment:Minimum",
    "polling": "nanonap.lab.experiments.polling.experiment:Polling",
    "live": "nanonap.lab.experiments.live.experiment:Live",
    "foretold": "nanonap.lab.experiments.foretold.experiment:Foretold",
    "article-patch": "nanonap.lab.experiments.article_patch.experiment:ArticlePatch",
}
DATA, ABOUT, PICTURE = "data.parquet", "experiment.json", "picture.png"


class About(Struct, frozen=True, kw_only=True):
    """experiment.json: where data come from. None is what the version that ran it did not write yet."""

    schema: int = SCHEMA
    experiment: str
    tool: str = "unknown"
    started_utc: str
    quick: bool
    command: str = "unknown"
    backend: BackendUsed
    go_version: str
    host: Host
    above: LimitsAbove | None = None


@dataclass(frozen=True)
class Judged:
    """Kept data and what they say."""

    folder: Path
    about: About
    experiment: Experiment
    data: pl.DataFrame
    verdicts: tuple[Verdict, ...]
    picture: Path | None

    def to_json(self) -> dict[str, object]:
        """One JSON document."""
        return {
            "result": str(self.folder),
            **to_builtins(self.about),
            "question": self.experiment.question,
            "expects": self.experiment.expects,
            "verdicts": [asdict(each) for each in self.verdicts],
            "rows": self.data.height,
            "picture": str(self.picture) if self.picture else None,
        }


def make_experiment(name: str) -> Experiment:
    """An experiment by its name. Raises UsageError, listing the names."""
    if name not in EXPERIMENTS:
        raise UsageError(f"no such experiment: {name}; choose from {', '.join(EXPERIMENTS)}")
    module, _, kind = EXPERIMENTS[name].partition(":")
    made: Experiment = getattr(importlib.import_module(module), kind)()
    return made


def run_experiment(
    name: str,
    *,
    quick: bool = False,
    backend: str = "auto",
    out: Path | None = None,
    go: str = NEWEST,
    inside_limit: bool = False,
    build_root: Path = BUILD,
    patched_root: Path = PATCHED,
) -> Path:
    """Run an experiment and keep its data in a folder (``out``, or one of its own); returns the folder.

    Inside a CPU limit that others set only with ``inside_limit``.
    Raises UsageError, NothingBuilt, InsideLimit, QuotaUnavailable, RunFailed, Interrupted, OutputExists.
    """
    experiment = make_experiment(name)
    folder = new_folder(RESULTS / "experiments" / name, out)
    try:
        roots = (build_root, patched_root)
        about, data = _run(experiment, folder, quick, backend, go, inside_limit, roots)
        (folder / PARTS).rmdir()
        with beside(folder / DATA) as temporary:
            data.write_parquet(temporary, compression="zstd", compression_level=19)
            temporary.chmod(0o644)
        write_text(folder / ABOUT, json.dumps(to_builtins(about), indent=1) + "\n")
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


def _run(
    experiment: Experiment,
    folder: Path,
    quick: bool,
    backend: str,
    go: str,
    inside_limit: bool,
    roots: tuple[Path, Path],
) -> tuple[About, pl.DataFrame]:
    """(experiment.json, the raw data)."""
    # What it runs in no group of its backend is where this process is.
    kind = backend_class(backend)
    if not kind.target.here:
        raise UsageError(f"--backend {backend}: experiments run this host's programs, and it runs {kind.target.name}'s")
    alone = kind.own_kernel or not kind.elsewhere
    refuse_before(backend, alone=alone, inside_limit=inside_limit)
    choice = _choice(experiment, backend)
    stop = Stop()
    try:
        places = [above_process()] if alone else []
        places += [above_backend(choice.backend)] if choice.limits else []
        refuse_inside(places, inside_limit)
        before = [each.counters() for each in places]
        with stop.listening(), messages().status(experiment.name) as status:
            arms = discover(*roots, go, names=("stock", *experiment.arms), target=kind.target)
            files = {arm.name: arm.path for arm in arms}
            program = files.pop("stock")
            setting = Setting(
                quick, choice.backend, program, files, stop, lambda text: status.update(escape(text)), folder
            )
            started = datetime.now(UTC).isoformat(timespec="seconds")
            data = experiment.run(setting)
            limits = [each.told(counted) for each, counted in zip(places, before, strict=True)]
            facts = host_of(host.facts(), choice.backend.facts())
    finally:
        choice.backend.close()
    about = About(
        experiment=experiment.name,
        tool=__version__,
        started_utc=started,
        quick=quick,
        command=f"{COMMAND} experiment {experiment.name}{' --quick' if quick else ''} --backend {choice.backend.name}",
        backend=BackendUsed(choice.backend.name, choice.why, choice.backend.mark),
        go_version=go,
        host=facts,
        above=strictest(limits),
    )
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


def judged(folder: Path) -> Judged:
    """Kept data with their verdicts, computed anew. Draws the picture, where there is one. Raises BadResult."""
    about = about_of(folder)
    try:
        data = pl.read_parquet(folder / DATA)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadResult(f"{folder}: not an experiment's folder ({str(error).splitlines()[0]})") from error
    experiment = make_experiment(about.experiment)
    try:
        verdicts, figure = experiment.judge(data), experiment.draw(data)
        experiment.tables(data)
    except (pl.exceptions.PolarsError, KeyError, IndexError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadResult(f"{folder}: its data are not those of {experiment.name} ({reason})") from error
    where = label(about.above)
    if figure is not None:
        save(figure, folder / PICTURE, "; ".join(filter(None, [str(about.host), about.backend.mark or None, where])))
    if where is not None:  # which no verdict asks about
        verdicts = [replace(each, sentence=f"{each.sentence}; measured {where}") for each in verdicts]
    picture = None if figure is None else folder / PICTURE
    return Judged(folder, about, experiment, data, tuple(verdicts), picture)


def show(folder: Path) -> None:
    """Question, tables, verdicts, for a person. Raises BadResult."""
    made = judged(folder)
    about, experiment = made.about, made.experiment
    console = wide()
    console.print(f"[bold]{escape(experiment.question)}[/]")
    console.print(f"expected: {escape(experiment.expects)}", highlight=False)
    if about.backend.mark:
        console.print(f"[yellow]{escape(about.backend.mark)}[/]")
    print_limits(about.above)
    for table in experiment.tables(made.data):
        print_table(table)
    for verdict in made.verdicts:
        head = f"[bold]{verdict.claim}: {verdict.outcome}[/] ({escape(verdict.says)})"
        console.print(f"{head}: {escape(verdict.sentence)}", highlight=False)
    console.print(f"backend {about.backend.name}; data: {folder}", highlight=False)
    if made.picture:
        console.print(f"picture: {made.picture}", highlight=False)


def kept_runs(root: Path) -> Iterator[tuple[About, Path]]:
    """(experiment.json, folder) of every kept run under the folder; one that is none is named on stderr."""
    for path in sorted(root.glob(f"*/{ABOUT}")):
        try:
            yield about_of(path.parent), path.parent
        except BadResult as error:
            messages().print(f"[yellow]left out:[/] {escape(str(error))}", highlight=False)


def about_of(folder: Path) -> About:
    """What experiment.json says of kept data. Raises BadResult."""
    try:
        text = (folder / ABOUT).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadResult(f"{folder}: not an experiment's folder ({error})") from error
    about = decode(text, About, str(folder / ABOUT), SCHEMA)
    if about.experiment not in EXPERIMENTS:
        raise BadResult(f"{folder}: of an experiment that this version does not know ({about.experiment})")
    return about
