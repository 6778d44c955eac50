"""Where the time of late wake-ups went, in a bench: further runs, recorded, and kept beside the measured ones.

A recording slows what it records a little, so what is measured is never recorded, and the other way round.
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import msgspec
import polars as pl

from nanonap.lab.attribution.attribute import PARTS, SLEEPS, STATES, Attribution
from nanonap.lab.attribution.traced import run_attributed
from nanonap.lab.ground.errors import BadResult
from nanonap.lab.ground.frames import read_frame, write_frame
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.plan.arms import PRECISE
from nanonap.lab.plan.conditions import is_apart
from nanonap.lab.plan.schedule import Run, Size
from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.none import NoBackend

SLEEPS_FILE, STATES_FILE = "attribution.parquet", "states.parquet"
#: A run apart is made of these arms: the program as it was, and the one that a user would take.
ARMS = ("stock", PRECISE)
_MANY = 20  # times the samples of a measured run: the time ends it before
_WHERE = ("arm", "quota", "load")
_SLEEPS_SCHEMA = pl.Schema([*((name, pl.String) for name in _WHERE), *((name, pl.Int64) for name in SLEEPS)])
_STATES_SCHEMA = pl.Schema([*((name, pl.String) for name in _WHERE), *STATES.items()])


def runs_to_explain(block: list[Run], size: Size) -> list[Run]:
    """The runs of a block that are made once more with a recording: ARMS under each condition of single sleeps.

    They last as long as the size says, whatever the block's do.
    """
    return [
        replace(
            run,
            plan=tuple((each, count * _MANY) for each, count in run.plan),
            max_time_ns=size.recorded_ns,
            recorded=True,
        )
        for run in block
        if run.arm.name in ARMS and not is_apart(str(run.condition.load))
    ]


def explain(run: Run, gomaxprocs: int, backend: Backend, stop: Stop) -> Attribution:
    """Make a run once more, recorded. Raises as ``nanonap.lab.attribution.traced.run_attributed``."""
    chosen = backend if run.limits.limited or backend.elsewhere else NoBackend()
    argv = [*run.arm.words, *run.options(run.condition.gomaxprocs or gomaxprocs)]
    with chosen.open(run.limits) as group:
        return run_attributed(argv, group, stop)


def label(run: Run) -> tuple[str, str, str]:
    """(arm, quota, load as ``load_label`` has it) of a run."""
    processors = f"@{run.condition.gomaxprocs}" if run.condition.gomaxprocs else ""
    return run.arm.name, str(run.condition.quota), f"{run.condition.load}{processors}"


class Explained:
    """What was recorded so far."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._sleeps: list[pl.DataFrame] = []
        self._states: list[pl.DataFrame] = []
        self.methods: dict[str, int] = defaultdict(int)
        self.lost = 0

    def add(self, run: Run, attribution: Attribution) -> None:
        """Keep what a run gave."""
        where = [pl.lit(text).alias(name) for name, text in zip(_WHERE, label(run), strict=True)]
        self._sleeps.append(attribution.sleeps.select(*where, *SLEEPS).cast(_SLEEPS_SCHEMA))
        self._states.append(attribution.states.select(*where, *STATES.names()).cast(_STATES_SCHEMA))
        self.methods[attribution.method] += 1
        self.lost += attribution.lost

    def write(self, folder: Path) -> None:
        """Write both files; nothing where nothing was recorded. Raises OutputNotWritable, DiskFull."""
        for name, frames in ((SLEEPS_FILE, self._sleeps), (STATES_FILE, self._states)):
            if frames:
                write_frame(folder / name, pl.concat(frames))


def read_explained(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """(sleeps with their parts, what the threads did) of a result folder; None where nothing was recorded.

    Raises BadResult.
    """
    if not (folder / SLEEPS_FILE).exists():
        return None
    sleeps, states = read_frame(folder / SLEEPS_FILE, _SLEEPS_SCHEMA), read_frame(folder / STATES_FILE, _STATES_SCHEMA)
    wrong = sleeps.filter(pl.sum_horizontal(PARTS) != pl.col("overshoot_ns"))
    if wrong.height:
        raise BadResult(f"{folder / SLEEPS_FILE}: in {wrong.height} sleeps the parts are not the overshoot")
    return sleeps, states


class PartsRow(msgspec.Struct, frozen=True, kw_only=True):
    """Of an arm under a condition: the number of sleeps, and the mean overshoot with its parts, ns."""

    arm: str
    quota: str
    load: str
    n: int
    overshoot_ns: float
    granularity_ns: float
    throttled_ns: float
    runqueue_ns: float
    goscheduler_ns: float
    unexplained_ns: float


def parts_summary(sleeps: pl.DataFrame) -> list[PartsRow]:
    """For summary.json: a row per arm and condition."""
    rows = sleeps.group_by(*_WHERE, maintain_order=True).agg(
        pl.len().alias("n"), pl.col("overshoot_ns").mean(), *(pl.col(part).mean() for part in PARTS)
    )
    ordered = rows.sort(pl.col("quota") != "none", "quota", pl.col("load") != "quiet", "load", "arm")
    return msgspec.convert(ordered.to_dicts(), list[PartsRow])
