"""What the patch does where CPU time is very short: its more frequent wake-ups use up the quota themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
import polars as pl

from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.experiments.kit.blocks import shuffled
from nanonap.lab.experiments.kit.copies import plain_arm
from nanonap.lab.experiments.kit.counted import counters
from nanonap.lab.experiments.small_quotas.verdicts import picture, tables, verdicts
from nanonap.lab.plan.conditions import QUIET, Condition
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import parse_quota
from nanonap.lab.run.runner import Measured, measure
from nanonap.lab.stats.resampling import quantile

SCHEMA = {
    "mode": pl.String,  # time: as many sleeps as fit; count: the same number for every arm
    "quota": pl.String,
    "arm": pl.String,
    "block": pl.Int64,
    "requested_ns": pl.Int64,
    "sleeps": pl.Int64,
    "wall_ns": pl.Int64,  # of the measured time
    "cpu_ns": pl.Int64,  # in the measured time
    "mean_ns": pl.Float64,  # of a sleep, as the p50 and p99
    "p50_ns": pl.Int64,
    "p99_ns": pl.Int64,
    "stalled": pl.Int64,  # sleeps that were late by more than a tenth of a period
    "nr_periods": pl.Int64,  # of the whole process, its start included, as the next two
    "nr_throttled": pl.Int64,
    "throttled_ns": pl.Int64,
}
#: As many as a run of seconds can hold; -max-time ends it.
_ENDLESS = 60_000
_LATE_SHARE = 10
_ARMS = ("netpoll", "netpoll+slack1")


@dataclass(frozen=True)
class _Plan:
    quotas: tuple[str, ...]
    requested_ns: tuple[int, ...]
    blocks: int
    max_time_ns: int
    count: int
    patched: tuple[str, ...]


_QUICK = _Plan(("2%", "50%"), (100_000,), 3, 300_000_000, 120, _ARMS[1:])
_FULL = _Plan(("1%", "2%", "5%", "50%"), (100_000, 1_000_000), 5, 1_000_000_000, 400, _ARMS)


class SmallQuotas(Experiment):
    """No claim of others': what a user of the patch must know."""

    name = "small-quotas"
    question = "Under a quota of 1 %, 2 % or 5 % of a CPU, does the patch make sleeps worse?"
    expects = (
        "a wake-up takes some 10 µs of CPU time. Stock wakes 900 times a second at most, 1 % of a CPU; the patched "
        "program asked for 100 µs wakes 7,000 times a second, 7 %: below that it is throttled again and again, so its "
        "mean can be no better than stock's and its p99 is a stall of most of a period. At 50 % it only gains"
    )
    arms: ClassVar[tuple[str, ...]] = _ARMS
    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Shuffled blocks, one run at a time."""
        plan = _QUICK if setting.quick else _FULL
        files = {"stock": setting.program, **setting.patched}
        arms = [plain_arm(name, path) for name, path in files.items() if name in ("stock", *plan.patched)]
        due = list(product(plan.quotas, plan.requested_ns, arms, ("time", "count")))
        for block, (quota, requested_ns, arm, mode) in shuffled(setting, plan.blocks, due, lambda each: each[0]):
            count, max_time_ns = (_ENDLESS, plan.max_time_ns) if mode == "time" else (plan.count, 0)
            condition = Condition(parse_quota(quota), QUIET)
            run = Run(block, arm, condition, ((requested_ns, count),), max_time_ns, seed=1)
            yield _row(mode, measure(run, 2, setting.backend, setting.stop))

    judge = staticmethod(verdicts)
    tables = staticmethod(tables)
    draw = staticmethod(picture)


def _row(mode: str, done: Measured) -> Row:
    header, actual = done.output.header, np.sort(done.output.samples[1])
    requested_ns, quota = done.run.plan[0][0], done.run.condition.quota
    return {
        "mode": mode,
        "quota": str(quota),
        "arm": done.run.arm.name,
        "block": done.run.block,
        "requested_ns": requested_ns,
        "sleeps": int(header.n),
        "wall_ns": header.wall_ns,
        "cpu_ns": header.cpu_ns,
        "mean_ns": float(actual.mean()) if actual.size else None,
        "p50_ns": quantile(actual, 0.5) if actual.size else None,
        "p99_ns": quantile(actual, 0.99) if actual.size else None,
        "stalled": int((actual - requested_ns > quota.period_ns // _LATE_SHARE).sum()),
        **counters(done.throttling),
    }
