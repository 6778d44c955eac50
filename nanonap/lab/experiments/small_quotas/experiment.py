"""What the patch does where CPU time is very short: its more frequent wake-ups use up the quota themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from bench.arms import Arm
from bench.conditions import QUIET, Condition
from bench.experiments.base import Experiment, Setting, Verdict
from bench.experiments.small_quotas_verdicts import picture, tables, verdicts
from bench.quota.limits import parse_quota
from bench.resampling import quantile
from bench.runner import Measured, measure
from bench.schedule import Run
from bench.tables import Table
from nanonap.dice import seeded
from toolchain.wheels import DEFAULT_GO

SCHEMA = pl.Schema(
    {
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
)
_SEED = 1
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

    def run(self, setting: Setting) -> pl.DataFrame:
        """Shuffled blocks, one run at a time."""
        return pl.DataFrame(list(_rows(setting, _QUICK if setting.quick else _FULL)), schema=SCHEMA)

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """Where patched is worse than stock, by which measure, and where better."""
        return verdicts(data)

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """At equal time and at an equal number of sleeps."""
        return tables(data)

    def draw(self, data: pl.DataFrame) -> Figure | None:
        """Ratios to stock by quota."""
        return picture(data)


def _rows(setting: Setting, plan: _Plan) -> Iterator[dict[str, Any]]:
    arms = [
        Arm(name, path, "sleep", None, None, DEFAULT_GO, "")
        for name, path in {"stock": setting.program, **setting.patched}.items()
        if name in ("stock", *plan.patched)
    ]
    dice = seeded(_SEED)
    for block in range(plan.blocks):
        runs = []
        for quota in plan.quotas:
            condition = Condition(parse_quota(quota), QUIET)
            for requested_ns in plan.requested_ns:
                for arm in arms:
                    timed = Run(block, arm, condition, ((requested_ns, _ENDLESS),), plan.max_time_ns, seed=1)
                    counted = Run(block, arm, condition, ((requested_ns, plan.count),), 0, seed=1)
                    runs += [("time", timed), ("count", counted)]
        dice.shuffle(runs)
        for number, (mode, run) in enumerate(runs):
            setting.say(f"block {block + 1} of {plan.blocks}, run {number + 1} of {len(runs)}: {run.condition}")
            yield _row(mode, measure(run, 2, setting.backend, setting.stop))


def _row(mode: str, done: Measured) -> dict[str, Any]:
    header, actual = done.output.header, np.sort(done.output.samples[1])
    requested_ns, quota = done.run.plan[0][0], done.run.condition.quota
    counted = done.throttling
    return {
        "mode": mode,
        "quota": str(quota),
        "arm": done.run.arm.name,
        "block": done.run.block,
        "requested_ns": requested_ns,
        "sleeps": int(header["n"]),
        "wall_ns": header["wall_ns"],
        "cpu_ns": header["cpu_ns"],
        "mean_ns": float(actual.mean()) if actual.size else None,
        "p50_ns": quantile(actual, 0.5) if actual.size else None,
        "p99_ns": quantile(actual, 0.99) if actual.size else None,
        "stalled": int((actual - requested_ns > quota.period_ns // _LATE_SHARE).sum()),
        "nr_periods": counted.nr_periods if counted else None,
        "nr_throttled": counted.nr_throttled if counted else None,
        "throttled_ns": counted.throttled_ns if counted else None,
    }
