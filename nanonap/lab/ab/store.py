"""What an A/B keeps, so that it can be judged and drawn again: ``ab.json``, and a line a run in ``runs.jsonl``."""

import shutil
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct, UnsetType

from nanonap.base.files import as_ours, write_text
from nanonap.lab.ab.cost import Cost
from nanonap.lab.ground.errors import BadResult
from nanonap.lab.ground.hosts import Host
from nanonap.lab.run.live import Change
from nanonap.lab.store.read import decode
from nanonap.lab.store.write import PARTS, RUNS, new_folder

STOCK = "stock"
SCHEMA = 1
ABOUT = "ab.json"


class Run(Struct, frozen=True, kw_only=True):
    """One load, in one arm. ``metrics``: the load's own, times in ns; ``live``: what was done to a running process.

    ``syscalls``: of a run in which they were counted, of which nothing else is used: counting takes time.
    """

    schema: int = SCHEMA
    block: int
    arm: str
    started_utc: str
    load_ns: int
    metrics: dict[str, float]
    cost: Cost
    live: list[Change] | None = None
    syscalls: int | UnsetType = UNSET

    @property
    def counted(self) -> bool:
        """Whether its system calls were counted."""
        return isinstance(self.syscalls, int)


class About(Struct, kw_only=True):
    """What was asked for, of what, and where. ``times``: the metrics that are times. ``per``: what costs are told per.

    ``go``: the release of the program; ``binaries``: SHA-256 by arm, of files.
    """

    schema: int = SCHEMA
    tool: str
    started_utc: str
    command: str
    program: str
    go: str | None
    arms: list[str]
    binaries: dict[str, str]
    runs: int
    seed: int
    per: str | None
    host: Host
    notes: list[str]
    times: list[str] = msgspec.field(default_factory=list)
    partial: bool = True


class Writer:
    """Writes one folder: whole after every run."""

    def __init__(self, results: Path, out: Path | None, about: About) -> None:
        """Make the folder. Raises OutputExists, OutputNotWritable."""
        self.folder, self.about, self.runs = new_folder(results, out), about, list[Run]()
        (self.folder / PARTS).rmdir()
        self.save()

    def save(self) -> None:
        """Write ab.json."""
        write_text(self.folder / ABOUT, msgspec.json.format(msgspec.json.encode(self.about), indent=1).decode() + "\n")

    def add(self, run: Run) -> None:
        """Keep a run. Raises DiskFull or OutputNotWritable."""
        try:
            with (self.folder / RUNS).open("ab") as stream:
                stream.write(msgspec.json.encode(run) + b"\n")
        except OSError as error:
            raise as_ours(error, self.folder / RUNS) from error
        self.runs.append(run)

    def discard(self) -> None:
        """Remove what holds no run."""
        shutil.rmtree(self.folder)


def read(folder: Path) -> tuple[About, list[Run]]:
    """A folder's A/B. Raises BadResult, naming the file and what is wrong with it."""
    texts = []
    for path in (folder / ABOUT, folder / RUNS):
        try:
            texts.append(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BadResult(
                f"{path}: cannot be read ({error}): not the folder of an A/B, or not a whole one"
            ) from error
    about = decode(texts[0], About, str(folder / ABOUT), SCHEMA)
    lines = texts[1].split("\n")[:-1]  # one without its end was being written when the machine died
    runs = [decode(each, Run, f"{folder / RUNS}, line {n}", SCHEMA) for n, each in enumerate(lines, 1)]
    if about.arms[:1] != [STOCK] or (about.per and any(about.per not in each.metrics for each in runs)):
        raise BadResult(f"{folder}: its first arm is not {STOCK}, or its runs lack the metric {about.per}")
    return about, runs
