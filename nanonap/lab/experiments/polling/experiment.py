"""Timers that wait for the next deadline, against looking at the clock at fixed intervals or all the time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl

from nanonap.base.dice import seeded
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.experiments.kit.blocks import paced, shuffled
from nanonap.lab.experiments.kit.copies import STOCK, patched_arms
from nanonap.lab.experiments.polling.picture import picture
from nanonap.lab.experiments.polling.verdicts import WAYS, tables, verdicts
from nanonap.lab.plan.arms import PRECISE
from nanonap.lab.plan.conditions import Condition, Load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import Quota
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.run.runner import measure

SCHEMA = {
    "way": pl.String,  # stock, netpoll+slack1: the runtime's timers; poll1ms, poll10ms, busy
    "sleepers": pl.Int64,
    "interval_ns": pl.Int64,  # from one deadline of a sleeper to its next, in the middle: see schedule
    "block": pl.Int64,
    "deadlines": pl.Int64,  # of all sleepers
    "wall_ns": pl.Int64,
    "cpu_ns": pl.Int64,  # of the process, by getrusage
    "late_p50_ns": pl.Int64,
    "late_p99_ns": pl.Int64,
}
_US, _MS = 1_000, 1_000_000
#: Who was woken runs where the waiting was done: what is compared is the waiting, not how work spreads over threads.
_GOMAXPROCS = 1
_SEED = 1


@dataclass(frozen=True)
class _Plan:
    """(sleepers, interval in ns) of each workload; a run lasts ``window_ns``, or a few deadlines if that is more."""

    workloads: tuple[tuple[int, int], ...]
    blocks: int
    window_ns: int


#: Of round intervals every deadline would fall at the same place between two ticks, and the figure would be that
#: place. These wander through the ticks: the fractions of a tick that are left over are spread evenly.
_WANDERING = (107 * _US, 1_070 * _US, 2_570 * _US)
#: Of these too few deadlines pass for that: ``schedule`` spreads them over the blocks.
_LONG, _IDLE = 15 * _MS, 160 * _MS
FULL = _Plan((*((n, each) for n in (1, 50) for each in (*_WANDERING, _LONG)), (1, _IDLE)), 8, 300 * _MS)
_QUICK = _Plan(((1, 1_070 * _US), (1, _LONG), (50, 1_070 * _US)), 3, 150 * _MS)
_LEAST_DEADLINES = 5
_COARSE_NS = 10 * _MS
"""The longest tick of a poller."""


def schedule(interval_ns: int, block: int, window_ns: int) -> tuple[int, int]:
    """(interval in ns, deadlines) of each sleeper in a block.

    A run's first interval begins where the poller has just woken its sleeper, at a tick. So a few deadlines of the same
    interval fall at the same few places between two ticks in every run. Long intervals are others in each block
    therefore, and every second block is as far above the middle as the one before was below it. Since the middle is a
    multiple of half of either tick, 1 and 10 ms, the places of both blocks mirror each other. None is nearer to such a
    multiple than a tenth of a tick: there all deadlines of a run would fall at one place or two.
    """
    # Of an even number the quantile of a half is the one below the middle.
    deadlines = max(_LEAST_DEADLINES, window_ns // interval_ns) | 1
    if interval_ns < _COARSE_NS:
        return interval_ns, deadlines
    dice = seeded(f"{_SEED} {interval_ns} {block // 2}")
    away_ns = dice.randrange(2, 8) * (_MS // 2) + dice.randrange(_MS // 8, _MS * 3 // 8)
    return interval_ns + (away_ns if block % 2 else -away_ns), deadlines


class Polling(Experiment):
    """The part of T1 that says why timers are precise: because they do not poll."""

    name = "polling"
    limits = False
    question = "Are the runtime's timers more precise, and cheaper, than polling at fixed intervals or a busy loop?"
    expects = (
        "a busy loop is on time and takes a processor. Polling is late by half an interval at the median, whatever is "
        "due. Stock waits until the next deadline, but in whole milliseconds: it is some ten times as precise as "
        "polling at 10 ms, no more precise than polling at 1 ms, and cheaper than that only where little is due; the "
        "same wait in nanoseconds is precise, and costs a wake-up a deadline"
    )

    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Shuffled blocks, each with every way under every workload once, on this machine.

        Raises QuotaUnavailable for a backend whose programs run elsewhere.
        """
        plan = _QUICK if setting.quick else FULL
        with patched_arms(setting, (STOCK, PRECISE)) as arms:
            due = [(way, *workload) for way in WAYS for workload in plan.workloads]
            for block, (way, sleepers, interval_ns) in shuffled(setting, plan.blocks, due, lambda each: each[0]):
                arm = arms[way] if way in arms else replace(arms[STOCK], name=way, method=way)
                condition = Condition(Quota(), Load("sleepers", sleepers))
                own = schedule(interval_ns, block, plan.window_ns)
                run = _Paced(block, arm, condition, (own,), 0, seed=_SEED + block)
                output = measure(run, _GOMAXPROCS, NoBackend(), setting.stop).output
                about = {"way": way, "sleepers": sleepers, "interval_ns": interval_ns, "block": block}
                yield {**about, "deadlines": output.header.n, **paced(output)}

    judge = staticmethod(verdicts)
    tables = staticmethod(tables)
    draw = staticmethod(picture)


class _Paced(Run):
    """Sleepers on absolute schedules, their deadlines spread evenly over the interval."""

    def options(self, gomaxprocs: int) -> list[str]:
        """The later option counts."""
        ((interval_ns, _),) = self.plan
        return [*super().options(gomaxprocs), "-phase", f"{interval_ns // self.condition.load.count}ns", "-warmup", "2"]
