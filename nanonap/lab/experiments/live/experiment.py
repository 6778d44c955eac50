"""Whether an injected process sleeps as a patched file does, an ejected one as stock, and how long it stands still."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from nanonap.base.paths import TRIED
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.experiments.kit.blocks import shuffled
from nanonap.lab.experiments.kit.copies import STOCK, patched_arms
from nanonap.lab.experiments.live.picture import picture
from nanonap.lab.experiments.live.verdicts import (
    EJECTED,
    LIVE,
    STANDING,
    THREADS,
    ejected,
    injected,
    pauses,
    pauses_table,
    sleeps_table,
)
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.plan.arms import INJECTED, PRECISE, Arm
from nanonap.lab.plan.conditions import PRIMARY
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.run.live import Change, change
from nanonap.lab.run.runner import measure
from nanonap.toolchain.build import build
from nanonap.toolchain.wheels import DEFAULT_GO

SCHEMA = pl.Schema(
    {
        "what": pl.String(),  # the arm of a run; or "standing": a process that is injected and ejected, again and again
        "block": pl.Int64(),
        "requested_ns": pl.Int64(),  # of a run, a row each
        "actual_ns": pl.List(pl.Int64),  # ascending
        "about_threads": pl.Int64(),  # of what stands still: how many it was to have
        "threads": pl.Int64(),  # the most that it had when it was changed; null where nothing was
        "pauses_ns": pl.List(pl.Int64),  # of every change: injected, ejected, and so on
        "tries": pl.Int64(),  # all that they took
    }
)
_US = 1_000
REQUESTED = (50 * _US, 100 * _US, 500 * _US, 1_000 * _US)
_GOMAXPROCS, _SEED = 2, 1
_OWN_THREADS = 6  # those that the runtime makes by itself
_LATE_S = 60.0


@dataclass(frozen=True)
class _Plan:
    """How many blocks, sleeps of each duration in a run, and cycles of a process by how many threads it has."""

    blocks: int
    samples: int
    cycles: dict[int, int]


_FULL = _Plan(24, 240, dict(zip(THREADS, (10, 4), strict=True)))
_QUICK = _Plan(2, 20, dict(zip(THREADS, (3, 1), strict=True)))


class Live(Experiment):
    """No claim of others': what is promised of ``inject`` and ``eject``."""

    name = "live"
    limits = False
    question = (
        "Does an injected process sleep as a patched file does, an ejected one as stock, and how long does it stop?"
    )
    expects = (
        "the same code at the same timer slack: medians within 5 % of each other. A process of 20 threads stands still "
        "for a millisecond or less at the median, and for 10 ms at most in 99 of 100 changes; one of 1,000 for 60 ms"
    )
    verdicts = (injected, ejected, pauses)
    shown = (sleeps_table, pauses_table)
    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Shuffled blocks: every arm once, and a process of each size changed some times. Raises RunFailed."""
        plan = _QUICK if setting.quick else _FULL
        with patched_arms(setting, (STOCK, PRECISE)) as arms:
            churn = build(DEFAULT_GO, programs=("churn",), out=TRIED)[0].path
            live = replace(arms[STOCK], name=LIVE, slack_ns=1, live=INJECTED)
            arms |= {LIVE: live, EJECTED: replace(live, name=EJECTED, live=(*INJECTED, "eject"))}
            for block, each in shuffled(setting, plan.blocks, [*arms, *map(str, plan.cycles)], str):
                if each in arms:
                    yield from _slept(setting, plan, block, arms[each])
                else:
                    yield _stood(setting, churn, block, int(each), plan.cycles[int(each)])

    draw = staticmethod(picture)


def _slept(setting: Setting, plan: _Plan, block: int, arm: Arm) -> Iterator[Row]:
    run = Run(block, arm, PRIMARY, tuple((each, plan.samples) for each in REQUESTED), 0, seed=_SEED + block)
    output = measure(run, _GOMAXPROCS, NoBackend(), setting.stop).output
    for each in REQUESTED:
        actual_ns = np.sort(output.samples[1][output.samples[0] == each]).tolist()
        yield {"what": arm.name, "block": block, "requested_ns": each, "actual_ns": actual_ns, **_told(output.live)}


def _told(changes: list[Change] | None) -> Row:
    """The columns of what was done to a process."""
    if not changes:
        return {}
    return {
        "threads": max(each.threads for each in changes),
        "pauses_ns": [each.pause_ns for each in changes],
        "tries": sum(each.tries for each in changes),
    }


def _stood(setting: Setting, churn: Path, block: int, about: int, cycles: int) -> Row:
    """A process of so many threads, 20 goroutines of which sleep, injected and ejected again."""

    def meet(line: str) -> list[Change]:
        return [change(int(line), action, slack_ns=1) for _ in range(cycles) for action in ("inject", "eject")]

    words = ["-strains", "sleep", "-sleepers", "20", "-threads", str(about - _OWN_THREADS)]
    finished = setting.stop.run([str(churn), *words], _LATE_S, meet)
    if finished.status != 0 or not finished.met:
        raise RunFailed(f"churn of {about} threads: exit status {finished.status}; its stderr: {finished.stderr}")
    return {"what": STANDING, "block": block, "about_threads": about, **_told(finished.met)}
