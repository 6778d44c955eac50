"""Recorded data of experiments: a folder each, with the raw data and where they come from."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from rich.markup import escape

from nanonap.base.terminal import COMMAND, messages
from nanonap.lab.experiments.kit.base import Verdict
from nanonap.lab.experiments.main import ABOUT, DATA, About, about_of, judged, kept_runs
from nanonap.lab.ground.errors import BadResult
from nanonap.lab.quota.above_limit import bites
from nanonap.lab.quota.choose import backend_class

HOST = "auto"


@dataclass(frozen=True)
class Source:
    """An experiment and where it runs: ``backend`` is ``auto`` for this machine itself, else the backend's name.

    ``host``: which of a fleet's, where there are several; else empty.
    """

    experiment: str
    backend: str = HOST
    host: str = ""

    @property
    def name(self) -> str:
        """Of its folder: ``dilation``, ``dilation-guest``, ``dilation-guest@a``."""
        name = self.experiment if self.backend == HOST else f"{self.experiment}-{self.backend}"
        return f"{name}{self.at}"

    @property
    def at(self) -> str:
        """``@a``, of host a; else empty. A kept run's folder has the same at its end."""
        return f"@{self.host}" if self.host else ""

    @property
    def anywhere(self) -> "Source":
        """The same without a host."""
        return replace(self, host="")

    @property
    def command(self) -> str:
        """What runs it."""
        where = "" if self.backend == HOST else f" --backend {self.backend}"
        return f"{COMMAND} experiment {self.experiment}{where}"

    def is_of(self, about: About) -> bool:
        """Whether an experiment.json is of this source."""
        backend = about.backend.name
        here = not backend_class(backend).own_kernel if self.backend == HOST else backend == self.backend
        return here and about.experiment == self.experiment


@dataclass(frozen=True)
class Recorded:
    """Kept data, judged: ``about`` is experiment.json, ``verdicts`` are computed from the raw data by ``read``."""

    source: Source
    folder: Path
    about: About
    verdicts: tuple[Verdict, ...]
    picture: Path | None

    @property
    def mark(self) -> str | None:
        """What must be said beside its figures (an emulated machine)."""
        return self.about.backend.mark or None


def read(root: Path, source: Source) -> Recorded | None:
    """The data of a source under ``root``, judged anew; None where there is none. Raises BadResult."""
    folder = root / source.name
    if not (folder / ABOUT).exists():
        return None
    made = judged(folder)
    return Recorded(source, folder, made.about, made.verdicts, made.picture)


def hosts_in(root: Path, source: Source) -> list[str]:
    """The hosts of a fleet whose data of a source are under ``root``."""
    return sorted(path.name.partition("@")[2] for path in root.glob(f"{source.anywhere.name}@*"))


def adopt(root: Path, source: Source, results: Path, *, quick: bool = False, inside_limit: bool = False) -> bool:
    """Copy the newest kept run of a source into ``root``, if it is newer than what is there; whether it was.

    ``results`` is the folder of experiments' results; with ``quick`` quick runs count too, with
    ``inside_limit`` runs inside a CPU limit. A run that cannot be judged
    any more is named on stderr and left out. Raises BadResult for what is in ``root``.
    """
    target = root / source.name
    there = about_of(target).started_utc if (target / ABOUT).exists() else ""
    runs = [(about, folder) for about, folder in kept_runs(results / source.experiment) if source.is_of(about)]
    runs = [each for each in runs if each[1].name.partition("@")[2] == source.host]
    runs = [each for each in runs if inside_limit or not bites(each[0].above)]
    dated = [(about.started_utc, folder) for about, folder in runs if quick or not about.quick]
    for started, folder in sorted(dated, reverse=True):
        if started <= there:
            return False
        if _can_be_judged(folder):
            target.mkdir(parents=True, exist_ok=True)
            for name in (DATA, ABOUT):
                shutil.copyfile(folder / name, target / name)
            return True
    return False


def _can_be_judged(folder: Path) -> bool:
    try:
        judged(folder)
    except BadResult as error:
        messages().print(f"[yellow]left out:[/] {escape(str(error))}", highlight=False)
        return False
    return True
