"""How short a sleep can be, and how much it varies: stock, every strategy, and the raw system call."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from nanonap.base.dice import seeded
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.experiments.kit.blocks import shuffled
from nanonap.lab.experiments.kit.copies import patched_arms
from nanonap.lab.experiments.minimum.picture import picture
from nanonap.lab.experiments.minimum.samples import AFTER_IDLE, ARMS, FIRST, STEADY, STOCK, beside
from nanonap.lab.experiments.minimum.tables import claimed_table, duration_table, short_table
from nanonap.lab.experiments.minimum.verdicts import direct, shortest
from nanonap.lab.plan.conditions import QUIET, Condition, Load, parse_load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import Quota
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.run.runner import Output, measure

SCHEMA = {
    "state": pl.String(),  # what the process did before and beside the sleep: see minimum_samples
    "arm": pl.String(),
    "block": pl.Int64(),
    "process": pl.Int64(),  # of the block and state: several where a process has only one such sleep
    "requested_ns": pl.Int64(),
    "actual_ns": pl.List(pl.Int64),  # ascending
}
_US, _MS = 1_000, 1_000_000
_GOMAXPROCS = 2
_SEED = 1
_IDLE_NS = 20 * _MS
#: A lone sleep is tried with these.
_LONE = (50 * _US, 500 * _US)
#: Arms that sleep after idling, and beside work: there the runtime's signals interrupt the patched waits.
_IDLE_ARMS = (STOCK, "netpoll+slack1")
_WORK_ARMS = (STOCK, "sleep+slack1", "netpoll+slack1")
_LOADS = ("burn:1", "gc:1")


@dataclass(frozen=True)
class _Plan:
    """How much of each: sleeps of each duration in a run, and processes that sleep once."""

    requested: tuple[int, ...]
    blocks: int
    samples: int
    lone: int
    processes: int
    work_ns: int


_FULL = _Plan(
    (1 * _US, 10 * _US, 50 * _US, 100 * _US, 200 * _US, 500 * _US, 1 * _MS, 1_500 * _US, 2 * _MS, 5 * _MS),
    *(12, 30, 8, 10, 200 * _MS),
)
_QUICK = _Plan((10 * _US, 100 * _US, 1_500 * _US), 3, 10, 3, 3, 80 * _MS)


class Minimum(Experiment):
    """Claims P1 and P2."""

    name = "minimum"
    limits = False
    question = "How short can a Go program's sleep be, and how much does it vary: as built, patched, and in the kernel?"
    expects = (
        "an idle stock process waits whole milliseconds, and at least one: its sleeps end after 1.1 ms, whatever "
        "shorter time was asked for. The minimum says less than that: where threads of the runtime happen to look for "
        "work (just after the start, or beside busy goroutines) a timer is seen as soon as it is due. Patched sleeps "
        "take what the kernel takes: the time asked for, timer slack and a wake-up; none is shorter than asked for"
    )
    verdicts = (shortest, direct)
    shown = (claimed_table, duration_table, short_table)

    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Shuffled blocks, each with every arm in every state that it is tried in once, on this machine.

        Raises QuotaUnavailable for a backend whose programs run elsewhere.
        """
        plan = _QUICK if setting.quick else _FULL
        dice = seeded(_SEED)
        with patched_arms(setting, ARMS) as arms:
            for block, task in shuffled(setting, plan.blocks, _tasks(plan), lambda each: f"{each.arm}, {each.state}"):
                kind = _First if task.state == FIRST else _Sleeps
                condition, seed = Condition(Quota(), task.load), dice.randrange(1, 2**31)
                run = kind(block, arms[task.arm], condition, task.plan, task.max_time_ns, seed=seed)
                yield from _found(task, block, measure(run, _GOMAXPROCS, NoBackend(), setting.stop).output)

    draw = staticmethod(picture)


class _Sleeps(Run):
    """A run after few sleeps that are not recorded: beside work the usual twenty take longer than the measured ones."""

    warmup = 5

    def options(self, gomaxprocs: int) -> list[str]:
        """The later option counts."""
        return [*super().options(gomaxprocs), "-warmup", str(self.warmup)]


class _First(_Sleeps):
    """A run whose first sleep is recorded."""

    warmup = 0


@dataclass(frozen=True)
class _Task:
    """A process to run: what it sleeps, and which of its sleeps are of the state."""

    state: str
    arm: str
    process: int
    plan: tuple[tuple[int, int], ...]
    load: Load = QUIET
    max_time_ns: int = 0


def _tasks(plan: _Plan) -> list[_Task]:
    steady = tuple((each, plan.samples) for each in plan.requested)
    idle = (*((each, plan.lone) for each in _LONE), (_IDLE_NS, plan.lone * len(_LONE)))
    # Sleeps beside work can be long: the time ends the run, not the count.
    work = tuple((each, plan.work_ns // each) for each in _LONE)
    return [
        *(_Task(STEADY, arm, 0, steady) for arm in ARMS),
        *(_Task(AFTER_IDLE, arm, 0, idle) for arm in _IDLE_ARMS),
        *(_Task(FIRST, STOCK, number, ((_LONE[0], 1),)) for number in range(plan.processes)),
        *(_Task(beside(load), arm, 0, work, parse_load(load), plan.work_ns) for load in _LOADS for arm in _WORK_ARMS),
    ]


def _found(task: _Task, block: int, output: Output) -> Iterator[Row]:
    requested, actual, _, _ = output.samples
    counts = np.ones(requested.size, dtype=bool)
    if task.state == AFTER_IDLE:  # the sleeper's own order is shuffled: those right behind a long sleep
        counts = np.concatenate([[False], requested[:-1] == _IDLE_NS]) & (requested != _IDLE_NS)
    about = {"state": task.state, "arm": task.arm, "block": block, "process": task.process}
    for each in np.unique(requested[counts]):
        actual_ns = np.sort(actual[counts & (requested == each)]).tolist()
        yield {**about, "requested_ns": int(each), "actual_ns": actual_ns}
